"""Costs over time as a table that a chart is drawn from: one line an hour, day or month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.db.dimensions import zone_of
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.domain.coverage import sum_coverage
from tokenledger_exporter.pricing.price_row import MONEY
from tokenledger_exporter.queries.over_time.trends import hour_starts
from tokenledger_exporter.queries.report import report_steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime, tzinfo

    from tokenledger_exporter.domain.coverage import Coverage
    from tokenledger_exporter.queries.report import Report, ReportRow
    from tokenledger_exporter.web.pages.page import Connection
    from tokenledger_exporter.web.pages.view import View

SERIES: Final = 5
"""Values with a series of their own; the rest is one more."""

_MAX_HOURS: Final = timedelta(hours=49)
_MAX_DAYS: Final = timedelta(days=185)
_LENGTHS: Final = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "month": timedelta(days=30),
}
_MAX_BUCKETS: Final = 1_000
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Bucket:
    """One hour, day or month.

    Args:
        label: as a report names it.
        since: value of the parameter `since` that leads to its calls.
        until: the same of `until`.
        cost_usd: its cost; `None` if it has calls and the cost of none is known.
        parts: the costs of the series; `None` as above.
        coverage: how much of its cost is known, for the marks of its total.
    """

    label: str
    since: str
    until: str
    cost_usd: Decimal | None
    parts: tuple[Decimal | None, ...]
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class Timeline:
    """Costs over time, split by the highest values of a dimension.

    Args:
        unit: hour, day or month.
        dimension: what it is split by.
        series: the values, highest cost first, and `None` for all others together.
        buckets: every one of the period, also without calls, oldest first.
    """

    unit: str
    dimension: str
    series: tuple[str | None, ...]
    buckets: tuple[Bucket, ...]


def stacked(
    connection: Connection, view: View, dimension: str, unit: str | None = None
) -> Timeline | None:
    """The costs of a view over time, split by the highest values of a dimension.

    `None` if the period has more buckets than can be looked at.

    Args:
        connection: to the ledger.
        view: period and filters.
        dimension: what to split by.
        unit: hour, day or month; by default what suits the period.
    """
    unit = unit or unit_of(view)
    if (view.end - view.since) / _LENGTHS[unit] > _MAX_BUCKETS:
        return None
    report = run_steps(connection, report_steps(view.report(unit, dimension)))
    names = _highest(report)
    by_label: dict[str, list[ReportRow]] = {}
    for row in report.rows:
        by_label.setdefault(row.labels[0], []).append(row)
    has_others = any(row.labels[1] not in names for row in report.rows)
    series: tuple[str | None, ...] = (*names, None) if has_others else names
    buckets = tuple(
        _bucket(label, since, until, by_label.get(label, []), series)
        for label, since, until in bucket_labels(view, unit)
    )
    return Timeline(unit, dimension, series, buckets)


def unit_of(view: View) -> str:
    """The unit that suits the length of the period."""
    length = view.end - view.since
    if length <= _MAX_HOURS:
        return "hour"
    return "day" if length <= _MAX_DAYS else "month"


def bucket_labels(view: View, unit: str) -> Iterator[tuple[str, str, str]]:
    """Every hour, day or month of a period: its label, and the period that leads to its calls."""
    zone = zone_of(view.zone)
    if unit == "hour":
        seen: set[str] = set()
        for start in hour_starts(view.since, view.end - timedelta(microseconds=1), zone):
            label = start.astimezone(zone).strftime("%Y-%m-%d %H:00")
            # A clock that is turned back shows an hour twice; a report names both alike.
            if label not in seen:
                seen.add(label)
                yield label, start.isoformat(), (start + timedelta(hours=1)).isoformat()
        return
    seen_labels = dict.fromkeys(_days(view.since, view.end, zone, unit))
    for label in seen_labels:
        yield (label, label, label) if unit == "day" else (label, "", "")


def _days(since: datetime, until: datetime, zone: tzinfo, unit: str) -> Iterator[str]:
    day = since.astimezone(zone).date()
    last = (until - timedelta(microseconds=1)).astimezone(zone).date()
    while day <= last:
        yield str(day) if unit == "day" else day.strftime("%Y-%m")
        day += timedelta(days=1)


def _highest(report: Report) -> tuple[str, ...]:
    sums: dict[str, Decimal] = {}
    for row in report.rows:
        sums[row.labels[1]] = MONEY.add(sums.get(row.labels[1], _ZERO), row.cost_usd)
    ordered = sorted(sums, key=lambda name: (-sums[name], name))
    return tuple(name for name in ordered[:SERIES] if sums[name])


def _bucket(
    label: str, since: str, until: str, rows: list[ReportRow], series: tuple[str | None, ...]
) -> Bucket:
    names = {name for name in series if name is not None}
    by_name: Mapping[str, ReportRow] = {row.labels[1]: row for row in rows}
    parts = tuple(
        _known([row for row in rows if row.labels[1] not in names])
        if name is None
        else _known([by_name[name]] if name in by_name else [])
        for name in series
    )
    coverage = sum_coverage([row.coverage for row in rows])
    return Bucket(label, since, until, _known(rows), parts, coverage)


def _known(rows: Iterable[ReportRow]) -> Decimal | None:
    """The cost of rows together; 0 without calls, `None` if no call has a known cost."""
    rows = list(rows)
    total = _ZERO
    for row in rows:
        total = MONEY.add(total, row.cost_usd)
    return None if sum_coverage([row.coverage for row in rows]).knows_no_cost else total
