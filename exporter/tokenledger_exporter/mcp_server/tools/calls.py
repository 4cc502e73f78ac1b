"""Tools about single calls and runs: find them, and explain the cost of a call."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.domain.coverage import Coverage
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.mcp_server.answer import Answer
from tokenledger_exporter.mcp_server.arguments import (
    SINCE,
    UNTIL,
    WHERE,
    Argument,
    ArgumentError,
    limit_argument,
    period_of,
    where_of,
)
from tokenledger_exporter.mcp_server.tools.tool import LedgerTool
from tokenledger_exporter.queries.calls import FOLLOWED_COLUMNS, event_id_of
from tokenledger_exporter.queries.explain import as_document, explain_event
from tokenledger_exporter.queries.lists.call_order import CALL_ORDERS
from tokenledger_exporter.queries.lists.calls import CallSearch, call_page_steps
from tokenledger_exporter.queries.lists.runs import COLUMNS, RUN_ORDERS, run_page_steps
from tokenledger_exporter.render.documents import record
from tokenledger_exporter.render.run_list import run_list_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.mcp_server.tools.tool import Connection


_OLDER: Final = (
    "for older calls set 'until' just after the timestamp of the last call, which comes again, or "
    "raise 'limit' or add a filter"
)


def _find_calls(connection: Connection, values: Mapping[str, Any]) -> Answer:
    since, until = period_of(values)
    where, sort = where_of(values), values["sort"]
    search = CallSearch(since, until, where, order=sort)
    steps = call_page_steps(search, values["limit"], columns=FOLLOWED_COLUMNS)
    page = run_steps(connection, steps)
    shown = page.calls
    not_settled = sum(not call["settled"] for call in shown)
    coverage = Coverage(**Counter(call["cost_status"] for call in shown), not_settled=not_settled)
    return Answer(
        data={"calls": [record(call) for call in shown]},
        coverage=coverage.sentence,
        entries="calls",
        since=since,
        until=until,
        where=where,
        is_cut=page.older is not None,
        notes=("the coverage is that of the calls in this answer",),
        narrow=_OLDER if sort == "time" else "raise 'limit' or add a filter",
    )


def _find_runs(connection: Connection, values: Mapping[str, Any]) -> Answer:
    since, until = period_of(values)
    where, limit = where_of(values), values["limit"]
    steps = run_page_steps(values["kind"], since, until, where, order=values["sort"], limit=limit)
    page = run_steps(connection, steps)
    document = run_list_document(page)
    return Answer(
        data={name: document[name] for name in ("kind", "count", "runs", "total")},
        coverage=page.coverage.sentence,
        entries="runs",
        since=page.since,
        until=until,
        where=where,
        is_cut=page.count > len(page.runs),
        notes=page.notes,
        narrow="raise 'limit', use a shorter period or a filter in 'where'",
    )


def _explain_call(connection: Connection, values: Mapping[str, Any]) -> Answer:
    try:
        event_id = event_id_of(connection, values["event_id"], listed_by="'find_calls'")
        explanation = explain_event(connection, event_id)
    except InvalidRequestError as error:
        raise ArgumentError("event_id", str(error)) from None
    timestamp = explanation.call.timestamp
    return Answer(
        data=as_document(explanation),
        coverage=Coverage(**{explanation.call.cost_status: 1}).sentence,
        since=timestamp,
        until=timestamp,
        where={"event_id": str(explanation.call.event_id)},
    )


CALL_TOOLS: Final = (
    LedgerTool(
        "find_calls",
        "Find calls",
        "Single LLM calls of a period, newest, costliest or slowest first: time, model, user, "
        "feature, tokens, cost and its status, duration in milliseconds, with the id that "
        "explain_call takes. No prompts or answers are stored.",
        (
            SINCE,
            UNTIL,
            WHERE,
            Argument(
                "sort",
                "What comes first: the newest (time), the highest cost or the longest duration; "
                "calls whose value is unknown come last.",
                default="time",
                choices=tuple(CALL_ORDERS),
            ),
            limit_argument(20, 200, "calls"),
        ),
        _find_calls,
    ),
    LedgerTool(
        "find_runs",
        "Find agent runs",
        "Traces (agent runs) or sessions of a period with their cost, steps, calls, errors, "
        "duration and user, highest cost first. Use it to find the one run or session behind a "
        "rise; find_calls with where={'session': ID} lists the calls of a session.",
        (
            Argument(
                "kind", "trace (an agent run) or session.", default="trace", choices=tuple(COLUMNS)
            ),
            SINCE,
            UNTIL,
            WHERE,
            Argument(
                "sort",
                "What comes first: the highest cost, the latest start (time) or the most calls.",
                default="cost",
                choices=tuple(RUN_ORDERS),
            ),
            limit_argument(20, 200, "runs"),
        ),
        _find_runs,
    ),
    LedgerTool(
        "explain_call",
        "Explain a call's cost",
        "How the cost of one call was calculated: units times price of each kind of usage, the "
        "price sheet with its source, repricings, and whether the sum equals the stored cost.",
        (
            Argument(
                "event_id",
                "Id of the call, or its first eight or more digits.",
                is_required=True,
            ),
        ),
        _explain_call,
    ),
)
"""Tools about single calls and runs."""
