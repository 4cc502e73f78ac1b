"""Erases a person: an id nobody can lead back takes the place of theirs, and the money stays.

Every row of the ledger and every row kept aside is changed in one transaction. A tombstone, which
holds a salted hash and not the id, makes writers and keepers replace the id in what comes later out
of a spool. Writers that hold the settling lock read it after they have the lock; rows of those that
do not are looked at by a keeper, which reads it too: so no row slips past.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace
from psycopg import sql
from psycopg.rows import dict_row

from tokenledger_exporter import rollups, twins
from tokenledger_exporter.database import session
from tokenledger_exporter.dimension_columns import is_storable
from tokenledger_exporter.errors import UsageError
from tokenledger_exporter.purge import log_act
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import psycopg

    from tokenledger_exporter.rows import LedgerRow

_SQL: Final = statements("purge")
_KEPT: Final = ("duplicates", "conflicts", "rejected")
_SALT_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure changed, in rows, and what stands for the person now."""

    pseudonym: str
    events: int
    duplicates: int
    conflicts: int
    rejected: int


class Tombstones:
    """Everybody who was erased; asked for every id that comes in, and nearly always empty."""

    def __init__(self, rows: Sequence[tuple[bytes, bytes, str]]) -> None:
        self._rows: Final = rows
        self._known: Final[dict[str, str | None]] = {}

    def __bool__(self) -> bool:
        return bool(self._rows)

    def pseudonym_of(self, told: str) -> str | None:
        """What stands for an id; `None` if it was not erased."""
        if told not in self._known:
            self._known[told] = next(
                (
                    pseudonym
                    for id_hash, salt, pseudonym in self._rows
                    if _hash(salt, told) == id_hash
                ),
                None,
            )
        return self._known[told]

    def renamed(self, user_id: str, metadata: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The same attribution without erased ids."""
        return (
            (user_id and self.pseudonym_of(user_id)) or user_id,
            {
                key: (isinstance(told, str) and self.pseudonym_of(told)) or told
                for key, told in metadata.items()
            },
        )

    def row(self, row: LedgerRow) -> LedgerRow:
        """The row without erased ids."""
        if not self._rows:
            return row
        told: dict[str, Any] = json.loads(row.metadata or "{}")
        user_id, metadata = self.renamed(row.user_id, told)
        if (user_id, metadata) == (row.user_id, told):
            return row
        return replace(row, user_id=user_id, metadata=json.dumps(metadata))


def read_tombstones(connection: psycopg.Connection[Any]) -> Tombstones:
    """The tombstones as they are committed now; a writer asks once it has the settling lock."""
    found = connection.execute(_SQL["erasures"]).fetchall()
    return Tombstones([(bytes(id_hash), bytes(salt), name) for id_hash, salt, name in found])


def erase(database_url: str, user: str) -> Erased:
    """Replace a user's id everywhere; asked again, the same pseudonym stands for them.

    Args:
        database_url: the ledger, as a user who may update it.
        user: the id; values of metadata that equal it are replaced too.

    Raises:
        UsageError: the id is empty, or text no database holds.
        LedgerError: whatever the database says; nothing was changed.
    """
    if not user or not is_storable(user):
        raise UsageError("whom to erase must be said: give the user's id")
    with session(database_url) as connection, connection.transaction():
        twins.lock(connection)
        rollups.lock(connection)
        pseudonym = read_tombstones(connection).pseudonym_of(user)
        if pseudonym is None:
            salt, pseudonym = os.urandom(_SALT_BYTES), f"erased-{os.urandom(8).hex()}"
            tombstone = {"id_hash": _hash(salt, user), "salt": salt, "pseudonym": pseudonym}
            connection.execute(_SQL["add_erasure"], tombstone)
        values = {"id": user, "pseudonym": pseudonym}
        counts = {"events": connection.execute(_SQL["erase_events"], values).rowcount}
        for name in _KEPT:
            table = sql.Identifier(f"token_ledger_{name}")
            statement = sql.SQL(_SQL["erase_kept"]).format(table=table)
            counts[name] = connection.execute(statement, values).rowcount
        # Sums of months whose calls were let go have nothing else they could be made of again.
        rollups.rename_user(connection, user, pseudonym)
        log_act(connection, "erase", counts, {"user": ""})
    return Erased(pseudonym, **counts)


def erase_unsettled(connection: psycopg.Connection[Any], minute: datetime) -> None:
    """Replace erased ids in rows a writer stored without the lock; a keeper's, under the lock."""
    tombstones = read_tombstones(connection)
    if not tombstones:
        return
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(_SQL["unsettled_ids"], {"minute": minute}).fetchall()
    for row in found:
        told = (row["user_id"], row["metadata"])
        if (renamed := tombstones.renamed(*told)) != told:
            values = {"user_id": renamed[0], "metadata": json.dumps(renamed[1])}
            keys = {"event_id": row["event_id"], "timestamp": row["timestamp"]}
            connection.execute(_SQL["rename"], {**values, **keys})


def _hash(salt: bytes, told: str) -> bytes:
    return hashlib.sha256(salt + told.encode("utf-8", "surrogatepass")).digest()
