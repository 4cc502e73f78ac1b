"""Explore: cost or another measure by any dimensions, over time, with its SQL, as CSV and JSON."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.dimensions import BUCKETS, dimension_names
from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.queries.measures.measure import MEASURES
from tokenledger_exporter.queries.speed import reads_rollups
from tokenledger_exporter.render.measures import as_csv
from tokenledger_exporter.render.report import render as render_report
from tokenledger_exporter.web.ledger_parameters import MAX_GROUPS, report_parameters
from tokenledger_exporter.web.pages.listing import changed
from tokenledger_exporter.web.pages.page import Page
from tokenledger_exporter.web.pages.template import html
from tokenledger_exporter.web.pages.timeline import stacked, unit_of
from tokenledger_exporter.web.pages.view import DEFAULT_SINCE, View
from tokenledger_exporter.web.parameters import Parameter
from tokenledger_exporter.web.request_values import build_measured, build_report, dimensions_of

if TYPE_CHECKING:
    from tokenledger_exporter.web.pages.page import Connection
    from tokenledger_exporter.web.pages.timeline import Timeline

_PATH: Final = "/explore"
_COST: Final = "cost"
_BY: Final = "by"
_DEFAULT_BY: Final = ["model"]
_ROWS: Final = 100
_REPORT: Final = {each.name: each for each in report_parameters(DEFAULT_SINCE, _ROWS)}
_PARAMETERS: Final = (
    Parameter("measure", "What to show.", default=_COST, choices=(_COST, *MEASURES)),
    Parameter(_BY, "Dimension; repeatable, and commas separate several.", "array"),
    *(parameter for name, parameter in _REPORT.items() if name != _BY),
)
# The parameters, in addition to period and filters, that the files of a measure take.
_FILE_PARAMETERS: Final = {
    is_cost: tuple(each for each in _PARAMETERS if each.name in names)
    for is_cost, names in ((True, {"sort", "compare"}), (False, {"measure"}))
}
_UNITS: Final = frozenset(BUCKETS)


def _explore(connection: Connection, values: dict[str, Any]) -> str:
    by = _dimensions(values)
    view = View.of(_PATH, {**values, _BY: by})
    is_cost = values["measure"] == _COST
    shared: dict[str, Any] = {
        "by": by,
        "dimensions": dimension_names()[:-1],
        "measures": (_COST, *MEASURES),
        "values": values,
        "own": {
            **changed(values, _FILE_PARAMETERS[is_cost]),
            _BY: ",".join(by),
            "limit": MAX_GROUPS,
        },
        "max_groups": MAX_GROUPS,
        "units": _UNITS,
    }
    if not is_cost:
        with collect_sql() as statements:
            measured = build_measured(connection, {**values, _BY: ",".join(by)})
        return html("measures", "explore", view, **shared, result=measured, statements=statements)
    with collect_sql() as statements:
        report = build_report(connection, {**values, _BY: ",".join(by)})
    highest = max((row.cost_usd for row in report.rows), default=Decimal(0))
    timeline = _timeline(connection, view, by)
    return html(
        "explore",
        "explore",
        view,
        **shared,
        report=report,
        statements=statements,
        highest=highest,
        timeline=timeline,
    )


def _dimensions(values: dict[str, Any]) -> list[str]:
    """What to group by, from `by=a&by=b` and `by=a,b`; the model if the address names nothing."""
    return list(dict.fromkeys(dimensions_of(",".join(values[_BY] or _DEFAULT_BY))))


def _timeline(connection: Connection, view: View, by: list[str]) -> Timeline | None:
    """Costs over time by the one dimension of the report; `None` if that is slow or too long."""
    units = [name for name in by if name in _UNITS]
    others = [name for name in by if name not in _UNITS]
    if len(units) > 1 or len(others) > 1:
        return None
    unit, dimension = (units or [unit_of(view)])[0], (others or _DEFAULT_BY)[0]
    if not reads_rollups(view.report(unit, dimension)) and not (units and others):
        return None
    return stacked(connection, view, dimension, unit)


def _csv(connection: Connection, values: dict[str, Any]) -> str:
    values = {**values, _BY: ",".join(_dimensions(values))}
    if values["measure"] != _COST:
        return as_csv(build_measured(connection, values))
    return render_report(build_report(connection, values), "csv")


EXPLORE: Final = (
    Page(_PATH, _PARAMETERS, _explore),
    Page("/explore.csv", _PARAMETERS, _csv, "text/csv; charset=utf-8"),
)
"""The page, and the same report as CSV."""
