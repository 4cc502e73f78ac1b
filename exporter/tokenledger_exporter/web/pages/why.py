"""Why the cost differs from that of the period before: a page, and the overview's panel of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.dimensions import BUCKETS, dimension_names
from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.queries.why.results import UNITS
from tokenledger_exporter.render.why import driver_figures, driver_text, render_why
from tokenledger_exporter.web.ledger_parameters import DETAIL
from tokenledger_exporter.web.pages.contributors import CONTRIBUTORS_BY
from tokenledger_exporter.web.pages.page import Page
from tokenledger_exporter.web.pages.template import html
from tokenledger_exporter.web.pages.view import VIEW_PARAMETERS, View
from tokenledger_exporter.web.parameters import Parameter
from tokenledger_exporter.web.request_values import build_why

if TYPE_CHECKING:
    from tokenledger_exporter.web.pages.page import Connection

_PATH: Final = "/why"
_DRIVERS: Final = 20
_PARAMETERS: Final = (
    Parameter("by", "Dimension whose values are compared.", default="feature"),
    *VIEW_PARAMETERS,
    DETAIL,
)


def _page(connection: Connection, values: dict[str, Any]) -> str:
    view = View.of(_PATH, values)
    with collect_sql() as statements:
        report = build_why(connection, values)
    return html(
        "why",
        "why",
        view,
        report=report,
        kinds=CONTRIBUTORS_BY,
        dimensions=[name for name in dimension_names()[:-1] if name not in BUCKETS],
        statements=statements,
        drivers=_DRIVERS,
        driver_figures=driver_figures,
        units=UNITS,
    )


def _panel(connection: Connection, values: dict[str, Any]) -> str:
    view = View.of("/", {name: values[name] for name in values if name not in {"by", "detail"}})
    report = build_why(connection, values)
    return html("why_panel", "", view, report=report, driver_text=driver_text)


def _csv(connection: Connection, values: dict[str, Any]) -> str:
    return render_why(build_why(connection, values), "csv")


WHY: Final = (
    Page(_PATH, _PARAMETERS, _page),
    Page("/why/panel", _PARAMETERS, _panel, is_part=True),
    Page("/why.csv", _PARAMETERS, _csv, "text/csv; charset=utf-8"),
)
"""The page, the panel and the causes as CSV."""
