"""The list of calls that a page and an endpoint share: its parameters, and its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries.lists.call_order import CALL_ORDERS
from tokenledger_exporter.queries.lists.calls import CallSearch, call_page_steps
from tokenledger_exporter.web.ledger_parameters import limit_parameter
from tokenledger_exporter.web.parameters import Parameter, ParameterError
from tokenledger_exporter.web.request_values import conditions

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

    from tokenledger_exporter.queries.lists.calls import CallPage

_MAX_CALLS: Final = 1_000

ANY: Final = "any"
"""No choice."""

COST_STATUSES: Final = ("priced", "reported", "partial", "estimated", "unpriced", "unmeasured")
"""Statuses of a cost."""

CALL_PARAMETERS: Final = (
    Parameter(
        "status", "Only calls that ended so.", default=ANY, choices=(ANY, "success", "error")
    ),
    Parameter(
        "cost_status",
        "Only calls whose cost has this status.",
        default=ANY,
        choices=(ANY, *COST_STATUSES),
    ),
    Parameter(
        "sort",
        "Newest, highest cost or longest duration first; unknown values come last.",
        default="time",
        choices=tuple(CALL_ORDERS),
    ),
    limit_parameter(100, _MAX_CALLS),
    Parameter("older", "Cursor: the page after a page, by time its older calls."),
    Parameter("newer", "Cursor: the page before a page, by time its newer calls."),
)
"""The parameters of a list of calls, in addition to period and filters."""


def read_calls(
    connection: psycopg.Connection[Any],
    values: dict[str, Any],
    since: datetime,
    until: datetime,
) -> CallPage:
    """The calls that the parameters name.

    Raises:
        ParameterError: a cursor or a filter is invalid.
    """
    chosen = {name: values[name] for name in ("status", "cost_status") if values[name] != ANY}
    where = conditions(values["where"])
    search = CallSearch(since, until, where, **chosen, order=values["sort"])
    older, newer = values["older"] or "", values["newer"] or ""
    try:
        steps = call_page_steps(search, values["limit"], older=older, newer=newer)
        return run_steps(connection, steps)
    except InvalidRequestError as error:
        if "cursor" in str(error):
            raise ParameterError("newer" if newer else "older", str(error)) from None
        raise
