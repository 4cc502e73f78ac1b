"""Single calls in an order, page by page in both directions; and all that is known of one call.

A page begins at a call, not at a number of calls, so new calls do not shift it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from tokenledger_exporter.db.dimensions import narrowed
from tokenledger_exporter.db.steps import Statement
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries.lists.call_order import call_order
from tokenledger_exporter.queries.paging import UsageEvent
from tokenledger_exporter.sql import fragment, statements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.db.steps import Steps
    from tokenledger_exporter.queries.lists.call_order import CallOrder

    Row = Mapping[str, Any]

_SQL: Final = statements("lists")

LISTED_COLUMNS: Final = (
    *("event_id", "timestamp", "provider", "model", "operation", "user_id", "session_id"),
    *("organization_id", "feature", "team", "agent_id", "input_tokens", "output_tokens"),
    *("cached_tokens", "total_tokens", "cost_usd", "cost_status", "cost_note", "status"),
    *("error_type", "duration_ms", "trace_id", "settled"),
)
"""What a list says of each call, in order."""

CALL_COLUMNS: Final = (
    *UsageEvent._fields,
    *("recorded_at", "scope", "service_tier", "reported_cost_usd", "cache_write_1h_tokens"),
    *("audio_input_tokens", "audio_output_tokens", "image_input_tokens", "image_output_tokens"),
    *("audio_seconds", "input_characters", "images", "web_search_requests"),
    *("file_search_requests", "code_execution_requests"),
)
"""What the page of one call says of it."""

_AROUND: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class CallSearch:
    """Which calls a list has.

    Args:
        since: start, included.
        until: end, excluded.
        where: conditions on dimensions.
        status: success or error; "" is both.
        cost_status: one status of the cost; "" is all.
        order: a key of `CALL_ORDERS`: time (newest first), cost or duration (highest first).
    """

    since: datetime
    until: datetime
    where: Where
    status: str = ""
    cost_status: str = ""
    order: str = "time"


@dataclass(frozen=True, slots=True)
class CallPage:
    """Some calls, in the order of the search.

    Args:
        calls: rows with the columns that were asked for.
        newer: cursor of the page before, newer calls by time; `None` if there is none.
        older: cursor of the page after, older calls by time; `None` if there is none.
    """

    calls: Sequence[Row]
    newer: str | None
    older: str | None


def call_page_steps(
    search: CallSearch,
    limit: int,
    *,
    older: str = "",
    newer: str = "",
    columns: Sequence[str] = LISTED_COLUMNS,
) -> Steps[CallPage]:
    """The page after the cursor `older`, or before the cursor `newer`; without, the first page.

    The orders of cost and duration have no index: they read all calls of the period.

    Args:
        search: which calls, and in which order.
        limit: maximum number of calls.
        older: a cursor of `CallPage.older`.
        newer: a cursor of `CallPage.newer`.
        columns: what to read of each call; among them its id, its time and what it is sorted by.

    Raises:
        InvalidRequestError: a cursor is invalid, or both are set; the order is unknown.
    """
    order = call_order(search.order)
    if older and newer:
        raise InvalidRequestError("a page cannot be both older and newer; use one cursor")
    condition, values = narrowed(search.where)
    bounds: dict[str, object] = {
        "since": search.since,
        "until": search.until,
        "status": search.status,
        "cost_status": search.cost_status,
        # One more row shows whether there is a further page.
        "limit": limit + 1,
    }
    position: sql.Composable = sql.SQL("")
    if cursor := older or newer:
        bounds |= order.place(cursor)
        position = _position(order, is_newer=bool(newer))
    direction = sql.SQL("ASC" if newer else "DESC")
    query = sql.SQL(_SQL["calls_page"]).format(
        columns=_column_list(columns),
        where=condition,
        position=position,
        ranking=sql.SQL(order.rank + " {},").format(direction) if order.rank else sql.SQL(""),
        direction=direction,
    )
    rows: list[Row] = yield Statement(query, {**bounds, **values})
    has_more = len(rows) > limit
    calls = rows[:limit]
    if newer:
        calls.reverse()
    return CallPage(
        calls,
        newer=order.cursor(calls[0]) if calls and (has_more if newer else bool(older)) else None,
        older=order.cursor(calls[-1]) if calls and (has_more or newer) else None,
    )


def call_steps(event_id: UUID) -> Steps[Row]:
    """All columns of one call.

    Raises:
        InvalidRequestError: the ledger has no such row.
    """
    query = sql.SQL(_SQL["call"]).format(columns=_column_list(CALL_COLUMNS))
    rows: list[Row] = yield Statement(query, {"event_id": event_id})
    if not rows:
        raise InvalidRequestError(f"event {event_id} not found")
    return rows[0]


def neighbors_steps(call: Row, limit: int) -> Steps[list[Row]]:
    """The calls of the same trace within an hour of a call, by time; it is one of them."""
    query = sql.SQL(_SQL["calls_of_trace"]).format(columns=_column_list(LISTED_COLUMNS))
    values = {
        "since": call["timestamp"] - _AROUND,
        "until": call["timestamp"] + _AROUND,
        "trace_id": call["trace_id"],
        "limit": limit,
    }
    rows: list[Row] = yield Statement(query, values)
    return rows


def _column_list(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _position(order: CallOrder, *, is_newer: bool) -> sql.Composed:
    """The condition for the calls before or after a place of the order."""
    if not order.rank:
        return sql.SQL(fragment(_SQL["newer_than" if is_newer else "older_than"])).format()
    ranked = _SQL["ranked_before" if is_newer else "ranked_after"]
    return sql.SQL(fragment(ranked)).format(rank=sql.SQL(order.rank))
