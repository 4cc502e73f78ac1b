"""Reads hourly costs, exact and from the roll-ups, and forecasts the month."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.dimensions import UTC, by_name, plain_where, zone_of
from tokenledger_exporter.domain.coverage import coverage_of, sum_coverage
from tokenledger_exporter.domain.time_expressions import days_before, parse_month, until_now
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries.forecast.backtest import past_forecasts
from tokenledger_exporter.queries.forecast.errors import FEWEST_DAYS
from tokenledger_exporter.queries.forecast.estimate import METHODS, SEASONAL, estimate
from tokenledger_exporter.queries.forecast.results import Backtest, MonthForecast
from tokenledger_exporter.queries.report import ReportRequest, losses_steps
from tokenledger_exporter.queries.summaries import period_statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from decimal import Decimal

    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.db.steps import Steps
    from tokenledger_exporter.domain.coverage import Coverage
    from tokenledger_exporter.queries.forecast.estimate import Estimate

LEARNED_DAYS: Final = 400
"""How many days before the month it learns from at most."""

_BACKTEST_DAYS: Final = 2 * LEARNED_DAYS


@dataclass(frozen=True, slots=True)
class ForecastRequest:
    """A request for the forecast of a month.

    Args:
        month: `this`, `last` or `2026-10`; the future has no forecast.
        method: a name of `METHODS`.
        where: filters.
        zone: time zone of the month, by its IANA name.
    """

    month: str = "this"
    method: str = SEASONAL
    where: Where | None = None
    zone: str = UTC

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", by_name(self.where) if self.where else None)


@dataclass(frozen=True, slots=True)
class _Hours:
    """Start of each hour with calls, in UTC -> its cost, and its coverage."""

    costs: dict[datetime, Decimal]
    coverages: dict[datetime, Coverage]

    def coverage(self, since: datetime | None = None) -> Coverage:
        parts = [c for start, c in self.coverages.items() if since is None or start >= since]
        return sum_coverage(parts)


def forecast_steps(request: ForecastRequest) -> Steps[MonthForecast]:
    """The forecast of a month.

    Raises:
        InvalidRequestError: the method, month, zone or a filter is invalid; the month has not
            begun, or there is no call in it or before it.
    """
    month = _checked_month(request)
    now = until_now()
    until = min(month[1], now)
    hours = yield from _hours(request, days_before(month[0], LEARNED_DAYS), until)
    if month[1] <= now and not hours.costs:
        raise InvalidRequestError(
            f"there are no calls in {month[0]:%Y-%m} or before it"
            f"{' that match the filters' if request.where else ''}: use a later month"
        )
    lost = yield from losses_steps(month[0], until)
    result = estimate(hours.costs, month, now, zone_of(request.zone), request.method)
    return _forecast(request, month, hours, result, now=now, lost=lost)


def backtest_steps(where: Where | None = None, zone: str = UTC) -> Steps[Backtest]:
    """How good the forecasts of the last twelve months would have been.

    Raises:
        InvalidRequestError: the zone or a filter is invalid.
    """
    zone_info = zone_of(zone)
    request = ForecastRequest(where=where, zone=zone)
    now = until_now()
    hours = yield from _hours(request, days_before(now, _BACKTEST_DAYS), now)
    forecasts = past_forecasts(hours.costs, now, zone_info)
    notes: list[str] = []
    if not forecasts:
        notes.append(
            f"there is no past month with {FEWEST_DAYS} complete days of calls before a day of it: "
            "nothing can be tested yet"
        )
    coverage = hours.coverage()
    notes += _unknown_notes(coverage)
    return Backtest(forecasts, coverage, tuple(notes), zone, plain_where(request.where))


def _checked_month(request: ForecastRequest) -> tuple[datetime, datetime]:
    if request.method not in METHODS:
        raise InvalidRequestError(
            f"unknown method {request.method!r}; use one of {', '.join(METHODS)}"
        )
    start, end = parse_month(request.month, zone=zone_of(request.zone))
    if start > datetime.now(timezone.utc):
        raise InvalidRequestError(
            f"month {request.month!r} is in the future; use this, last or a month before"
        )
    return start, end


def _hours(request: ForecastRequest, since: datetime, until: datetime) -> Steps[_Hours]:
    # A day more than needed is harmless, and a whole hour lets the roll-ups answer.
    start = since.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0)
    period = ReportRequest((), start, until, where=request.where, zone=request.zone)
    rows: Sequence[Mapping[str, Any]] = yield period_statement("hours", period, zone=request.zone)
    starts = [row["bucket"].astimezone(timezone.utc) for row in rows]
    costs = {start: row["cost_usd"] for start, row in zip(starts, rows, strict=True)}
    coverages = {start: coverage_of(row) for start, row in zip(starts, rows, strict=True)}
    return _Hours(costs, coverages)


def _forecast(  # noqa: PLR0913 - one argument per part of the answer
    request: ForecastRequest,
    month: tuple[datetime, datetime],
    hours: _Hours,
    result: Estimate,
    *,
    now: datetime,
    lost: int,
) -> MonthForecast:
    coverage = replace(hours.coverage(month[0]), lost=lost)
    learned = hours.coverage()
    is_known = bool(hours.costs) and not coverage.knows_no_cost and not learned.knows_no_cost
    return MonthForecast(
        month=month[0].date(),
        since=month[0],
        until=month[1],
        as_of=min(now, month[1]),
        spent_usd=None if coverage.knows_no_cost else result.spent_usd,
        expected_usd=result.expected_usd if is_known else None,
        low_usd=result.low_usd if is_known else None,
        high_usd=result.high_usd if is_known else None,
        method=result.method,
        days_learned=result.days_learned,
        coverage=coverage,
        learned_coverage=learned,
        notes=tuple(_notes(request, result, hours, learned, is_over=month[1] <= now)),
        zone=request.zone,
        where=plain_where(request.where),
    )


def _notes(
    request: ForecastRequest, result: Estimate, hours: _Hours, learned: Coverage, *, is_over: bool
) -> Iterator[str]:
    if not hours.costs:
        which = "no calls match the filters" if request.where else "the ledger has no calls yet"
        yield f"{which}: there is nothing to forecast from"
        return
    if is_over:
        yield "the month is over: this is its cost, not a forecast"
    elif result.method != request.method:
        days = f"{result.days_learned} complete {'day' if result.days_learned == 1 else 'days'}"
        yield (
            f"{days} of calls are too few for {request.method!r}, which needs {FEWEST_DAYS}: "
            f"{result.method!r} is used, which has no interval"
        )
    yield from _unknown_notes(learned)


def _unknown_notes(coverage: Coverage) -> Iterator[str]:
    if coverage.without_cost:
        yield (
            f"{coverage.without_cost:,} of {coverage.calls:,} calls have no known cost and are in "
            "no figure: each figure is a lower bound; 'tokenledger prices missing' lists the models"
        )
