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

from msgspec.structs import replace
from psycopg import sql
from psycopg.rows import dict_row

from tokenledger_exporter.db.connection import session
from tokenledger_exporter.db.dimensions import is_storable
from tokenledger_exporter.errors import UsageError
from tokenledger_exporter.maintenance.purge import log_act
from tokenledger_exporter.rollups import refresh
from tokenledger_exporter.sql import statements
from tokenledger_exporter.store import duplicates as twins
from tokenledger_semconv.dimensions import DIMENSIONS, MAX_VALUE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    import psycopg

    from tokenledger_exporter.rating.build_rows import LedgerRow

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


class Tombstones:
    """What stands for the erased people among some rows; nearly always empty."""

    def __init__(self, pseudonyms: Mapping[str, str]) -> None:
        self._pseudonyms: Final = pseudonyms

    def __bool__(self) -> bool:
        return bool(self._pseudonyms)

    def renamed(self, user_id: str, metadata: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The same attribution without erased ids."""
        return (
            self._pseudonyms.get(user_id, user_id),
            {
                key: self._pseudonyms.get(value, value) if isinstance(value, str) else value
                for key, value in metadata.items()
            },
        )

    def row(self, row: LedgerRow) -> LedgerRow:
        """The row without erased ids."""
        if not self._pseudonyms:
            return row
        before = _metadata(row)
        user_id, metadata = self.renamed(row.user_id, before)
        if (user_id, metadata) == (row.user_id, before):
            return row
        return replace(row, user_id=user_id, metadata=json.dumps(metadata, ensure_ascii=False))


def read_tombstones(connection: psycopg.Connection[Any], rows: Sequence[LedgerRow]) -> Tombstones:
    """Who was erased of the people in some rows; a writer asks once it has the settling lock.

    The database answers for all ids at once, by a key that no writer reads. Where nobody was
    erased, no id is looked at.
    """
    if not _any_erased(connection):
        return Tombstones({})
    return _asked(connection, ((row.user_id, _metadata(row)) for row in rows))


def _any_erased(connection: psycopg.Connection[Any]) -> bool:
    [(is_any,)] = connection.execute(_SQL["any_erased"]).fetchall()
    return bool(is_any)


def _asked(
    connection: psycopg.Connection[Any], attributions: Iterable[tuple[str, Mapping[str, Any]]]
) -> Tombstones:
    ids: set[str] = set()
    for user_id, metadata in attributions:
        ids.add(user_id)
        ids.update(value for value in metadata.values() if isinstance(value, str))
    ids.discard("")
    spelled = {_bytes(text): text for text in ids}
    found = connection.execute(_SQL["erased"], {"ids": _array(spelled)}).fetchall()
    return Tombstones({spelled[bytes(told)]: pseudonym for told, pseudonym in found})


def _metadata(row: LedgerRow) -> dict[str, Any]:
    return json.loads(row.metadata) if row.metadata and row.metadata != "{}" else {}


def _array(ids: Iterable[bytes]) -> str:
    """A bytea[] as Postgres reads it: psycopg takes ten times as long for a batch's ids."""
    return "{" + ",".join(f'"\\\\x{told.hex()}"' for told in ids) + "}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


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
        ids = {"ids": _array(map(_bytes, spellings))}
        [(pseudonym,)] = connection.execute(_SQL["add_erasure"], ids).fetchall()
        counts: dict[str, int] = dict.fromkeys(("events", *_KEPT, "repricings"), 0)
        for spelling in spellings:
            _replace(connection, spelling, pseudonym, counts)
        log_act(connection, "erase", counts, {"user": ""})
        remains = _remains(connection, spellings)
    return Erased(pseudonym, remains=remains, **counts)


def erase_unsettled(connection: psycopg.Connection[Any], minute: datetime) -> None:
    """Replace erased ids in rows a writer stored without the lock; a keeper's, under the lock."""
    if not _any_erased(connection):
        return
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(_SQL["unsettled_ids"], {"minute": minute}).fetchall()
    tombstones = _asked(connection, ((row["user_id"], row["metadata"]) for row in found))
    for row in found if tombstones else ():
        before = (row["user_id"], row["metadata"])
        if (renamed := tombstones.renamed(*before)) != before:
            values = {"user_id": renamed[0], "metadata": json.dumps(renamed[1], ensure_ascii=False)}
            keys = {"event_id": row["event_id"], "timestamp": row["timestamp"]}
            connection.execute(_SQL["rename"], {**values, **keys})


def _spellings(user: str) -> list[str]:
    """How writers store the id: as it is, and cut to what a column keeps of it.

    Raises:
        UsageError: the id is empty, or text no database holds.
    """
    # Writers put this in the place of a NUL, which no database holds.
    stored = user.replace("\0", "\ufffd")
    if not stored or not is_storable(stored):
        raise UsageError("the id of the user to erase is empty or not text: give the id")
    return list(dict.fromkeys((stored, stored[:MAX_VALUE_LENGTH])))


def _replace(
    connection: psycopg.Connection[Any], user: str, pseudonym: str, counts: dict[str, int]
) -> None:
    """Replace one spelling of the id in every table, and count the rows."""
    values = {"id": user, "pseudonym": pseudonym}
    counts["events"] += connection.execute(_SQL["erase_events"], values).rowcount
    for name in _KEPT:
        table = sql.Identifier(f"token_ledger_{name}")
        statement = sql.SQL(_SQL["erase_kept"]).format(table=table)
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
