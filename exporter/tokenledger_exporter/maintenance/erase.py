"""Erases a person: a random pseudonym replaces their id everywhere; costs do not change.

Every row of the ledger, its duplicates and quarantine is changed in one transaction. A tombstone,
which holds a keyed hash and not the id, makes writers replace the id in calls that arrive later.
Writers ask the database whether ids are erased; they read neither hashes nor the key. A writer that
has the deduplication lock asks after it got the lock. Rows that were stored without the lock are
checked during deduplication. So no row is missed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.rows import dict_row

from tokenledger_exporter.db.audit_log import log_action
from tokenledger_exporter.db.connection import session
from tokenledger_exporter.db.dimensions import is_storable
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.rollups import refresh
from tokenledger_exporter.sql import statements
from tokenledger_exporter.store import duplicates
from tokenledger_exporter.store.tombstones import (
    bytea_array,
    has_erasures,
    id_bytes,
    tombstones_of,
)
from tokenledger_semconv.dimensions import DIMENSIONS, MAX_VALUE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import psycopg


_SQL: Final = statements("purge")
_JSON_TABLES: Final = ("duplicates", "conflicts", "rejected")
_COUNTED: Final = ("events", *_JSON_TABLES, "repricings", "views", "budgets", "alerts")


@dataclass(frozen=True, slots=True)
class ErasureResult:
    """What an erasure changed, in rows, and the person's pseudonym.

    Args:
        repricings: reasons of repricings that contained the id.
        views: entries of the log of views.
        budgets: budgets, and their accounts and refusals.
        alerts: alerts and their incidents.
        remains: places that still contain the id -> rows; it is not a user's id there.
    """

    pseudonym: str
    events: int
    duplicates: int
    conflicts: int
    rejected: int
    repricings: int = 0
    views: int = 0
    budgets: int = 0
    alerts: int = 0
    remains: Mapping[str, int] = field(default_factory=dict[str, int])


def erase(database_url: str, user: str) -> ErasureResult:
    """Replace a user's id everywhere; a repeated call gives the same pseudonym.

    Args:
        database_url: the ledger, as a user who may update it.
        user: the id; metadata values equal to it are replaced too.

    Raises:
        InvalidRequestError: the id is empty, or text that a database cannot store.
        LedgerError: the database reported an error; nothing was changed.
    """
    spellings = _spellings(user)
    with session(database_url) as connection, connection.transaction():
        duplicates.lock(connection)
        refresh.lock(connection)
        ids = {"ids": bytea_array(map(id_bytes, spellings))}
        [(pseudonym,)] = connection.execute(_SQL["add_erasure"], ids).fetchall()
        counts: dict[str, int] = dict.fromkeys(_COUNTED, 0)
        for spelling in spellings:
            _replace(connection, spelling, pseudonym, counts)
        log_action(connection, "erase", counts, {"user": ""})
        remains = _remains(connection, spellings)
    return ErasureResult(pseudonym, remains=remains, **counts)


def erase_unsettled(connection: psycopg.Connection[Any], minute: datetime) -> None:
    """Replace erased ids in rows that were stored without the lock; call it under the lock."""
    if not has_erasures(connection):
        return
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_SQL["unsettled_ids"], {"minute": minute}).fetchall()
    tombstones = tombstones_of(connection, ((row["user_id"], row["metadata"]) for row in rows))
    for row in rows if tombstones else ():
        current = (row["user_id"], row["metadata"])
        if (replacement := tombstones.with_pseudonyms(*current)) != current:
            values = {
                "user_id": replacement[0],
                "metadata": json.dumps(replacement[1], ensure_ascii=False),
            }
            keys = {"event_id": row["event_id"], "timestamp": row["timestamp"]}
            connection.execute(_SQL["replace_user"], {**values, **keys})


def _spellings(user: str) -> list[str]:
    """The forms in which writers store the id: unchanged, and cut to the length of its column.

    Raises:
        InvalidRequestError: the id is empty, or text that a database cannot store.
    """
    # Writers replace each NUL, which Postgres cannot store, with this character.
    stored_id = user.replace("\0", "\ufffd")
    if not stored_id or not is_storable(stored_id):
        raise InvalidRequestError(
            "the user id is empty or contains characters that Postgres cannot store"
        )
    return list(dict.fromkeys((stored_id, stored_id[:MAX_VALUE_LENGTH])))


def _replace(
    connection: psycopg.Connection[Any], user: str, pseudonym: str, counts: dict[str, int]
) -> None:
    """Replace one spelling of the id in every table, and count the rows."""
    values = {"id": user, "pseudonym": pseudonym}
    counts["events"] += connection.execute(_SQL["erase_events"], values).rowcount
    for name in _JSON_TABLES:
        table = sql.Identifier(f"token_ledger_{name}")
        statement = sql.SQL(_SQL["erase_documents"]).format(table=table)
        counts[name] += connection.execute(statement, values).rowcount
    # Only as a whole word: as part of a longer word it is another id.
    word = {"word": rf"(?<![\w@.-]){re.escape(user)}(?![\w@-]|\.\w)", "pseudonym": pseudonym}
    counts["repricings"] += connection.execute(_SQL["erase_reasons"], word).rowcount
    [(views,)] = connection.execute(_SQL["erase_views"], values).fetchall()
    counts["views"] += views
    [(budgets,)] = connection.execute(_SQL["erase_budgets"], values).fetchall()
    counts["budgets"] += budgets
    [(alerts,)] = connection.execute(_SQL["erase_alerts"], values).fetchall()
    counts["alerts"] += alerts
    # Sums of dropped months cannot be computed from calls again.
    refresh.rename_user(connection, user, pseudonym)


def _remains(connection: psycopg.Connection[Any], spellings: Sequence[str]) -> dict[str, int]:
    """Where the id still occurs: as another dimension, or nested in a document."""
    with connection.cursor(row_factory=dict_row) as cursor:
        counts = cursor.execute(_REMAINS, {"ids": list(spellings)}).fetchone() or {}
    return {place: rows for place, rows in counts.items() if rows}


_OTHER_COLUMNS: Final = tuple(
    dimension.column for dimension in DIMENSIONS if dimension.column != "user_id"
)
_REMAINS: Final = sql.SQL(_SQL["remains"]).format(
    columns=sql.SQL(" ").join(
        sql.SQL(_SQL["remains_in_column"]).format(
            column=sql.Identifier(column), place=sql.Identifier(column)
        )
        for column in _OTHER_COLUMNS
    )
)
