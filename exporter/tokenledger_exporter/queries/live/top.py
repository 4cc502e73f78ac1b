"""What calls cost right now: the last minute, hour and day, and the groups that cost most."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.queries.report import ReportRequest, report_steps
from tokenledger_exporter.queries.summaries import errors_steps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.db.steps import Steps
    from tokenledger_exporter.queries.report import Report, ReportRow

_WINDOWS: Final = {
    "last minute": timedelta(minutes=1),
    "last hour": timedelta(hours=1),
    "last 24 h": timedelta(hours=24),
}
# The clocks of the apps and of this machine may differ; include the latest calls.
_CLOCKS_DIFFER: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Window:
    """The calls of a recent period.

    Args:
        name: such as `last hour`.
        length: how long the period is.
        totals: its cost, counts and coverage.
        errors: how many of its calls failed.
    """

    name: str
    length: timedelta
    totals: ReportRow
    errors: int

    @property
    def calls_per_second(self) -> float:
        """The average over the period."""
        return self.totals.calls / self.length.total_seconds()


@dataclass(frozen=True, slots=True)
class Frame:
    """All that one frame shows, from one snapshot.

    Args:
        taken_at: when.
        windows: the recent periods, shortest first.
        report: the groups with the highest cost of a period that ends now.
    """

    taken_at: datetime
    windows: Sequence[Window]
    report: Report


def frame_steps(
    now: datetime, by: Sequence[str], length: timedelta, where: Where | None, limit: int
) -> Steps[Frame]:
    """The frame of a moment.

    Args:
        now: the moment.
        by: dimensions of the groups.
        length: the period of the groups.
        where: conditions on dimensions.
        limit: maximum number of groups.

    Raises:
        InvalidRequestError: a dimension is unknown.
    """
    until = now + _CLOCKS_DIFFER
    windows: list[Window] = []
    for name, each in _WINDOWS.items():
        request = ReportRequest((), now - each, until, where=where)
        report = yield from report_steps(request)
        failures = yield from errors_steps(request)
        windows.append(Window(name, each, report.totals, failures.errors))
    request = ReportRequest(by, now - length, until, limit=limit, where=where)
    groups = yield from report_steps(request)
    return Frame(now, windows, groups)
