"""What calls did besides costing money, by any dimensions: errors, latency, tokens, the cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from tokenledger_exporter.db.dimensions import BUCKETS, group, label_columns, narrowed
from tokenledger_exporter.db.steps import Statement
from tokenledger_exporter.domain.coverage import Coverage, coverage_of
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries.measures.savings import NO_SAVING, savings_by_labels_steps
from tokenledger_exporter.queries.report import checked_groups, losses_steps
from tokenledger_exporter.rollups.source import ROWS, source_of
from tokenledger_exporter.sql import fragment, statements

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from typing_extensions import LiteralString

    from tokenledger_exporter.db.steps import Steps
    from tokenledger_exporter.queries.measures.savings import Saving
    from tokenledger_exporter.queries.report import ReportRequest
    from tokenledger_exporter.rollups.source import Source

    Figure = Decimal | int | float | None
    Record = Mapping[str, Any]

_SQL: Final = statements("measures")

_PERCENTILES: Final = ("p50_ms", "p90_ms", "p95_ms", "p99_ms")
_LATENCY: Final = ("measured", "average_ms", *_PERCENTILES)
_MEASURED_COLUMNS: Final = {
    "latency": "duration_ms",
    "first_token": "time_to_first_token_ms",
}
_TOKENS: Final = (
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "audio_tokens",
)

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "tokens": _TOKENS,
    "errors": ("errors", "error_rate"),
    "latency": _LATENCY,
    "first_token": _LATENCY,
    "cache": ("input_tokens", "cached_tokens", "hit_rate", "savings_usd", "tokens_without_price"),
}
"""Measure -> its figures. Rates are 0 to 1; a figure that nothing was measured for is `None`."""

MEASURES: Final = tuple(COLUMNS)
"""Names of the measures."""

_ORDERS: Final[Mapping[str, LiteralString]] = {
    "tokens": "sum(input_tokens) + sum(output_tokens)",
    "errors": "errors",
    "latency": "measured",
    "first_token": "measured",
    "cache": "sum(cached_tokens)",
}


@dataclass(frozen=True, slots=True)
class MeasureRow:
    """One group.

    Args:
        labels: the values of the dimensions.
        calls: how many calls it has.
        figures: column -> value.
        coverage: the cost states of its calls.
    """

    labels: tuple[str, ...]
    calls: int
    figures: Mapping[str, Figure]
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of a measure, highest first, hours, days and months in order.

    Args:
        measure: one of `MEASURES`.
        by: the dimensions.
        columns: the figures of each row, in order.
        rows: one per group.
        totals: of all calls of the period, also of groups beyond the limit.
    """

    measure: str
    by: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[MeasureRow, ...]
    totals: MeasureRow


def measure_steps(request: ReportRequest, measure: str) -> Steps[Measured]:
    """A measure of the calls of a period.

    Raises:
        InvalidRequestError: the measure or a dimension is unknown.
    """
    if measure not in COLUMNS:
        raise InvalidRequestError(f"unknown measure {measure!r}; use one of {', '.join(MEASURES)}")
    by, _ = checked_groups(request)
    records = yield _statement(request, by, measure)
    savings: dict[tuple[str, ...], Saving] = {}
    if measure == "cache":
        savings = yield from savings_by_labels_steps(request)
    lost = yield from losses_steps(request.since, request.until)
    totals = MeasureRow((), 0, dict.fromkeys(COLUMNS[measure]), Coverage(lost=lost))
    rows: list[MeasureRow] = []
    for record in records:
        if record["level"] or not by:
            saved = NO_SAVING
            for each in savings.values():
                saved = saved.plus(each)
            totals = _row(measure, (), record, saved, lost)
        else:
            labels = tuple(str(record[f"label_{number}"]) for number in range(len(by)))
            rows.append(_row(measure, labels, record, savings.get(labels, NO_SAVING), 0))
    return Measured(measure, by, COLUMNS[measure], tuple(rows), totals)


def _statement(request: ReportRequest, by: tuple[str, ...], measure: str) -> Statement:
    source = ROWS
    if measure == "errors":
        names = {*by, *(request.where or ())}
        source = source_of(names, request.since, request.until, request.zone)
    where, conditions = narrowed(request.where)
    braces = {**source.braces, "where": where, **_grouping(request, by, measure, source)}
    values = {
        "since": request.since,
        "until": request.until,
        "limit": request.limit + 1,
        **conditions,
    }
    name = measure
    if measure in _MEASURED_COLUMNS:
        name = "latency"
        braces["milliseconds"] = sql.Identifier(_MEASURED_COLUMNS[measure])
    query = sql.SQL(_SQL[name]).format(**braces)
    return Statement(query, values, caches_plan=source.is_rolled_up)


def _grouping(
    request: ReportRequest, by: tuple[str, ...], measure: str, source: Source
) -> dict[str, sql.Composable]:
    """The labels, the level of a row (above 0 for the total) and the clauses after WHERE."""
    groups = [group(name, request.zone) for name in by]
    if not groups:
        return {"labels": sql.SQL(""), "level": sql.SQL("0"), "grouping": sql.SQL("")}
    joined = sql.SQL(", ").join(groups)
    level = sql.SQL("GROUPING({})").format(joined)
    terms = [groups[number] for number, name in enumerate(by) if name in BUCKETS]
    terms.append(sql.SQL("{} DESC NULLS LAST").format(sql.SQL(_ORDERS[measure])))
    grouping = sql.SQL(fragment(_SQL["grouping"])).format(
        groups=joined, having=source.having, level=level, order=sql.SQL(", ").join(terms)
    )
    return {"labels": label_columns(groups), "level": level, "grouping": grouping}


def _row(
    measure: str, labels: tuple[str, ...], record: Record, saving: Saving, lost: int
) -> MeasureRow:
    figures = _FIGURES[measure](record, saving)
    coverage = coverage_of(record, lost=lost)
    return MeasureRow(labels, record["calls"], figures, coverage)


def _tokens(record: Record, _saving: Saving) -> dict[str, Figure]:
    return {name: record[name] for name in _TOKENS}


def _errors(record: Record, _saving: Saving) -> dict[str, Figure]:
    calls, errors = record["calls"], record["errors"]
    return {"errors": errors, "error_rate": errors / calls if calls else None}


def _latency(record: Record, _saving: Saving) -> dict[str, Figure]:
    points: list[float | None] = record["percentiles"] or [None] * len(_PERCENTILES)
    figures: dict[str, Figure] = dict(zip(_PERCENTILES, points, strict=True))
    return {"measured": record["measured"], "average_ms": record["average"], **figures}


def _cache(record: Record, saving: Saving) -> dict[str, Figure]:
    tokens, cached = record["input_tokens"], record["cached_tokens"]
    return {
        "input_tokens": tokens,
        "cached_tokens": cached,
        "hit_rate": cached / tokens if tokens else None,
        "savings_usd": saving.savings_usd,
        "tokens_without_price": saving.tokens_without_price,
    }


_FIGURES: Final[Mapping[str, Callable[[Record, Saving], dict[str, Figure]]]] = {
    "tokens": _tokens,
    "errors": _errors,
    "latency": _latency,
    "first_token": _latency,
    "cache": _cache,
}
