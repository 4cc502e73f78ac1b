"""The plans behind the questions about money, errors, latency and the month to come."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from tokenledger_exporter.db.dimensions import UTC, narrowed
from tokenledger_exporter.db.steps import Question
from tokenledger_exporter.domain.coverage import coverage_of
from tokenledger_exporter.domain.time_expressions import days_before
from tokenledger_exporter.queries.report import EVERYTHING, Asked, losses_plan, report_plan
from tokenledger_exporter.queries.results import (
    CostSummary,
    DailyCost,
    ErrorRate,
    Latency,
    ModelCost,
    Percentiles,
    ProjectedMonth,
    TopError,
    UserCost,
)
from tokenledger_exporter.rollups.source import ROWS, source_of
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from typing_extensions import LiteralString

    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.db.steps import Plan
    from tokenledger_exporter.domain.coverage import Coverage
    from tokenledger_exporter.queries.report import ReportRow

_SQL: Final = statements("queries")
# What a statement groups by beside the dimensions.
_BUCKETS: Final = {"days": "day", "hours": "hour"}
_OF_SINGLE_CALLS: Final = frozenset({"top_errors", "latency", "cached_by_sheet", "cache_totals"})

METHOD: Final = "mean of the last 7 days x 30"
"""How a month is projected."""

_METHOD_DAYS: Final = 7
_MONTH_DAYS: Final = 30


def asked_days(
    days: int,
    *by: str,
    where: Where | None = None,
    zone: str = UTC,
    limit: int = EVERYTHING,
    order_by: str = "cost_usd",
) -> Asked:
    """The last so many days, up to now.

    Raises:
        UsageError: the days are fewer than 1, or lead to before the year 1.
    """
    until = until_now()
    since = days_before(until, days)
    return Asked(by, since, until, limit=limit, where=where, zone=zone, order_by=order_by)


def until_now() -> datetime:
    """The end of a stretch up to now: a call may start a moment before the clock is read here."""
    return datetime.now(timezone.utc) + timedelta(minutes=1)


def given(where: Where | None, **more: str | None) -> dict[str, tuple[str, ...]]:
    """The conditions with those that have an argument of their own."""
    named = {name: (value,) for name, value in more.items() if value is not None}
    told = {name: (v,) if isinstance(v, str) else tuple(v) for name, v in (where or {}).items()}
    return {**told, **named}


def summary_plan(asked: Asked) -> Plan[CostSummary]:
    """Everything in the stretch."""
    report = yield from report_plan(asked)
    return CostSummary(*_figures(report.totals))


def models_plan(asked: Asked) -> Plan[list[ModelCost]]:
    """By provider and model."""
    report = yield from report_plan(asked)
    return [ModelCost(*_figures(row), *row.labels) for row in report.rows]


def users_plan(asked: Asked) -> Plan[list[UserCost]]:
    """By user."""
    report = yield from report_plan(asked)
    return [UserCost(*_figures(row), *row.labels) for row in report.rows]


def days_plan(asked: Asked) -> Plan[list[DailyCost]]:
    """By day that has calls, newest first."""
    report = yield from report_plan(asked)
    entries = (
        DailyCost(*_figures(row), date=date.fromisoformat(row.labels[0])) for row in report.rows
    )
    return sorted(entries, key=lambda entry: entry.date, reverse=True)


def month_plan(where: Where | None) -> Plan[ProjectedMonth]:
    """A month by the last seven days."""
    week = yield from summary_plan(asked_days(_METHOD_DAYS, where=where))
    cost_usd = week.total_cost * _MONTH_DAYS / _METHOD_DAYS
    return ProjectedMonth(cost_usd, METHOD, week)


def errors_plan(asked: Asked) -> Plan[ErrorRate]:
    """How many calls failed."""
    [found] = yield question("errors", asked)
    lost = yield from losses_plan(asked.since, asked.until)
    calls, errors = found["calls"], found["errors"]
    return ErrorRate(calls, errors, errors / calls if calls else 0.0, coverage_of(found, lost=lost))


def top_errors_plan(asked: Asked) -> Plan[list[TopError]]:
    """The commonest failures."""
    rows = yield question("top_errors", asked)
    return [
        TopError(
            error_type=row["error_type"],
            provider=row["provider"],
            model=row["model"],
            count=row["calls"],
            total_cost=row["cost_usd"],
            coverage=coverage_of(row),
        )
        for row in rows
    ]


def latency_plan(asked: Asked) -> Plan[Latency]:
    """How long calls took."""
    [found] = yield question("latency", asked)
    lost = yield from losses_plan(asked.since, asked.until)
    return Latency(
        duration=_percentiles(found, "duration"),
        time_to_first_token=_percentiles(found, "first_token"),
        coverage=coverage_of(found, lost=lost),
    )


def question(name: str, asked: Asked, **values: object) -> Question:
    """A statement of queries.sql over a period."""
    where, conditions = narrowed(asked.where)
    statement: LiteralString = _SQL[name]
    names = {*(asked.where or ()), _BUCKETS.get(name, "")} - {""}
    source = ROWS
    if name not in _OF_SINGLE_CALLS:
        source = source_of(names, asked.since, asked.until, asked.zone)
    query = sql.SQL(statement).format(where=where, **source.braces)
    stretch = {"since": asked.since, "until": asked.until, "limit": asked.limit}
    values = {**stretch, **conditions, **values}
    return Question(query, values, keeps_plan=source.is_rolled_up)


def figures_of(found: Mapping[str, Any]) -> tuple[Decimal, int, int, int, Coverage]:
    """What a `CostSummary` begins with, of a row that holds `{figures}` and `{states}`."""
    tokens = (found["input_tokens"], found["output_tokens"])
    return (found["cost_usd"], found["calls"], *tokens, coverage_of(found))


def _figures(row: ReportRow) -> tuple[Decimal, int, int, int, Coverage]:
    return (row.cost_usd, row.calls, row.input_tokens, row.output_tokens, row.coverage)


def _percentiles(found: Mapping[str, Any], name: str) -> Percentiles:
    points: list[float | None] = found[f"{name}_percentiles"] or [None] * 4
    p50, p90, p95, p99 = points
    return Percentiles(found[f"{name}s"], found[f"{name}_average"], p50, p90, p95, p99)
