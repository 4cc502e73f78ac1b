"""Finds the rows that may tell of the same call: in the ledger, and among those set aside.

Writer and keeper ask the same question. Whoever looks does so under one lock and commits under it:
then of two rows of a call, the one that is looked for later sees the other.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import errors as pg_errors
from psycopg import sql
from psycopg.rows import dict_row

from tokenledger_exporter.sql import statements
from tokenledger_exporter.store.same_call import (
    MAX_SPAN_REPORTS,
    START_TOLERANCE,
    UNIQUE_ID_LENGTH,
    SpanReport,
)
from tokenledger_semconv.dimensions import DIMENSIONS
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    import psycopg
    from typing_extensions import LiteralString

    from tokenledger_exporter.domain.ledger_row import LedgerRow

_SQL: Final = statements("deduplicate")
_ESTIMATED: Final = "estimated"
_HEX: Final = "%032x"
# Rows read of one response id, or within one span: what has more is no call, whoever reports it.
_MAX_ROWS: Final = 4 * MAX_SPAN_REPORTS
_PLAIN: Final = re.compile(r"[\w.:,-]*", re.ASCII)

COUNTS: Final = TokenVector._fields
"""The columns that must agree."""

ATTRIBUTION: Final = tuple(dimension.column for dimension in DIMENSIONS if dimension.attribute)
"""The columns a row may take from another telling of its call."""

_COLUMNS: Final = (
    *("event_id", "timestamp", "ended_at", "scope", "response_id", "model", "request_model"),
    *("ancestors", "cost_status", *COUNTS, *ATTRIBUTION, "metadata"),
    *("token_organization_id", "operation", "service_tier", "cost_usd"),
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
    sources: Sequence[str]


@dataclass(frozen=True, slots=True)
class KnownRow:
    """A row of the ledger, or one set aside, as far as settling reads and changes it.

    Args:
        told: what decides which call it is.
        attribution: column -> value.
        metadata: further attribution.
        winner_event_id: the row it was set aside for; `None` if it is in the ledger.
        copied_fields: what that row took from it.
    """

    told: SpanReport
    attribution: Mapping[str, str]
    metadata: Mapping[str, Any]
    winner_event_id: UUID | None
    copied_fields: Sequence[str]

    @property
    def event_id(self) -> UUID:
        """Its identity."""
        return self.told.event_id

    @property
    def trace(self) -> Trace:
        """What its other tellings are found by."""
        told = self.told
        # Whose reports can be of its call: the operator's, its own source's, its organization's.
        sources = {"", told.source, self.attribution["organization_id"]}
        return Trace(
            told.event_id,
            told.started_at,
            told.ended_at,
            told.response_id,
            told.ancestors,
            tuple(sorted(sources)),
        )


def try_lock(connection: psycopg.Connection[Any]) -> bool:
    """Take the lock for the rest of the transaction; False if somebody else holds it."""
    found = connection.execute(_SQL["try_lock"]).fetchone()
    return bool(found and found[0])


def wait_for_lock(connection: psycopg.Connection[Any]) -> bool:
    """As `lock`, inside a transaction that goes on without it; False if it was not to be had."""
    try:
        with connection.transaction():
            connection.execute(_SQL["limit_writer_lock_wait"])
            connection.execute(_SQL["lock"])
    except pg_errors.LockNotAvailable:
        return False
    return True


def lock(connection: psycopg.Connection[Any]) -> None:
    """Wait for the lock, five seconds at most, and hold it for the rest of the transaction."""
    connection.execute(_SQL["limit_lock_wait"])
    connection.execute(_SQL["lock"])


def related_rows(
    connection: psycopg.Connection[Any], traces: Iterable[Trace]
) -> Iterator[KnownRow]:
    """Rows with a response id of these, above or below them, or set aside for them."""
    asked = list(traces)
    starts = [trace.started_at for trace in asked]
    values = {
        "event_ids": [trace.event_id for trace in asked],
        "response_ids": [trace.response_id for trace in asked for _ in trace.sources],
        "id_starts": [trace.started_at for trace in asked for _ in trace.sources],
        "id_ends": [trace.ended_at for trace in asked for _ in trace.sources],
        "sources": [source for trace in asked for source in trace.sources],
        "ancestors": [event_id for trace in asked for event_id in trace.ancestors],
        "since": min(starts) - START_TOLERANCE,
        "until": max(starts) + START_TOLERANCE,
        "tolerance": START_TOLERANCE,
        "most_rows": _MAX_ROWS,
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


def note_nestings(connection: psycopg.Connection[Any], rows: Iterable[LedgerRow]) -> None:
    """Keep what is within what, for those who are stored later."""
    pairs = [
        (ancestor, row.event_id) for row in rows if row.ancestors for ancestor in row.ancestors
    ]
    if pairs:
        ancestors, event_ids = zip(*sorted(pairs), strict=True)
        values = {"ancestors": list(ancestors), "event_ids": list(event_ids)}
        connection.execute(_SQL["add_parents"], values)


def have_relatives(connection: psycopg.Connection[Any], rows: Sequence[LedgerRow]) -> set[int]:
    """Which rows, by the number of their identity, may be a second telling or have one.

    Asked before every batch is stored, so it asks for no more than that.

    Args:
        connection: the ledger, under the lock.
        rows: at least one; none of them is stored yet, or all that are stay as they are.
    """
    numbers = [row.event_id.int for row in rows]
    named = [row for row in rows if len(row.response_id) >= UNIQUE_ID_LENGTH]
    response_ids = [row.response_id for row in named]
    ancestors = {event_id.int for row in rows if row.ancestors for event_id in row.ancestors}
    starts = [row.timestamp for row in rows]
    first, last = min(starts) - START_TOLERANCE, max(starts) + START_TOLERANCE
    values = {
        "response_ids": _array(response_ids),
        "event_ids": _array(map(_HEX.__mod__, numbers)),
        "ancestors": _array(map(_HEX.__mod__, ancestors)),
        # Each id in the hours of its own call: one call of last year is no reason to look for all
        # of them in all hours since.
        "starts": "{" + ",".join(f'"{row.timestamp.isoformat()}"' for row in named) + "}",
        "tolerance": START_TOLERANCE,
        "since": first,
        "until": last,
    }
    told, known = _repeated(response_ids), ancestors
    for response_id, event_id in connection.execute(_SQL["already_reported"], values):
        if response_id is not None:
            told.add(response_id)
        if event_id is not None:
            known.add(event_id.int)
    if not told and not known:
        return set()
    known.update(number for number, row in zip(numbers, rows, strict=True) if row.ancestors)
    return {
        number
        for number, row in zip(numbers, rows, strict=True)
        if row.response_id in told or number in known
    }


def _repeated(response_ids: list[str]) -> set[str]:
    """Those that occur more than once."""
    if len(set(response_ids)) == len(response_ids):
        return set()
    return {told for told, times in Counter(response_ids).items() if times > 1}


def _array(values: Iterable[str]) -> str | list[str]:
    """An array as Postgres writes it, where no value needs quotes: a list costs ten times that."""
    found = list(values)
    text = ",".join(found)
    return f"{{{text}}}" if _PLAIN.fullmatch(text) else found


def _select(
    connection: psycopg.Connection[Any], statement: LiteralString, values: dict[str, Any]
) -> Iterator[KnownRow]:
    cursor = connection.cursor(row_factory=dict_row)
    return map(_known, cursor.execute(rows_statement(statement), values))


def rows_statement(statement: LiteralString) -> sql.Composed:
    """A statement with the columns that deduplication reads."""
    return sql.SQL(statement).format(columns=_COLUMN_LIST, events_columns=_EVENTS_COLUMN_LIST)


def _known(row: dict[str, Any]) -> KnownRow:
    return KnownRow(
        told=SpanReport(
            event_id=row["event_id"],
            started_at=row["timestamp"],
            ended_at=row["ended_at"] or row["timestamp"],
            scope=row["scope"],
            response_id=row["response_id"],
            models=frozenset(filter(None, (row["model"], row["request_model"]))),
            ancestors=tuple(row["ancestors"]),
            counts={name: row[name] for name in COUNTS if row[name] is not None},
            is_estimated=row["cost_status"] == _ESTIMATED,
            # NULL in rows that were set aside before there was such a column.
            source=row["token_organization_id"] or "",
            operation=row["operation"],
            service_tier=row["service_tier"],
            cost_usd=row["cost_usd"],
        ),
        attribution={name: row[name] for name in ATTRIBUTION},
        metadata=row["metadata"],
        winner_event_id=row["winner_event_id"],
        copied_fields=row["copied_fields"] or (),
    )
