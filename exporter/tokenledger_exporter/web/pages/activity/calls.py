"""Single calls, newest, costliest or slowest first, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.queries.lists.calls import LISTED_COLUMNS
from tokenledger_exporter.web.lists.calls import CALL_PARAMETERS, COST_STATUSES, read_calls
from tokenledger_exporter.web.pages.listing import CSV, changed, csv_of, view_of
from tokenledger_exporter.web.pages.page import Page
from tokenledger_exporter.web.pages.template import html
from tokenledger_exporter.web.pages.view import VIEW_PARAMETERS

if TYPE_CHECKING:
    from tokenledger_exporter.web.pages.page import Connection

_PATH: Final = "/calls"
_PARAMETERS: Final = (*VIEW_PARAMETERS, *CALL_PARAMETERS)


def _calls(connection: Connection, values: dict[str, Any]) -> str:
    view = view_of(_PATH, values, CALL_PARAMETERS)
    with collect_sql() as statements:
        page = read_calls(connection, values, view.since, view.until)
    all_of_page = changed(values, CALL_PARAMETERS)
    return html(
        "calls",
        "calls",
        view,
        values=values,
        page=page,
        is_first=not (values["older"] or values["newer"]),
        statuses=COST_STATUSES,
        statements=statements,
        files=(
            view.link("/calls.csv", **all_of_page),
            view.link("/api/v1/calls", **{"since": values["since"], **all_of_page}),
        ),
    )


def _csv(connection: Connection, values: dict[str, Any]) -> str:
    view = view_of(_PATH, values)
    return csv_of(LISTED_COLUMNS, read_calls(connection, values, view.since, view.until).calls)


CALLS: Final = (
    Page(_PATH, _PARAMETERS, _calls),
    Page("/calls.csv", _PARAMETERS, _csv, CSV),
)
"""The list, and the same page of it as CSV."""
