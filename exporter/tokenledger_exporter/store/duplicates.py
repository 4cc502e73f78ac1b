"""Finds rows that may report the same call, in the ledger and among its duplicates.

Writers and `maintenance.deduplicate` use it. Both search and commit under one lock, so of two
rows for one call, the later search always finds the other row.
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
from tokenledger_exporter.store.duplicate_rule import (
    MAX_SPAN_REPORTS,
    START_TOLERANCE,
    UNIQUE_ID_LENGTH,
    SpanReport,
)
from tokenledger_semconv.attributes import COST_SOURCE
from tokenledger_semconv.dimensions import DIMENSIONS
from tokenledger_semconv.tokens import TokenVector
from tokenledger_semconv.usage.reported_cost import ReportedCost

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
# Rows read of one response id or one span; more rows are not reports of one call.
_MAX_ROWS: Final = 4 * MAX_SPAN_REPORTS
_PLAIN: Final = re.compile(r"[\w.:,-]*", re.ASCII)

COUNTS: Final = TokenVector._fields
"""The columns that must agree."""

ATTRIBUTION: Final = tuple(dimension.column for dimension in DIMENSIONS if dimension.attribute)
"""The columns that a row may copy from another report of its call."""

_COLUMNS: Final = (
    *("event_id", "timestamp", "ended_at", "scope", "response_id", "model", "request_model"),
    *("ancestors", "cost_status", *COUNTS, *ATTRIBUTION, "metadata"),
    *("token_organization_id", "operation", "service_tier", "cost_usd"),
    *("reported_cost_usd", "details"),
)
_COLUMN_LIST: Final = sql.SQL(", ").join(sql.Identifier(column) for column in _COLUMNS)
_EVENTS_COLUMN_LIST: Final = sql.SQL(", ").join(
    sql.Identifier("events", column) for column in _COLUMNS
)


@dataclass(frozen=True, slots=True)
class Trace:
    """The keys that other reports of a row's call are found by."""

    event_id: UUID
    started_at: datetime
    ended_at: datetime
    response_id: str
    ancestors: Sequence[UUID]
    sources: Sequence[str]


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row of the ledger or a duplicate, with the fields that deduplication reads and changes.

    Args:
        report: the fields for the rule of `duplicate_rule`.
        attribution: column -> value.
        metadata: more attribution.
        reported_cost: the cost that the provider reports, and its source; `None` if there is none.
        winner_event_id: the row that it is a duplicate of; `None` if it is in the ledger.
        copied_fields: fields that the winner copied from it.
    """

    report: SpanReport
    attribution: Mapping[str, str]
    metadata: Mapping[str, Any]
    reported_cost: ReportedCost | None
    winner_event_id: UUID | None
    copied_fields: Sequence[str]

    @property
    def event_id(self) -> UUID:
        """Its id."""
        return self.report.event_id

    @property
    def trace(self) -> Trace:
        """The keys that its other reports are found by."""
        report = self.report
        # Sources that can report its call: the operator's, its own, and its organization's.
        sources = {"", report.source, self.attribution["organization_id"]}
        return Trace(
            report.event_id,
            report.started_at,
            report.ended_at,
            report.response_id,
            report.ancestors,
            tuple(sorted(sources)),
        )


def try_lock(connection: psycopg.Connection[Any]) -> bool:
    """Take the lock for the rest of the transaction; False if it is taken."""
    row = connection.execute(_SQL["try_lock"]).fetchone()
    return bool(row and row[0])


def wait_for_lock(connection: psycopg.Connection[Any]) -> bool:
    """Like `lock`, but returns False after the timeout, and the transaction stays usable."""
    try:
        with connection.transaction():
            connection.execute(_SQL["limit_writer_lock_wait"])
            connection.execute(_SQL["lock"])
    except pg_errors.LockNotAvailable:
        return False
    return True


def lock(connection: psycopg.Connection[Any]) -> None:
    """Wait up to five seconds for the lock, and hold it for the rest of the transaction."""
    connection.execute(_SQL["limit_lock_wait"])
    connection.execute(_SQL["lock"])


def related_rows(
    connection: psycopg.Connection[Any], traces: Iterable[Trace]
) -> Iterator[StoredRow]:
    """Rows with the same response ids, spans above or below, and duplicates."""
    keys = list(traces)
    starts = [trace.started_at for trace in keys]
    values = {
        "event_ids": [trace.event_id for trace in keys],
        "response_ids": [trace.response_id for trace in keys for _ in trace.sources],
        "id_starts": [trace.started_at for trace in keys for _ in trace.sources],
        "id_ends": [trace.ended_at for trace in keys for _ in trace.sources],
        "sources": [source for trace in keys for source in trace.sources],
        "ancestors": [event_id for trace in keys for event_id in trace.ancestors],
        "since": min(starts) - START_TOLERANCE,
        "until": max(starts) + START_TOLERANCE,
        "tolerance": START_TOLERANCE,
        "most_rows": _MAX_ROWS,
    }
    return _select(connection, _SQL["related"], values)


def winners_of(
    connection: psycopg.Connection[Any], event_ids: Iterable[UUID]
) -> Iterator[StoredRow]:
    """The rows with these ids."""
    return _select(connection, _SQL["winners"], {"event_ids": list(event_ids)})


def unsettled_rows(
    connection: psycopg.Connection[Any], minute: datetime, limit: int
) -> list[StoredRow]:
    """The next rows of a minute that are not deduplicated yet."""
    return list(_select(connection, _SQL["unsettled"], {"minute": minute, "limit": limit}))


def mark(connection: psycopg.Connection[Any], timestamps: Iterable[datetime]) -> None:
    """Mark the minutes of these timestamps as dirty, to be deduplicated after the commit."""
    minutes = {timestamp.replace(second=0, microsecond=0) for timestamp in timestamps}
    connection.execute(_SQL["mark"], {"minutes": sorted(minutes)})


def store_parents(connection: psycopg.Connection[Any], rows: Iterable[LedgerRow]) -> None:
    """Store which spans are nested in which, for rows that arrive later."""
    pairs = [
        (ancestor, row.event_id) for row in rows if row.ancestors for ancestor in row.ancestors
    ]
    if pairs:
        ancestors, event_ids = zip(*sorted(pairs), strict=True)
        values = {"ancestors": list(ancestors), "event_ids": list(event_ids)}
        connection.execute(_SQL["add_parents"], values)


def ids_with_relatives(connection: psycopg.Connection[Any], rows: Sequence[LedgerRow]) -> set[int]:
    """The integer event ids of rows that may be a duplicate or have one.

    It runs before every batch, so its query reads only what it needs.

    Args:
        connection: the ledger, under the lock.
        rows: at least one row that is about to be stored.
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
        # Each id is searched in the hours of its own call, so that one old call does not widen the
        # search of the others.
        "starts": "{" + ",".join(f'"{row.timestamp.isoformat()}"' for row in named) + "}",
        "tolerance": START_TOLERANCE,
        "since": first,
        "until": last,
    }
    reported_ids, known = _repeated(response_ids), ancestors
    for response_id, event_id in connection.execute(_SQL["already_reported"], values):
        if response_id is not None:
            reported_ids.add(response_id)
        if event_id is not None:
            known.add(event_id.int)
    if not reported_ids and not known:
        return set()
    known.update(number for number, row in zip(numbers, rows, strict=True) if row.ancestors)
    return {
        number
        for number, row in zip(numbers, rows, strict=True)
        if row.response_id in reported_ids or number in known
    }


