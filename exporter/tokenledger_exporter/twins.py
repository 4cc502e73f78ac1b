"""Finds the rows that may tell of the same call: in the ledger, and among those set aside.

Writer and keeper ask the same question. Whoever looks does so under one lock and commits under it:
then of two rows of a call, the one that is looked for later sees the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.rows import dict_row

from tokenledger_exporter.settlement import START_TOLERANCE, Telling
from tokenledger_exporter.sql import statements
from tokenledger_semconv.dimensions import DIMENSIONS
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    import psycopg
    from typing_extensions import LiteralString

_SQL: Final = statements("keep")

COUNTS: Final = TokenVector._fields
"""The columns that must agree."""

ATTRIBUTION: Final = tuple(dimension.column for dimension in DIMENSIONS if dimension.attribute)
"""The columns a row may take from another telling of its call."""

_COLUMNS: Final = (
    *("event_id", "timestamp", "ended_at", "scope", "response_id", "model", "request_model"),
    *("ancestors", *COUNTS, *ATTRIBUTION, "metadata", "settled"),
)
_COLUMN_LIST: Final = sql.SQL(", ").join(sql.Identifier(column) for column in _COLUMNS)
_EVENTS_COLUMN_LIST: Final = sql.SQL(", ").join(
    sql.Identifier("events", column) for column in _COLUMNS
)


@dataclass(frozen=True, slots=True)
class Trace:
    """What the other tellings of a row's call are found by."""

    event_id: UUID
    started_at: datetime
    ended_at: datetime
    response_id: str
    ancestors: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class KnownRow:
    """A row of the ledger, or one set aside, as far as settling reads and changes it.

    Args:
        told: what decides which call it is.
        attribution: column -> value.
        metadata: further attribution.
        is_settled: whether somebody has looked at it.
        winner_event_id: the row it was set aside for; `None` if it is in the ledger.
        given: what that row took from it.
    """

    told: Telling
    attribution: Mapping[str, str]
    metadata: Mapping[str, Any]
    is_settled: bool
    winner_event_id: UUID | None
    given: Sequence[str]

    @property
    def event_id(self) -> UUID:
        """Its identity."""
        return self.told.event_id

    @property
    def trace(self) -> Trace:
        """What its other tellings are found by."""
        told = self.told
        return Trace(
            told.event_id, told.started_at, told.ended_at, told.response_id, told.ancestors
        )


def try_lock(connection: psycopg.Connection[Any]) -> bool:
    """Take the lock for the rest of the transaction; False if somebody else holds it."""
    found = connection.execute(_SQL["try_lock"]).fetchone()
    return bool(found and found[0])


def lock(connection: psycopg.Connection[Any]) -> None:
    """Wait for the lock, five seconds at most, and hold it for the rest of the transaction."""
    connection.execute(_SQL["bound_waiting"])
    connection.execute(_SQL["lock"])


def related_rows(
    connection: psycopg.Connection[Any], traces: Iterable[Trace]
) -> Iterator[KnownRow]:
    """Rows with a response id of these, above or below them, or set aside for them."""
    asked = list(traces)
    starts = [trace.started_at for trace in asked]
    values = {
        "event_ids": [trace.event_id for trace in asked],
        "starts": starts,
        "ends": [trace.ended_at for trace in asked],
        "response_ids": [trace.response_id for trace in asked],
        "ancestors": [event_id for trace in asked for event_id in trace.ancestors],
        "since": min(starts) - START_TOLERANCE,
        "until": max(starts) + START_TOLERANCE,
        "tolerance": START_TOLERANCE,
    }
    return _select(connection, _SQL["related"], values)


def winners_of(
    connection: psycopg.Connection[Any], event_ids: Iterable[UUID]
) -> Iterator[KnownRow]:
    """The rows with these identities."""
    return _select(connection, _SQL["winners"], {"event_ids": list(event_ids)})


def unsettled_rows(
    connection: psycopg.Connection[Any], minute: datetime, limit: int
) -> list[KnownRow]:
    """The next rows of a minute that nobody has looked at."""
    return list(_select(connection, _SQL["unsettled"], {"minute": minute, "limit": limit}))


def mark(connection: psycopg.Connection[Any], moments: Iterable[datetime]) -> None:
    """Ask a keeper to look at the minutes of these moments once they are committed."""
    minutes = {moment.replace(second=0, microsecond=0) for moment in moments}
    connection.execute(_SQL["mark"], {"minutes": sorted(minutes)})


def with_twins(traces: Sequence[Trace], found: Iterable[KnownRow]) -> set[UUID]:
    """Which of the rows asked about have a relative, among those found or among themselves."""
    relatives = [*traces, *(row.trace for row in found)]
    told: dict[str, set[UUID]] = {}
    above: dict[UUID, set[UUID]] = {}
    for trace in relatives:
        if trace.response_id:
            told.setdefault(trace.response_id, set()).add(trace.event_id)
        for event_id in trace.ancestors:
            above.setdefault(event_id, set()).add(trace.event_id)
    known = {trace.event_id for trace in relatives}
    again = {row.event_id for row in found_aside(found)}
    return {
        trace.event_id
        for trace in traces
        if len(told.get(trace.response_id, ())) > 1
        or trace.event_id in above
        or trace.event_id in again
        or not known.isdisjoint(trace.ancestors)
    }


def found_aside(found: Iterable[KnownRow]) -> Iterator[KnownRow]:
    """Those of the rows that were set aside."""
    return (row for row in found if row.winner_event_id is not None)


def _select(
    connection: psycopg.Connection[Any], statement: LiteralString, values: dict[str, Any]
) -> Iterator[KnownRow]:
    query = sql.SQL(statement).format(columns=_COLUMN_LIST, events_columns=_EVENTS_COLUMN_LIST)
    cursor = connection.cursor(row_factory=dict_row)
    return map(_known, cursor.execute(query, values))


def _known(row: dict[str, Any]) -> KnownRow:
    return KnownRow(
        told=Telling(
            event_id=row["event_id"],
            started_at=row["timestamp"],
            ended_at=row["ended_at"] or row["timestamp"],
            scope=row["scope"],
            response_id=row["response_id"],
            models=frozenset(filter(None, (row["model"], row["request_model"]))),
            ancestors=tuple(row["ancestors"]),
            counts={name: row[name] for name in COUNTS if row[name] is not None},
        ),
        attribution={name: row[name] for name in ATTRIBUTION},
        metadata=row["metadata"],
        is_settled=row["settled"],
        winner_event_id=row["winner_event_id"],
        given=row["given"] or (),
    )
