"""The list of runs, and one run, that pages and endpoints share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.dimensions import zone_of
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.domain.time_expressions import parse_moment
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries.lists.runs import COLUMNS, RUN_ORDERS, run_page_steps
from tokenledger_exporter.queries.live.runs import UnknownRunError, find_run
from tokenledger_exporter.web.ledger_parameters import PAGE, limit_parameter
from tokenledger_exporter.web.parameters import NotFoundError, Parameter, ParameterError
from tokenledger_exporter.web.request_values import checked, conditions, period

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

    from tokenledger_exporter.queries.lists.runs import RunPage
    from tokenledger_exporter.queries.live.runs import Run

_MAX_RUNS: Final = 1_000

_REMEDIES: Final = {
    kind: f"an earlier 'since' looks further back, and the list of runs (kind={kind}) has the ids"
    for kind in COLUMNS
}

KIND: Final = Parameter(
    "kind",
    "What is a run: a trace (one agent run) or a session.",
    default="trace",
    choices=tuple(COLUMNS),
)
"""The parameter that chooses traces or sessions."""

RUN_LIST_PARAMETERS: Final = (
    KIND,
    Parameter("sort", "Highest or latest first.", default="cost", choices=tuple(RUN_ORDERS)),
    limit_parameter(50, _MAX_RUNS),
    PAGE,
)
"""The parameters of a list of runs, in addition to period and filters."""

RUN_PARAMETERS: Final = (
    KIND,
    Parameter("after", "Look for calls of the run from this time on, not from `since`."),
    Parameter("before", "Look for calls of the run before this time, not before `until`."),
)
"""The parameters of one run, in addition to the period."""


def read_runs(connection: psycopg.Connection[Any], values: Mapping[str, Any]) -> RunPage:
    """The runs that the parameters name.

    Raises:
        ParameterError: a time or a filter is invalid.
    """
    since, until = period(dict(values))
    steps = run_page_steps(
        values["kind"],
        since,
        until,
        conditions(values["where"]),
        order=values["sort"],
        limit=values["limit"],
        skipped=values["limit"] * (values["page"] - 1),
    )
    return run_steps(connection, steps)


def read_run(connection: psycopg.Connection[Any], values: Mapping[str, Any]) -> Run:
    """The run that a path names by its id or the start of it.

    Raises:
        ParameterError: a time is invalid; `NotFoundError`: no run, or several runs, have the id.
    """
    since, until = period(dict(values))
    zone = zone_of(values["timezone"])
    bounds = {"after": since, "before": until}
    for name in bounds:
        if values[name]:
            bounds[name] = checked(name, lambda text: parse_moment(text, zone=zone), values[name])
    if bounds["after"] >= bounds["before"]:
        raise ParameterError("after", "the start must be before the end")
    run_id, kind = str(values["run_id"]), str(values["kind"])
    try:
        return find_run(connection, kind, run_id, *bounds.values(), remedy=_REMEDIES[kind])
    except UnknownRunError as error:
        raise NotFoundError("run_id", str(error)) from None
    except InvalidRequestError as error:
        raise ParameterError("run_id", str(error)) from None
