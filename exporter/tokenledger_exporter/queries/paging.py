"""The ledger's rows themselves, page by page, and aggregates over them.

A page ends at a place in the order of (timestamp, event_id), not at a count of rows: what is
written or deleted meanwhile neither repeats nor hides a row that was there all along.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from functools import lru_cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from psycopg import sql

from tokenledger_exporter.db.dimensions import group, label_columns, narrowed, narrowing_values
from tokenledger_exporter.db.steps import Question
from tokenledger_exporter.domain.coverage import Coverage, coverage_of
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries.results import Aggregate
from tokenledger_exporter.rollups.source import source_of
from tokenledger_exporter.sql import fragment, statements

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.db.steps import Plan

_SQL: Final = statements("queries")

MAX_ROWS: Final = 10_000
"""The largest page."""

_BEGINNING: Final = datetime.min.replace(tzinfo=timezone.utc)
_END: Final = datetime.max.replace(tzinfo=timezone.utc)


class UsageEvent(NamedTuple):
    """One call as the ledger has it; docs of the columns stand in the database."""

    event_id: UUID
    timestamp: datetime
    ended_at: datetime | None
    provider: str
    model: str
    request_model: str
    operation: str
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: Decimal | None
    cost_status: str
    cost_note: str
    price_id: str
    user_id: str
    session_id: str
    organization_id: str
    project: str
    feature: str
    team: str
    cost_center: str
    agent_id: str
    endpoint: str
    app_name: str
    release: str
    environment: str
    status: str
    error_type: str
    duration_ms: float | None
    time_to_first_token_ms: float | None
    trace_id: str
    span_id: str
    response_id: str
    settled: bool
    metadata: Mapping[str, object]

    @property
    def project_name(self) -> str:
        """The project, by the name users of Token Usage Metrics know."""
        return self.project

    @property
    def request_type(self) -> str:
        """The operation, by the name users of Token Usage Metrics know."""
        return self.operation


# What `_make` does, without a call of Python for every row.
_make_event: Final[Callable[[Sequence[Any]], UsageEvent]] = partial(
    tuple.__new__,  # pyright: ignore[reportUnknownMemberType] - typeshed says no more of it
    UsageEvent,
)


def _event_factory(_cursor: object) -> Callable[[Sequence[Any]], UsageEvent]:
    """Rows as events at once; their columns are asked for in the order of the fields."""
    return _make_event


_COST_STATUS: Final = attrgetter("cost_status")
_SETTLED: Final = attrgetter("settled")
_COLUMN_LIST: Final = sql.SQL(", ").join(map(sql.Identifier, UsageEvent._fields))


@dataclass(frozen=True, slots=True)
class RawPage:
    """Some calls, oldest first.

    Args:
        events: the calls.
        next_cursor: what to ask the next page with; `None` after the last.
        coverage: of this page's calls alone; what is lost is in no row.
    """

    events: tuple[UsageEvent, ...]
    next_cursor: str | None
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which calls a page or an aggregate is of; `None` is without a bound.

    Args:
        time_from: start, included; without a zone it is UTC.
        time_to: end, not included.
    """

    time_from: datetime | None = None
    time_to: datetime | None = None
    where: Where | None = None

    @property
    def since(self) -> datetime:
        """The start."""
        return _with_zone(self.time_from or _BEGINNING)

    @property
    def until(self) -> datetime:
        """The end."""
        return _with_zone(self.time_to or _END)


def page_plan(stretch: Stretch, limit: int, cursor: str | None) -> Plan[RawPage]:
    """The calls after a cursor.

    Raises:
        UsageError: the limit is no page's, or the cursor none of ours.
    """
    if not 1 <= limit <= MAX_ROWS:
        raise InvalidRequestError(f"{limit} is no page: give a limit of 1 to {MAX_ROWS:,}")
    values = narrowing_values(stretch.where)
    bounds: list[str] = []
    if stretch.time_from is not None or cursor is not None:
        bounds.append("page_since")
        values["since"] = stretch.since
    if stretch.time_to is not None:
        bounds.append("page_until")
        values["until"] = stretch.until
    # A plan for any two bounds takes what lies between for little, reads it all, and sorts it.
    keeps_plan = len(bounds) <= 1
    if cursor is not None:
        timestamp, event_id = _place(cursor)
        values |= {"after_timestamp": timestamp, "after_event_id": event_id}
        values["since"] = max(stretch.since, timestamp)
        bounds.append("page_after")
    query = _page_statement(tuple(stretch.where or ()), limit, tuple(bounds))
    rows: list[UsageEvent] = yield Question(query, values, _event_factory, keeps_plan=keeps_plan)
    events = tuple(rows[:limit])
    states = Counter(map(_COST_STATUS, events))
    not_settled = len(events) - sum(map(_SETTLED, events))
    return RawPage(
        events=events,
        next_cursor=_cursor(events[-1]) if len(rows) > limit else None,
        coverage=Coverage(**states, not_settled=not_settled),
    )


