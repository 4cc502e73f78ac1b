"""Tools about single calls: find them, and explain the cost of one."""

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
from tokenledger_exporter.render.documents import record

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


def _explain_call(connection: Connection, values: Mapping[str, Any]) -> Answer:
    try:
        explanation = explain_event(connection, event_id_of(connection, values["event_id"]))
    except InvalidRequestError as error:
        raise ArgumentError("event_id", f"{error}; 'find_calls' lists ids") from None
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
"""Tools about single calls."""
