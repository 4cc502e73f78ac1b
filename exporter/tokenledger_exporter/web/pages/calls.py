"""Single calls, and the arithmetic of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.dimensions import zone_of
from tokenledger_exporter.queries import explain
from tokenledger_exporter.queries.calls import newest_calls
from tokenledger_exporter.web.ledger_parameters import limit_parameter
from tokenledger_exporter.web.pages.page import Page
from tokenledger_exporter.web.pages.template import html
from tokenledger_exporter.web.pages.view import VIEW_PARAMETERS, View
from tokenledger_exporter.web.request_values import find_call

if TYPE_CHECKING:
    from tokenledger_exporter.web.pages.page import Connection

_PATH: Final = "/calls"
_MAX_CALLS: Final = 500


def _calls(connection: Connection, values: dict[str, Any]) -> str:
    view = View.of(_PATH, values)
    calls = newest_calls(connection, view.since, view.until, dict(view.where), values["limit"])
    zone = zone_of(view.zone)
    for call in calls:
        call["time"] = call["timestamp"].astimezone(zone)
    return html("calls", "calls", view, calls=calls, limit=values["limit"])


def _call(connection: Connection, values: dict[str, Any]) -> str:
    explanation = find_call(connection, values["event_id"])
    document = explain.as_document(explanation)
    return html("call", "calls", explanation=explanation, document=document)


CALLS: Final = (
    Page(_PATH, (*VIEW_PARAMETERS, limit_parameter(100, _MAX_CALLS)), _calls),
    Page("/calls/{event_id}", (), _call),
)
"""The list, and one call."""
