"""The current month: its cost so far, the month before, and where it leads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.db.dimensions import UTC, zone_of
from tokenledger_exporter.domain.preceding import preceding_period
from tokenledger_exporter.domain.time_expressions import days_before, parse_month, until_now
from tokenledger_exporter.pricing.price_row import MONEY
from tokenledger_exporter.queries.report import ReportRequest, report_steps

if TYPE_CHECKING:
    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.db.steps import Steps
    from tokenledger_exporter.queries.report import Report, ReportRow

METHOD: Final = "the cost so far, plus the average day of the last 7 days for the rest of the month"
"""How the end of the month is projected."""

_PACE_DAYS: Final = 7
_DAY: Final = timedelta(days=1)
_CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class MonthToDate:
    """The current month of a time zone.

    Args:
        month: its first day.
        so_far: cost and counts up to now.
        days: day -> its row, for days with calls.
        before_days: the same of the whole month before.
        before: cost and counts of the month before, after the same time.
        pace: cost and counts of the last 7 days.
        remaining: time until the month ends.
    """

    month: date
    so_far: ReportRow
    days: dict[date, ReportRow]
    before_days: dict[date, ReportRow]
    before: ReportRow
    pace: ReportRow
    remaining: timedelta

    @property
    def projected_usd(self) -> Decimal | None:
        """Cost at the end of the month by `METHOD`, to a cent; `None` if a part is not known."""
        so_far, pace = self.so_far.known_cost_usd, self.pace.known_cost_usd
        if so_far is None or pace is None:
            return None
        days = Decimal(self.remaining // timedelta(seconds=1)) / Decimal(_DAY.total_seconds())
        return MONEY.add(so_far, pace / _PACE_DAYS * days).quantize(_CENT)


def month_to_date_steps(where: Where | None = None, zone: str = UTC) -> Steps[MonthToDate]:
    """The current month of a time zone, and the month before."""
    zone_info = zone_of(zone)
    now = until_now()
    start, end = parse_month("this", zone=zone_info)
    before_start, same_time = preceding_period(start, end, zone_info)

    def request(since: datetime, until: datetime, *by: str) -> ReportRequest:
        return ReportRequest(by, since, until, where=where, zone=zone)

    days = yield from report_steps(request(start, now, "day"))
    before_days = yield from report_steps(request(before_start, start, "day"))
    before = yield from report_steps(request(before_start, same_time))
    pace = yield from report_steps(request(days_before(now, _PACE_DAYS), now))
    return MonthToDate(
        month=start.astimezone(zone_info).date(),
        so_far=days.totals,
        days=_by_date(days),
        before_days=_by_date(before_days),
        before=before.totals,
        pace=pace.totals,
        remaining=max(end - datetime.now(timezone.utc), timedelta()),
    )


def _by_date(report: Report) -> dict[date, ReportRow]:
    return {date.fromisoformat(row.labels[0]): row for row in report.rows}
