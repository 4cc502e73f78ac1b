"""The state of the ledger, and what to do about it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.domain.time_expressions import days_before, until_now
from tokenledger_exporter.queries.live.ledger_state import read_state
from tokenledger_exporter.queries.over_time import trends
from tokenledger_exporter.queries.report import ReportRequest, report_steps
from tokenledger_exporter.web.pages.listing import CSV, csv_of, view_of
from tokenledger_exporter.web.pages.page import Page
from tokenledger_exporter.web.pages.template import html
from tokenledger_exporter.web.pages.times import age
from tokenledger_exporter.web.pages.view import VIEW_PARAMETERS

if TYPE_CHECKING:
    from tokenledger_exporter.web.pages.page import Connection

_PATH: Final = "/ledger"
_HOURS: Final = 24
_COLUMNS: Final = ("name", "state", "detail", "remedy")


def _health(connection: Connection, values: dict[str, Any]) -> str:
    view = view_of(_PATH, values)
    with collect_sql() as statements:
        state = read_state(connection)
        hours = run_steps(connection, trends.hourly_steps(_HOURS, view.zone, None))
        until = until_now()
        week = ReportRequest((), days_before(until, 7), until)
        report = run_steps(connection, report_steps(week))
    newest_age = None
    if state.newest_at is not None:
        newest_age = age((state.asked_at - state.newest_at).total_seconds())
    return html(
        "health",
        "health",
        view,
        state=state,
        newest_age=newest_age,
        hours=list(hours)[::-1],
        one_hour=timedelta(hours=1),
        most=max((hour.total_requests for hour in hours), default=0),
        coverage=report.coverage,
        notes=report.notes,
        statements=statements,
        files=("/ledger.csv", "/api/v1/ledger"),
    )


def _csv(connection: Connection, _values: dict[str, Any]) -> str:
    findings = read_state(connection).findings
    return csv_of(_COLUMNS, [{name: getattr(each, name) for name in _COLUMNS} for each in findings])


HEALTH: Final = (
    Page(_PATH, VIEW_PARAMETERS, _health),
    Page("/ledger.csv", (), _csv, CSV),
)
"""The page, and its findings as CSV."""
