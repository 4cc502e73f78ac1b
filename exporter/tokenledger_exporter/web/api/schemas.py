"""JSON Schemas of the API's documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.pricing.catalog.lookup import (
    CHANGED_COLUMNS,
    HISTORY_COLUMNS,
    LIST_COLUMNS,
    MISSING_COLUMNS,
)
from tokenledger_exporter.queries.paging import UsageEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_NUMBER: Final[Schema] = {"type": "number", "minimum": 0}
_FLAG: Final[Schema] = {"type": "boolean"}
_MONEY: Final[Schema] = {
    "type": ["string", "null"],
    "pattern": r"^-?[0-9]+(\.[0-9]+)?$",
    "description": "US dollars, exact; null if it is not known",
}
_MILLISECONDS: Final[Schema] = {"type": ["number", "null"], "minimum": 0}
_ANY: Final[Schema] = {}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(**properties: Schema) -> Schema:
    return {"type": "array", "items": _object(**properties)}


_FIGURES: Final = {"total_cost": _MONEY, "total_requests": _COUNT}
_STATES: Final = (
    *("calls", "priced", "reported", "partial", "estimated", "unpriced", "unmeasured", "lost"),
    *("not_settled", "cost_differs"),
)
_COVERAGE: Final = _object(**dict.fromkeys(_STATES, _COUNT), sentence=_TEXT)
_PAGE_COVERAGE: Final = _object(
    **dict.fromkeys(_STATES[:-1], _COUNT),
    sentence=_TEXT,
)
_PERCENTILES: Final = {
    **{f"{name}_ms": _MILLISECONDS for name in ("p50", "p90", "p95", "p99", "avg")},
    "requests": _COUNT,
}
_GROUP: Final = {
    "cost_usd": _MONEY,
    **dict.fromkeys(("calls", "input_tokens", "output_tokens", "cached_tokens"), _COUNT),
    "without_cost": _COUNT,
}

SUMMARY: Final = _object(
    **_FIGURES,
    total_tokens=_COUNT,
    total_input_tokens=_COUNT,
    total_output_tokens=_COUNT,
    avg_cost_per_request=_MONEY,
    avg_tokens_per_request=_TEXT,
    projected_monthly_cost=_MONEY,
    coverage=_COVERAGE,
)
BY_MODEL: Final = _list(
    model=_TEXT,
    provider=_TEXT,
    **_FIGURES,
    total_tokens=_COUNT,
    avg_cost_per_request=_MONEY,
    percentage_of_total=_NUMBER,
)
BY_USER: Final = _list(user_id=_TEXT, **_FIGURES, total_tokens=_COUNT)
DAILY: Final = _list(date=_TEXT, **_FIGURES, total_tokens=_COUNT)
HOURLY: Final = _list(hour=_TEXT, **_FIGURES)
ERRORS: Final = _object(
    total_requests=_COUNT,
    errors=_COUNT,
    error_rate=_NUMBER,
    status_breakdown=_object(success=_COUNT, error=_COUNT),
)
TOP_ERRORS: Final = _list(error_type=_TEXT, provider=_TEXT, model=_TEXT, count=_COUNT)
LATENCY: Final = _object(**_PERCENTILES, time_to_first_token=_object(**_PERCENTILES))
REPORT: Final = _object(
    schema_version={"type": "integer"},
    by={"type": "array", "items": _TEXT},
    since=_TEXT,
    until=_TEXT,
    rows=_list(**_GROUP),
    totals=_object(**_GROUP),
    coverage=_object(**dict.fromkeys(_STATES, _COUNT)),
)
WHY: Final = _object(
    by=_TEXT,
    since=_TEXT,
    until=_TEXT,
    compared_since=_TEXT,
    compared_until=_TEXT,
    cost_usd=_MONEY,
    previous_cost_usd=_MONEY,
    change_usd=_MONEY,
    calls=_COUNT,
    previous_calls=_COUNT,
    is_detailed=_FLAG,
    causes=_list(cause=_TEXT, label=_TEXT, change_usd=_MONEY, more_drivers=_COUNT),
    coverage=_COVERAGE,
    previous_coverage=_COVERAGE,
    notes={"type": "array", "items": _TEXT},
)
FORECAST: Final = _object(
    month=_TEXT,
    timezone=_TEXT,
    since=_TEXT,
    until=_TEXT,
    as_of=_TEXT,
    spent_usd=_MONEY,
    expected_usd=_MONEY,
    low_usd=_MONEY,
    high_usd=_MONEY,
    method=_TEXT,
    days_learned=_COUNT,
    coverage=_COVERAGE,
    learned_coverage=_COVERAGE,
    notes={"type": "array", "items": _TEXT},
)
_SHARE: Final[Schema] = {
    "type": ["string", "null"],
    "pattern": r"^-?[0-9]+(\.[0-9]+)?$",
    "description": "a share: 0.05 is 5 %; null if it is not known",
}
BACKTEST: Final = _object(
    timezone=_TEXT,
    error=_SHARE,
    mean30_error=_SHARE,
    inside=_SHARE,
    forecasts=_list(
        month=_TEXT,
        as_of=_TEXT,
        days_learned=_COUNT,
        actual_usd=_MONEY,
        expected_usd=_MONEY,
        low_usd=_MONEY,
        high_usd=_MONEY,
        error=_SHARE,
        is_inside=_FLAG,
        mean30_usd=_MONEY,
        mean30_error=_SHARE,
    ),
    coverage=_COVERAGE,
    notes={"type": "array", "items": _TEXT},
)
MEASURES: Final = _object(
    measure=_TEXT,
    by={"type": "array", "items": _TEXT},
    since=_TEXT,
    until=_TEXT,
    rows={"type": "array", "items": {"type": "object"}},
    totals={"type": "object"},
    coverage=_COVERAGE,
)

SQL: Final = _object(statements={"type": "array", "items": _TEXT})
EVENTS: Final = _object(
    events=_list(**dict.fromkeys(UsageEvent._fields, _ANY)),
    next_cursor={"type": ["string", "null"]},
    coverage=_PAGE_COVERAGE,
)
EXPLAIN: Final = _object(
    event_id=_TEXT,
    timestamp=_TEXT,
    provider=_TEXT,
    model=_TEXT,
    lines=_list(
        kind=_TEXT,
        priced_as=_TEXT,
        units=_COUNT,
        price_usd=_MONEY,
        per=_COUNT,
        cost_usd=_MONEY,
    ),
    sum_usd=_MONEY,
    cost_usd=_MONEY,
    reported_cost_usd=_MONEY,
    agrees=_FLAG,
    verdict=_TEXT,
    cost_status=_TEXT,
    cost_note=_TEXT,
)
COVERAGE: Final = _object(**_COVERAGE["properties"], notes={"type": "array", "items": _TEXT})
PRICES: Final = _list(**dict.fromkeys(LIST_COLUMNS, _ANY))
PRICE_HISTORY: Final = _list(**dict.fromkeys(HISTORY_COLUMNS, _ANY))
PRICES_MISSING: Final = _list(**dict.fromkeys(MISSING_COLUMNS, _ANY))
PRICE_CHANGES: Final = _object(
    before=_TEXT,
    after=_TEXT,
    count=_COUNT,
    rows=_list(**dict.fromkeys(CHANGED_COLUMNS, _ANY)),
)
DIMENSIONS: Final = _object(dimensions={"type": "array", "items": _TEXT})
_MAYBE_TEXT: Final[Schema] = {"type": ["string", "null"]}


def _row(columns: Sequence[str]) -> Schema:
    """A row of a list: money as text, the rest as its column is."""
    return _object(**{name: _MONEY if name.endswith("cost_usd") else _ANY for name in columns})


def calls(columns: Sequence[str]) -> Schema:
    """A page of single calls with these columns."""
    return _object(
        calls={"type": "array", "items": _row(columns)}, newer=_MAYBE_TEXT, older=_MAYBE_TEXT
    )


def runs(columns: Sequence[str]) -> Schema:
    """A page of runs with these columns."""
    rows: Schema = {"type": "array", "items": _row(columns)}
    return _object(
        schema_version={"type": "integer"},
        kind=_TEXT,
        since=_TEXT,
        is_cut=_FLAG,
        count=_COUNT,
        runs=rows,
        total=_row(columns),
        coverage=_COVERAGE,
    )


def spenders(columns: Sequence[str]) -> Schema:
    """A page of users or organizations with these columns."""
    rows: Schema = {"type": "array", "items": _row(columns)}
    return _object(
        dimension=_TEXT,
        compared_since=_TEXT,
        compared_until=_TEXT,
        count=_COUNT,
        rows=rows,
        total=_row(columns),
        coverage=_COVERAGE,
    )


def of_budgets(name: str, columns: Sequence[str]) -> Schema:
    """A list about budgets with these columns; `note` says why a reader sees none."""
    rows: Schema = {
        "type": "array",
        "items": _object(
            **{column: _MONEY if column.endswith("_usd") else _ANY for column in columns}
        ),
    }
    return _object(**{name: rows}, note=_MAYBE_TEXT)


RUN: Final = _object(
    kind=_TEXT,
    run_id=_TEXT,
    since=_TEXT,
    until=_TEXT,
    cost_usd=_MONEY,
    calls=_list(
        event_id=_TEXT,
        depth=_COUNT,
        cost_usd=_MONEY,
        total_cost_usd=_MONEY,
        parts={"type": "array", "items": {"type": "object"}},
    ),
    coverage=_object(**dict.fromkeys(_STATES, _COUNT)),
)
LEDGER: Final = _object(
    state={"enum": ["ok", "warn", "fail"]},
    asked_at=_TEXT,
    newest_call_at=_MAYBE_TEXT,
    findings=_list(
        name=_TEXT,
        state={"enum": ["ok", "warn", "fail", "unknown"]},
        detail=_TEXT,
        remedy=_TEXT,
    ),
)
PROBLEM: Final = {
    "type": "object",
    "properties": {
        "type": _TEXT,
        "title": _TEXT,
        "status": _COUNT,
        "detail": _TEXT,
        "parameter": _TEXT,
        "allowed": {"type": "array", "items": _TEXT},
    },
    "required": ["type", "title", "status", "detail"],
}
"""An error, by RFC 9457 (read 2026-11-28)."""
