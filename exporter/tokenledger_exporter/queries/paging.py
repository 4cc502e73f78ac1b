"""The ledger's rows, page by page, and aggregates over them.

A cursor is a position in the order of (timestamp, event_id), not a row count. So rows that are
written or deleted meanwhile neither repeat nor hide a row that was there all along.
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
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from uuid import UUID

from psycopg import sql

from tokenledger_exporter.db.dimensions import group, label_columns, narrowed, narrowing_values
from tokenledger_exporter.db.steps import Statement
from tokenledger_exporter.domain.coverage import Coverage, coverage_of
from tokenledger_exporter.domain.time_range import BEGINNING, END, with_zone
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries.arguments import (
    check_count,
    check_text,
    check_texts,
    check_time,
    check_where,
)
from tokenledger_exporter.queries.notebook import NotebookResult
from tokenledger_exporter.queries.results import Aggregate
from tokenledger_exporter.rollups.source import source_of
from tokenledger_exporter.sql import fragment, statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tokenledger_exporter.db.dimensions import Where
    from tokenledger_exporter.db.steps import Steps
    from tokenledger_exporter.queries.notebook import Record

_SQL: Final = statements("queries")

MAX_ROWS: Final = 10_000
"""Maximum rows of a page."""


class UsageEvent(NamedTuple):
    """One call as stored; the columns are documented in the database."""

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
        """The project, by its name in Token Usage Metrics."""
        return self.project

    @property
    def request_type(self) -> str:
        """The operation, by its name in Token Usage Metrics."""
        return self.operation


# Like `_make`, without a Python call per row.
_make_event: Final[Callable[[Sequence[Any]], UsageEvent]] = partial(
    tuple.__new__,  # pyright: ignore[reportUnknownMemberType] - typeshed has no narrower type
    UsageEvent,
)


def _event_factory(_cursor: object) -> Callable[[Sequence[Any]], UsageEvent]:
    """Makes events directly from rows; the query selects columns in the order of the fields."""
    return _make_event


_COST_STATUS: Final = attrgetter("cost_status")
_SETTLED: Final = attrgetter("settled")
_COLUMN_LIST: Final = sql.SQL(", ").join(map(sql.Identifier, UsageEvent._fields))


@dataclass(frozen=True, slots=True)
class RawPage(NotebookResult):
    """Some calls, oldest first.

    Args:
        events: the calls.
        next_cursor: cursor of the next page; `None` after the last.
        coverage: coverage of this page's calls; lost records are in no row, and costs that differ
            from the reported one are not counted.
    """

    events: tuple[UsageEvent, ...]
    next_cursor: str | None
    coverage: Coverage

    def __iter__(self) -> Iterator[Any]:
        """The calls and the cursor, for `events, cursor = queries.fetch_raw()`."""
        return iter((self.events, self.next_cursor))

    def to_records(self) -> list[Record]:
        """One flat dict for each call."""
        return [event._asdict() for event in self.events]


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Selects the calls of a page or an aggregate; `None` means no bound.

    Args:
        time_from: start, included; UTC if it has no zone.
        time_to: end, excluded.
        where: conditions on dimensions.
    """

    time_from: datetime | None = None
    time_to: datetime | None = None
    where: Where | None = None

    def check(self) -> None:
        """Refuse arguments of another type.

        Raises:
            InvalidRequestError: the message names the argument.
        """
        check_time("time_from", self.time_from)
        check_time("time_to", self.time_to)
        check_where(self.where)

    @property
    def since(self) -> datetime:
        """The start."""
        return with_zone(self.time_from or BEGINNING)

    @property
    def until(self) -> datetime:
        """The end."""
        return with_zone(self.time_to or END)


def page_steps(calls: CallFilter, limit: int, cursor: str | None) -> Steps[RawPage]:
    """The calls after a cursor.

    Raises:
        InvalidRequestError: the limit or the cursor is invalid.
    """
    calls.check()
    check_count("limit", limit, minimum=1, maximum=MAX_ROWS)
    values = narrowing_values(calls.where)
    bounds: list[str] = []
    if calls.time_from is not None or cursor is not None:
        bounds.append("page_since")
        values["since"] = calls.since
    if calls.time_to is not None:
        bounds.append("page_until")
        values["until"] = calls.until
    # A generic plan for two bounds expects few rows between them, so it reads and sorts them all.
    caches_plan = len(bounds) <= 1
    if cursor is not None:
        timestamp, event_id = place_of(cursor)
        values |= {"after_timestamp": timestamp, "after_event_id": event_id}
        values["since"] = max(calls.since, timestamp)
        bounds.append("page_after")
    query = _page_statement(tuple(calls.where or ()), limit, tuple(bounds))
    rows: list[UsageEvent] = yield Statement(query, values, _event_factory, caches_plan=caches_plan)
    events = tuple(rows[:limit])
    states = Counter(map(_COST_STATUS, events))
    not_settled = len(events) - sum(map(_SETTLED, events))
    has_more = len(rows) > limit
    return RawPage(
        events=events,
        next_cursor=cursor_of(events[-1].timestamp, events[-1].event_id) if has_more else None,
        coverage=Coverage(**states, not_settled=not_settled),
    )


