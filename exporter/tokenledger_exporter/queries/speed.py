"""Whether a report reads sums that are ready, or every call of its period."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenledger_exporter.rollups.source import source_of

if TYPE_CHECKING:
    from tokenledger_exporter.queries.report import ReportRequest


def reads_rollups(request: ReportRequest) -> bool:
    """Whether a report takes milliseconds however many calls there are."""
    names = {*request.by, *(request.where or ())}
    return source_of(names, request.since, request.until, request.zone).is_rolled_up
