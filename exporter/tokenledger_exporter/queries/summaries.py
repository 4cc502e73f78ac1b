"""The steps of the queries about cost, errors, latency and the projected month."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from tokenledger_exporter.db.dimensions import UTC, narrowed, plain_where
from tokenledger_exporter.db.steps import Statement
from tokenledger_exporter.domain.coverage import coverage_of
from tokenledger_exporter.domain.time_expressions import days_before, until_now
from tokenledger_exporter.queries.arguments import (
    check_count,
    check_dimensions,
    check_text,
    check_where,
)
from tokenledger_exporter.queries.report import (
    EVERYTHING,
    ReportRequest,
    losses_steps,
    report_steps,
)
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
    from tokenledger_exporter.db.steps import Steps
    from tokenledger_exporter.domain.coverage import Coverage
    from tokenledger_exporter.queries.report import ReportRow

_SQL: Final = statements("queries")
# Statements that group by a period.
_BUCKETS: Final = {"days": "day", "hours": "hour"}
_ROW_QUERIES: Final = frozenset({"top_errors", "latency", "cached_by_sheet", "cache_totals"})

METHOD: Final = "average of the last 7 days x 30"
"""The method of the projection."""

_METHOD_DAYS: Final = 7
_MONTH_DAYS: Final = 30


def last_days(
    days: int,
    *by: str,
    where: Where | None = None,
    zone: str = UTC,
    limit: int = EVERYTHING,
    order_by: str = "cost_usd",
) -> ReportRequest:
    """A request for the last days, up to now.

    Raises:
        InvalidRequestError: the days are fewer than 1, or lead to a time before the year 1; an
            argument has the wrong type.
    """
    check_dimensions(by)
    check_where(where)
    check_text("timezone", zone)
    check_text("order_by", order_by)
    check_count("limit", limit, minimum=0)
    until = until_now()
    since = days_before(until, days)
    return ReportRequest(by, since, until, limit=limit, where=where, zone=zone, order_by=order_by)


def with_filters(where: Where | None, **filters: str | None) -> dict[str, tuple[str, ...]]:
    """The conditions of `where`, and one for each filter that is not `None`.

    Raises:
        InvalidRequestError: a filter is no text.
    """
    check_where(where)
    for name, value in filters.items():
        if value is not None:
            check_text(f"the filter by {name}", value)
    more = {name: (value,) for name, value in filters.items() if value is not None}
    return {**plain_where(where), **more}


def summary_steps(request: ReportRequest) -> Steps[CostSummary]:
    """Everything in the period."""
    report = yield from report_steps(request)
    return CostSummary(*_figures(report.totals))


def models_steps(request: ReportRequest) -> Steps[list[ModelCost]]:
    """Costs by provider and model."""
    report = yield from report_steps(request)
    return [ModelCost(*_figures(row), *row.labels) for row in report.rows]


def users_steps(request: ReportRequest) -> Steps[list[UserCost]]:
    """Costs by user."""
    report = yield from report_steps(request)
    return [UserCost(*_figures(row), *row.labels) for row in report.rows]


def days_steps(request: ReportRequest) -> Steps[list[DailyCost]]:
    """Costs by day, newest first, without days that have no calls."""
    report = yield from report_steps(request)
    entries = (
        DailyCost(*_figures(row), date=date.fromisoformat(row.labels[0])) for row in report.rows
    )
    return sorted(entries, key=lambda entry: entry.date, reverse=True)


def month_steps(where: Where | None) -> Steps[ProjectedMonth]:
    """The projected cost of a month, from the last seven days."""
    week = yield from summary_steps(last_days(_METHOD_DAYS, where=where))
    cost_usd = week.total_cost * _MONTH_DAYS / _METHOD_DAYS
    return ProjectedMonth(cost_usd, METHOD, week)


def errors_steps(request: ReportRequest) -> Steps[ErrorRate]:
    """How many calls failed."""
    [row] = yield period_statement("errors", request)
    lost = yield from losses_steps(request.since, request.until)
    calls, errors = row["calls"], row["errors"]
    return ErrorRate(calls, errors, errors / calls if calls else 0.0, coverage_of(row, lost=lost))


def top_errors_steps(request: ReportRequest) -> Steps[list[TopError]]:
    """The most frequent failures."""
    rows = yield period_statement("top_errors", request)
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


def latency_steps(request: ReportRequest) -> Steps[Latency]:
    """How long calls took."""
    [row] = yield period_statement("latency", request)
    lost = yield from losses_steps(request.since, request.until)
    return Latency(
        duration=_percentiles(row, "duration"),
        time_to_first_token=_percentiles(row, "first_token"),
        coverage=coverage_of(row, lost=lost),
    )


def period_statement(
    name: str,
    request: ReportRequest,
    braces: Mapping[str, sql.Composable] | None = None,
    **values: object,
) -> Statement:
    """A statement of queries.sql over a period.

    Args:
        name: its name.
        request: period, filters and limit.
        braces: what else its braces take.
        values: its further parameters.
    """
    where, conditions = narrowed(request.where)
    statement: LiteralString = _SQL[name]
    names = {*(request.where or ()), _BUCKETS.get(name, "")} - {""}
    source = ROWS
    if name not in _ROW_QUERIES:
        source = source_of(names, request.since, request.until, request.zone)
    query = sql.SQL(statement).format(where=where, **source.braces, **(braces or {}))
    bounds = {"since": request.since, "until": request.until, "limit": request.limit}
    values = {**bounds, **conditions, **values}
    return Statement(query, values, caches_plan=source.is_rolled_up)


def figures_of(row: Mapping[str, Any]) -> tuple[Decimal, int, int, int, Coverage]:
    """The first fields of a `CostSummary`, from a row with `{figures}` and `{states}`."""
    tokens = (row["input_tokens"], row["output_tokens"])
    return (row["cost_usd"], row["calls"], *tokens, coverage_of(row))


def _figures(row: ReportRow) -> tuple[Decimal, int, int, int, Coverage]:
    return (row.cost_usd, row.calls, row.input_tokens, row.output_tokens, row.coverage)


def _percentiles(row: Mapping[str, Any], name: str) -> Percentiles:
    points: list[float | None] = row[f"{name}_percentiles"] or [None] * 4
    p50, p90, p95, p99 = points
    return Percentiles(row[f"{name}s"], row[f"{name}_average"], p50, p90, p95, p99)
