"""Explore: cost by any dimensions, with its SQL, as CSV and as JSON."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.render.report import render as render_report
from tokenledger_exporter.web.ledger_parameters import report_parameters
from tokenledger_exporter.web.pages.page import Page
from tokenledger_exporter.web.pages.template import html
from tokenledger_exporter.web.pages.view import DEFAULT_SINCE, View
from tokenledger_exporter.web.request_values import build_report

if TYPE_CHECKING:
    from tokenledger_exporter.web.pages.page import Connection

_PATH: Final = "/explore"
_PARAMETERS: Final = report_parameters(DEFAULT_SINCE)
_DEFAULTS: Final = {parameter.name: parameter.default for parameter in _PARAMETERS}


def _explore(connection: Connection, values: dict[str, Any]) -> str:
    with collect_sql() as statements:
        report = build_report(connection, values)
    highest = max((row.cost_usd for row in report.rows), default=Decimal(0))
    view = View.of(_PATH, values)
    return html(
        "explore",
        "explore",
        view,
        own={name: value for name, value in view.own() if value != str(_DEFAULTS[name])},
        values=values,
        report=report,
        statements=statements,
        highest=highest,
    )


def _csv(connection: Connection, values: dict[str, Any]) -> str:
    return render_report(build_report(connection, values), "csv")


EXPLORE: Final = (
    Page(_PATH, _PARAMETERS, _explore),
    Page("/explore.csv", _PARAMETERS, _csv, "text/csv; charset=utf-8"),
)
"""The page, and the same report as CSV."""
