"""Trends by day and hour of a time zone, without gaps."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.dimensions import zone_of
from tokenledger_exporter.domain.coverage import Coverage, sum_coverage
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries.report import Asked, losses_plan
from tokenledger_exporter.queries.results import DailyCost, HourlyCost, Trend
from tokenledger_exporter.queries.summaries import figures_of, question, until_now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date, tzinfo

    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.db.steps import Plan

_MAX_HOURS: Final = 24 * 366 * 10
_MAX_DAYS: Final = 366 * 100

# Every time zone's offset since 2015, the ledger's first year, is a multiple of this.
_STEP: Final = timedelta(minutes=15)


def daily_plan(days: int, zone_name: str, where: Where | None) -> Plan[Trend[DailyCost]]:
    """The last so many days and today, each whole but today."""
    zone = zone_of(zone_name)
    _check(days, "days", _MAX_DAYS)
    until = until_now()
    last = until.astimezone(zone).date()
    dates = [last - timedelta(days=ago) for ago in reversed(range(days))]
    asked = Asked((), _midnight(dates[0], zone), until, where=where, zone=zone_name)
    rows = yield question("days", asked, zone=zone_name)
    lost = yield from losses_plan(asked.since, asked.until)
    known = {row["bucket"]: row for row in rows}
    buckets = tuple(DailyCost(*_figures(known.get(day)), date=day) for day in dates)
    return Trend(buckets, _whole(buckets, lost))


def hourly_plan(hours: int, zone_name: str, where: Where | None) -> Plan[Trend[HourlyCost]]:
    """The last so many hours and this one, as the zone's clocks show them."""
    zone = zone_of(zone_name)
    _check(hours, "hours", _MAX_HOURS)
    until = until_now()
    starts = list(hour_starts(until - timedelta(hours=hours - 1), until, zone))
    asked = Asked((), starts[0], until, where=where, zone=zone_name)
    rows = yield question("hours", asked, zone=zone_name)
    lost = yield from losses_plan(asked.since, asked.until)
    known = {row["bucket"].astimezone(timezone.utc): row for row in rows}
    buckets = tuple(
        HourlyCost(*_figures(known.get(start)), hour=start.astimezone(zone)) for start in starts
    )
    return Trend(buckets, _whole(buckets, lost))


def hour_starts(since: datetime, until: datetime, zone: tzinfo) -> Iterator[datetime]:
    """The starts, in UTC, of all hours from that of `since` to that of `until`, as Postgres cuts.

    An hour begins where the zone's clock shows no minutes; where a clock jumps by half an hour, the
    hours on both sides are each cut by their own offset.
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
    """The first moment of a day in a zone."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(timezone.utc)


def _check(number: int, unit: str, most: int) -> None:
    if not 1 <= number <= most:
        raise InvalidRequestError(f"{number} is no stretch of {unit}: give 1 to {most:,}")


def _figures(found: Mapping[str, Any] | None) -> tuple[Decimal, int, int, int, Coverage]:
    return (Decimal(0), 0, 0, 0, Coverage()) if found is None else figures_of(found)


def _whole(buckets: tuple[DailyCost, ...] | tuple[HourlyCost, ...], lost: int) -> Coverage:
    return replace(sum_coverage([bucket.coverage for bucket in buckets]), lost=lost)