@lru_cache(maxsize=64)
def _page_statement(names: tuple[str, ...], limit: int, bounds: tuple[str, ...]) -> bytes:
    """A page narrowed to values of these dimensions; a small page is quicker than its statement.

    The limit is said in words and not as a parameter: a plan for any limit would be one for many
    rows, and Postgres would rather plan every page anew.
    """
    where, _ = narrowed(dict.fromkeys(names, ""))
    query = sql.SQL(_SQL["page"]).format(
        columns=_COLUMN_LIST,
        where=where,
        bounds=sql.SQL(" ").join(sql.SQL(fragment(_SQL[name])) for name in bounds),
        # One row more tells whether there is a next page.
        limit=sql.Literal(limit + 1),
    )
    return query.as_bytes(None)


def _cursor(event: UsageEvent) -> str:
    # JSON, written by hand: there is nothing in it to escape, and it is made for every page.
    timestamp = event.timestamp.astimezone(timezone.utc).isoformat()
    place = f'["{timestamp}", "{event.event_id.hex}"]'
    return base64.urlsafe_b64encode(place.encode()).decode()


def _place(cursor: str) -> tuple[datetime, UUID]:
    try:
        timestamp, event_id = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
        place = datetime.fromisoformat(timestamp), UUID(hex=event_id)
    except (ValueError, TypeError, AttributeError, binascii.Error):
        raise InvalidRequestError("this cursor is not one a page gave: start without one") from None
    if place[0].tzinfo is None:
        raise InvalidRequestError("this cursor is not one a page gave: start without one")
    return place


_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "none": (),
    "type": ("operation",),
    "request_type": ("operation",),
    "project_name": ("project",),
    "project_and_type": ("project", "operation"),
}

METRICS: Final = (
    *("sum_input", "sum_output", "sum_total", "sum_cost", "count_requests"),
    *("avg_total_per_request", "avg_cost_per_request"),
)
"""What an aggregate can tell of a group: tokens, US dollars and calls."""


def aggregate_plan(
    stretch: Stretch, group_by: str | Sequence[str], metrics: Sequence[str], zone: str
) -> Plan[list[Aggregate]]:
    """Metrics by group, in the order of the groups.

    Raises:
        UsageError: a dimension or metric does not exist; the message lists those that do.
    """
    if unknown := [metric for metric in metrics if metric not in METRICS]:
        raise InvalidRequestError(f"{unknown[0]!r} is no metric: take of {', '.join(METRICS)}")
    asked = [group_by] if isinstance(group_by, str) else list(group_by)
    names = tuple(dict.fromkeys(name for told in asked for name in _GROUPS.get(told, (told,))))
    groups = [group(name, zone) for name in names]
    where, values = narrowed(stretch.where)
    source = source_of({*names, *(stretch.where or ())}, stretch.since, stretch.until, zone)
    grouping: sql.Composable = sql.SQL("")
    if groups:
        grouping = sql.SQL(fragment(_SQL["aggregate_grouping"])).format(
            groups=sql.SQL(", ").join(groups), having=source.having
        )
    braces = {
        **source.braces,
        "metrics": sql.SQL(fragment(_SQL["metrics"])).format(call_count=source.call_count),
    }
    query = sql.SQL(_SQL["aggregate"]).format(
        labels=label_columns(groups), where=where, grouping=grouping, **braces
    )
    asked_of = {"since": stretch.since, "until": stretch.until}
    rows = yield Question(query, {**asked_of, **values}, keeps_plan=source.is_rolled_up)
    return [
        Aggregate(
            groups={name: row[f"label_{number}"] for number, name in enumerate(names)},
            metrics={metric: _metric(row, metric) for metric in metrics},
            coverage=coverage_of(row),
        )
        for row in rows
    ]


def _metric(row: Mapping[str, Decimal | int], metric: str) -> Decimal | int:
    if metric in row:
        return row[metric]
    whole = row["sum_total" if metric == "avg_total_per_request" else "sum_cost"]
    requests = row["count_requests"]
    return Decimal(whole) / requests if requests else Decimal(0)


def _with_zone(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