@lru_cache(maxsize=64)
def _page_statement(names: tuple[str, ...], limit: int, bounds: tuple[str, ...]) -> bytes:
    """The statement of a page; it is cached because composing it takes longer than a small page.

    The limit is in the text and not a parameter: a generic plan for any limit expects many rows, so
    Postgres would plan every page again.
    """
    where, _ = narrowed(dict.fromkeys(names, ""))
    query = sql.SQL(_SQL["page"]).format(
        columns=_COLUMN_LIST,
        where=where,
        bounds=sql.SQL(" ").join(sql.SQL(fragment(_SQL[name])) for name in bounds),
        # One more row shows whether there is a next page.
        limit=sql.Literal(limit + 1),
    )
    return query.as_bytes(None)


def cursor_of(timestamp: datetime, event_id: UUID) -> str:
    """The position of a call as text."""
    # JSON written manually: nothing in it needs escaping, and every page needs one.
    moment = timestamp.astimezone(timezone.utc).isoformat()
    place = f'["{moment}", "{event_id.hex}"]'
    return base64.urlsafe_b64encode(place.encode()).decode()


def place_of(cursor: str) -> tuple[datetime, UUID]:
    """The position that a cursor names: when a call began, and its id.

    Raises:
        InvalidRequestError: it is not a cursor.
    """
    return place_in(cursor_parts(cursor))


def cursor_parts(cursor: str) -> list[object]:
    """What a cursor consists of.

    Raises:
        InvalidRequestError: it is not a cursor.
    """
    check_text("cursor", cursor)
    try:
        parts: object = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
    except (ValueError, RecursionError, binascii.Error):
        raise invalid_cursor() from None
    if not isinstance(parts, list):
        raise invalid_cursor()
    return cast("list[object]", parts)


def place_in(parts: Sequence[object]) -> tuple[datetime, UUID]:
    """The position that two parts of a cursor name.

    Raises:
        InvalidRequestError: they are not such parts.
    """
    try:
        timestamp, event_id = map(str, parts)
        place = datetime.fromisoformat(timestamp), UUID(hex=event_id)
    except ValueError:
        raise invalid_cursor() from None
    if place[0].tzinfo is None:
        raise invalid_cursor()
    return place


def invalid_cursor() -> InvalidRequestError:
    """The error for a text that is not a cursor."""
    return InvalidRequestError("invalid cursor; omit it to start from the first page")


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
"""The metrics of an aggregate: tokens, US dollars and calls."""


def aggregate_steps(
    calls: CallFilter, group_by: str | Sequence[str], metrics: Sequence[str], zone: str
) -> Steps[list[Aggregate]]:
    """Metrics by group, in the order of the groups.

    Raises:
        InvalidRequestError: a dimension or metric is unknown; the message lists the valid ones.
    """
    calls.check()
    check_text("timezone", zone)
    check_texts("group_by", group_by)
    check_texts("metrics", metrics)
    metrics = [metrics] if isinstance(metrics, str) else metrics
    if unknown := [metric for metric in metrics if metric not in METRICS]:
        raise InvalidRequestError(f"unknown metric {unknown[0]!r}; use {', '.join(METRICS)}")
    group_names = [group_by] if isinstance(group_by, str) else list(group_by)
    names = tuple(dict.fromkeys(name for key in group_names for name in _GROUPS.get(key, (key,))))
    groups = [group(name, zone) for name in names]
    where, values = narrowed(calls.where)
    source = source_of({*names, *(calls.where or ())}, calls.since, calls.until, zone)
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
    bounds = {"since": calls.since, "until": calls.until}
    rows = yield Statement(query, {**bounds, **values}, caches_plan=source.is_rolled_up)
    return [
        Aggregate(
            groups={name: row[f"label_{number}"] for number, name in enumerate(names)},
            metrics={metric: _metric(row, metric, coverage) for metric in metrics},
            coverage=coverage,
        )
        for row, coverage in ((row, coverage_of(row)) for row in rows)
    ]


def _metric(row: Mapping[str, Any], metric: str, coverage: Coverage) -> Decimal | int:
    if metric in row:
        figure: Decimal | int = row[metric]
        return figure
    if metric == "avg_cost_per_request":
        whole, requests = row["sum_cost"], coverage.with_cost
    else:
        whole, requests = row["sum_total"], row["count_requests"]
    return Decimal(whole) / requests if requests else Decimal(0)