def _repeated(response_ids: list[str]) -> set[str]:
    """The ids that occur more than once."""
    if len(set(response_ids)) == len(response_ids):
        return set()
    return {response_id for response_id, times in Counter(response_ids).items() if times > 1}


def _array(values: Iterable[str]) -> str | list[str]:
    """An array in Postgres' text format if no value needs quotes: a list takes ten times longer."""
    texts = list(values)
    text = ",".join(texts)
    return f"{{{text}}}" if _PLAIN.fullmatch(text) else texts


def _select(
    connection: psycopg.Connection[Any], statement: LiteralString, values: dict[str, Any]
) -> Iterator[StoredRow]:
    cursor = connection.cursor(row_factory=dict_row)
    return map(_known, cursor.execute(rows_statement(statement), values))


def rows_statement(statement: LiteralString) -> sql.Composed:
    """A statement with the columns that deduplication reads."""
    return sql.SQL(statement).format(columns=_COLUMN_LIST, events_columns=_EVENTS_COLUMN_LIST)


def _known(row: dict[str, Any]) -> StoredRow:
    return StoredRow(
        report=SpanReport(
            event_id=row["event_id"],
            started_at=row["timestamp"],
            ended_at=row["ended_at"] or row["timestamp"],
            scope=row["scope"],
            response_id=row["response_id"],
            models=frozenset(filter(None, (row["model"], row["request_model"]))),
            ancestors=tuple(row["ancestors"]),
            counts={name: row[name] for name in COUNTS if row[name] is not None},
            is_estimated=row["cost_status"] == _ESTIMATED,
            # NULL in rows that became duplicates before the column existed.
            source=row["token_organization_id"] or "",
            operation=row["operation"],
            service_tier=row["service_tier"],
            cost_usd=row["cost_usd"],
        ),
        attribution={name: row[name] for name in ATTRIBUTION},
        metadata=row["metadata"],
        reported_cost=_reported_cost(row),
        winner_event_id=row["winner_event_id"],
        copied_fields=row["copied_fields"] or (),
    )


def _reported_cost(row: Mapping[str, Any]) -> ReportedCost | None:
    usd = row["reported_cost_usd"]
    details: Mapping[str, Any] = row["details"] or {}
    return None if usd is None else ReportedCost(str(usd), str(details.get(COST_SOURCE, "")))
