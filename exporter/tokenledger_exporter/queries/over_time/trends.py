"""Trends by day and hour of a time zone, without gaps."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.dimensions import zone_of
from tokenledger_exporter.domain.coverage import Coverage, sum_coverage
from tokenledger_exporter.domain.time_expressions import until_now
from tokenledger_exporter.queries.arguments import check_count, check_text, check_where
from tokenledger_exporter.queries.report import ReportRequest, losses_steps
from tokenledger_exporter.queries.results import DailyCost, HourlyCost, Trend
from tokenledger_exporter.queries.summaries import figures_of, period_statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date, tzinfo

    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.db.steps import Steps

_MAX_HOURS: Final = 24 * 366 * 10
_MAX_DAYS: Final = 366 * 100

# Every time zone's offset since 2015, the ledger's first year, is a multiple of this.
_STEP: Final = timedelta(minutes=15)


def daily_steps(days: int, zone_name: str, where: Where | None) -> Steps[Trend[DailyCost]]:
    """The last days including today; all of them are whole days but today."""
    zone = _checked_zone(zone_name, where)
    check_count("days", days, minimum=1, maximum=_MAX_DAYS)
    until = until_now()
    last = until.astimezone(zone).date()
    dates = [last - timedelta(days=ago) for ago in reversed(range(days))]
    request = ReportRequest((), _midnight(dates[0], zone), until, where=where, zone=zone_name)
    rows = yield period_statement("days", request, zone=zone_name)
    lost = yield from losses_steps(request.since, request.until)
    known = {row["bucket"]: row for row in rows}
    buckets = tuple(DailyCost(*_figures(known.get(day)), date=day) for day in dates)
    return Trend(buckets, _total_coverage(buckets, lost))


def hourly_steps(hours: int, zone_name: str, where: Where | None) -> Steps[Trend[HourlyCost]]:
    """The last hours including this one, by the clocks of the time zone."""
    zone = _checked_zone(zone_name, where)
    check_count("hours", hours, minimum=1, maximum=_MAX_HOURS)
    until = until_now()
    starts = list(hour_starts(until - timedelta(hours=hours - 1), until, zone))
    request = ReportRequest((), starts[0], until, where=where, zone=zone_name)
    rows = yield period_statement("hours", request, zone=zone_name)
    lost = yield from losses_steps(request.since, request.until)
    known = {row["bucket"].astimezone(timezone.utc): row for row in rows}
    buckets = tuple(
        HourlyCost(*_figures(known.get(start)), hour=start.astimezone(zone)) for start in starts
    )
    return Trend(buckets, _total_coverage(buckets, lost))


def hour_starts(since: datetime, until: datetime, zone: tzinfo) -> Iterator[datetime]:
    """The starts in UTC of all hours from `since` to `until`, as Postgres truncates them.

    An hour begins when the zone's clock shows minute 0. When a clock jumps by half an hour, the
    hours before and after are each cut by their own offset.
    """
    seen: set[datetime] = set()
    moment = since
    while moment <= until:
        start = _hour_of(moment, zone)
        if start not in seen:
            seen.add(start)
            yield start
        moment += _STEP
    if (start := _hour_of(until, zone)) not in seen:
        yield start


def _hour_of(moment: datetime, zone: tzinfo) -> datetime:
    local = moment.astimezone(zone)
    into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    return moment.astimezone(timezone.utc) - into


def _midnight(day: date, zone: tzinfo) -> datetime:
    """The start of a day in a time zone."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(timezone.utc)


def _checked_zone(name: str, where: Where | None) -> tzinfo:
    """The time zone, after a check of both arguments."""
    check_where(where)
    check_text("timezone", name)
    return zone_of(name)


def _figures(row: Mapping[str, Any] | None) -> tuple[Decimal, int, int, int, Coverage]:
    return (Decimal(0), 0, 0, 0, Coverage()) if row is None else figures_of(row)


def _total_coverage(buckets: tuple[DailyCost, ...] | tuple[HourlyCost, ...], lost: int) -> Coverage:
    return replace(sum_coverage([bucket.coverage for bucket in buckets]), lost=lost)
