"""The overview: cost of a period against the one before, by day, and its highest parts."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.dimensions import zone_of
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.queries import summaries
from tokenledger_exporter.queries.report import compared_steps, report_steps
from tokenledger_exporter.web.pages.charts import bar_chart
from tokenledger_exporter.web.pages.page import Page
from tokenledger_exporter.web.pages.template import html
from tokenledger_exporter.web.pages.view import VIEW_PARAMETERS, View

if TYPE_CHECKING:
    from datetime import datetime

    from tokenledger_exporter.web.pages.page import Connection

_PATH: Final = "/"
_TOP: Final = ("model", "feature", "user", "team")
_TOP_ROWS: Final = 5


def _overview(connection: Connection, values: dict[str, Any]) -> str:
    view = View.of(_PATH, values)
    total = run_steps(connection, compared_steps(view.report()))
    by_day = run_steps(connection, report_steps(view.report("day")))
    known = {row.labels[0]: row.known_cost_usd for row in by_day.rows}
    days = [(day, known.get(day, Decimal(0))) for day in _days(view.since, view.until, view.zone)]
    tops = [
        (name, run_steps(connection, report_steps(view.report(name, limit=_TOP_ROWS))))
        for name in _TOP
    ]
    month = run_steps(connection, summaries.month_steps(dict(view.where)))
    return html(
        "overview",
        "overview",
        view,
        total=total.totals,
        coverage=total.coverage,
        notes=total.notes,
        chart=bar_chart(days),
        month=None if month.coverage.knows_no_cost else month.cost_usd,
        month_method=month.method,
        errors=run_steps(connection, summaries.errors_steps(view.report())),
        tops=tops,
    )


def _days(since: datetime, until: datetime, zone: str) -> list[str]:
    """Every day of a period, as a report names it."""
    zone_info = zone_of(zone)
    first = since.astimezone(zone_info).date()
    last = until.astimezone(zone_info) - timedelta(microseconds=1)
    return [str(first + timedelta(days=n)) for n in range((last.date() - first).days + 1)]


OVERVIEW: Final = Page(_PATH, VIEW_PARAMETERS, _overview)
"""The first page."""
