"""Erases a person: an id nobody can lead back takes the place of theirs, and the money stays.

Every row of the ledger and every row kept aside is changed in one transaction. A tombstone, which
holds a keyed hash and not the id, makes writers and keepers replace the id in what comes later out
of a spool. They ask the database about ids and read neither hashes nor key. Writers that hold the
settling lock ask after they have the lock; rows of those that do not are looked at by a keeper,
which asks too: so no row slips past.
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
from tokenledger_exporter.store import duplicates as twins
from tokenledger_exporter.store.tombstones import (
    bytea_array,
    id_bytes,
    is_anybody_erased,
    tombstones_of,
)
from tokenledger_semconv.dimensions import DIMENSIONS, MAX_VALUE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import psycopg


_SQL: Final = statements("purge")
_KEPT: Final = ("duplicates", "conflicts", "rejected")


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure changed, in rows, and what stands for the person now.

    Args:
        repricings: reasons of repricings that named the id.
        remains: place that still holds the id -> rows; it is no user's id there, so it stays.
    """

    pseudonym: str
    events: int
    duplicates: int
    conflicts: int
    rejected: int
    repricings: int = 0
    remains: Mapping[str, int] = field(default_factory=dict[str, int])


def erase(database_url: str, user: str) -> Erased:
    """Replace a user's id everywhere; asked again, the same pseudonym stands for them.

    Args:
        database_url: the ledger, as a user who may update it.
        user: the id; values of metadata that equal it are replaced too.

    Raises:
        UsageError: the id is empty, or text no database holds.
        LedgerError: whatever the database says; nothing was changed.
    """
    spellings = _spellings(user)
    with session(database_url) as connection, connection.transaction():
        twins.lock(connection)
        refresh.lock(connection)
        ids = {"ids": bytea_array(map(id_bytes, spellings))}
        [(pseudonym,)] = connection.execute(_SQL["add_erasure"], ids).fetchall()
        counts: dict[str, int] = dict.fromkeys(("events", *_KEPT, "repricings"), 0)
        for spelling in spellings:
            _replace(connection, spelling, pseudonym, counts)
        log_action(connection, "erase", counts, {"user": ""})
        remains = _remains(connection, spellings)
    return Erased(pseudonym, remains=remains, **counts)


def erase_unsettled(connection: psycopg.Connection[Any], minute: datetime) -> None:
    """Replace erased ids in rows a writer stored without the lock; a keeper's, under the lock."""
    if not is_anybody_erased(connection):
        return
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(_SQL["unsettled_ids"], {"minute": minute}).fetchall()
    tombstones = tombstones_of(connection, ((row["user_id"], row["metadata"]) for row in found))
    for row in found if tombstones else ():
        before = (row["user_id"], row["metadata"])
        if (renamed := tombstones.renamed(*before)) != before:
            values = {"user_id": renamed[0], "metadata": json.dumps(renamed[1], ensure_ascii=False)}
            keys = {"event_id": row["event_id"], "timestamp": row["timestamp"]}
            connection.execute(_SQL["replace_user"], {**values, **keys})


def _spellings(user: str) -> list[str]:
    """How writers store the id: as it is, and cut to what a column keeps of it.

    Raises:
        UsageError: the id is empty, or text no database holds.
    """
    # Writers put this in the place of a NUL, which no database holds.
    stored = user.replace("\0", "\ufffd")
    if not stored or not is_storable(stored):
        raise InvalidRequestError("the id of the user to erase is empty or not text: give the id")
    return list(dict.fromkeys((stored, stored[:MAX_VALUE_LENGTH])))


def _replace(
    connection: psycopg.Connection[Any], user: str, pseudonym: str, counts: dict[str, int]
) -> None:
    """Replace one spelling of the id in every table, and count the rows."""
    values = {"id": user, "pseudonym": pseudonym}
    counts["events"] += connection.execute(_SQL["erase_events"], values).rowcount
    for name in _KEPT:
        table = sql.Identifier(f"token_ledger_{name}")
        statement = sql.SQL(_SQL["erase_documents"]).format(table=table)
        counts[name] += connection.execute(statement, values).rowcount
    # The id as a word of its own: in a longer word it is somebody else's.
    word = {"word": rf"(?<![\w@.-]){re.escape(user)}(?![\w@-]|\.\w)", "pseudonym": pseudonym}
    counts["repricings"] += connection.execute(_SQL["erase_reasons"], word).rowcount
    # Sums of months whose calls were let go have nothing else they could be made of again.
    refresh.rename_user(connection, user, pseudonym)


def _remains(connection: psycopg.Connection[Any], spellings: Sequence[str]) -> dict[str, int]:
    """Where the id still stands, as another dimension or deep inside a document."""
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(_REMAINS, {"ids": list(spellings)}).fetchone() or {}
    return {place: rows for place, rows in found.items() if rows}


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
