"""Explore: cost or another measure by any dimensions, over time, with its SQL, as CSV and JSON."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.dimensions import BUCKETS, dimension_names, group
from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.queries.measures.measure import MEASURES, measure_steps
from tokenledger_exporter.queries.speed import reads_rollups
from tokenledger_exporter.render.measures import as_csv
from tokenledger_exporter.render.report import render as render_report
from tokenledger_exporter.web.ledger_parameters import report_parameters
from tokenledger_exporter.web.pages.page import Page
from tokenledger_exporter.web.pages.template import html
from tokenledger_exporter.web.pages.timeline import is_drawable, stacked, unit_of
from tokenledger_exporter.web.pages.view import DEFAULT_SINCE, View
from tokenledger_exporter.web.parameters import Parameter
from tokenledger_exporter.web.request_values import build_report, checked

if TYPE_CHECKING:
    from tokenledger_exporter.queries.measures.measure import Measured
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
_UNITS: Final = frozenset(BUCKETS)


def _explore(connection: Connection, values: dict[str, Any]) -> str:
    by = _dimensions(values)
    view = View.of(_PATH, {**values, _BY: by})
    shared: dict[str, Any] = {
        "by": by,
        "dimensions": dimension_names()[:-1],
        "measures": (_COST, *MEASURES),
        "values": values,
        "own": _own(values, by),
        "units": _UNITS,
    }
    if values["measure"] != _COST:
        with collect_sql() as statements:
            measured = _measured(connection, view, values)
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
    names = [name.strip() for text in values[_BY] for name in text.split(",") if name.strip()]
    names = list(dict.fromkeys(names)) or ([] if values[_BY] else _DEFAULT_BY)
    for name in names:
        checked(_BY, group, name)
    return names


def _own(values: dict[str, Any], by: list[str]) -> dict[str, Any]:
    """The parameters of this page that are not their default, for links to its other forms."""
    own = {"measure": values["measure"], "sort": values["sort"], "compare": values["compare"]}
    defaults = {"measure": _COST, "sort": None, "compare": False}
    changed = {name: value for name, value in own.items() if value != defaults[name]}
    return {**changed, _BY: ",".join(by)}


def _timeline(connection: Connection, view: View, by: list[str]) -> Timeline | None:
    """Costs over time by the one dimension of the report; `None` if that is slow or too long."""
    units = [name for name in by if name in _UNITS]
    others = [name for name in by if name not in _UNITS]
    if len(units) > 1 or len(others) > 1:
        return None
    unit, dimension = (units or [unit_of(view)])[0], (others or _DEFAULT_BY)[0]
    if not is_drawable(view, unit):
        return None
    if not reads_rollups(view.report(unit, dimension)) and not (units and others):
        return None
    return stacked(connection, view, dimension, unit)


def _measured(connection: Connection, view: View, values: dict[str, Any]) -> Measured:
    request = view.report(*view.values[_BY], limit=values["limit"])
    return run_steps(connection, measure_steps(request, values["measure"]))


def _csv(connection: Connection, values: dict[str, Any]) -> str:
    by = _dimensions(values)
    if values["measure"] != _COST:
        return as_csv(_measured(connection, View.of(_PATH, {**values, _BY: by}), values))
    return render_report(build_report(connection, {**values, _BY: ",".join(by)}), "csv")


EXPLORE: Final = (
    Page(_PATH, _PARAMETERS, _explore),
    Page("/explore.csv", _PARAMETERS, _csv, "text/csv; charset=utf-8"),
)
"""The page, and the same report as CSV."""
