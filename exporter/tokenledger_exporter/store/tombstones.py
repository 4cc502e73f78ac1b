"""Replaces the ids of erased people in rows that are written later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import psycopg

    from tokenledger_exporter.domain.ledger_row import LedgerRow

_SQL: Final = statements("store")


class Tombstones:
    """Pseudonyms of the erased people in some rows; nearly always empty."""

    def __init__(self, pseudonyms: Mapping[str, str]) -> None:
        self._pseudonyms: Final = pseudonyms

    def __bool__(self) -> bool:
        return bool(self._pseudonyms)

    def with_pseudonyms(
        self, user_id: str, metadata: Mapping[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """The attribution with pseudonyms instead of erased ids."""
        return (
            self._pseudonyms.get(user_id, user_id),
            {
                key: self._pseudonyms.get(value, value) if isinstance(value, str) else value
                for key, value in metadata.items()
            },
        )

    def row(self, row: LedgerRow) -> LedgerRow:
        """The row with pseudonyms instead of erased ids."""
        if not self._pseudonyms:
            return row
        before = _metadata(row)
        user_id, metadata = self.with_pseudonyms(row.user_id, before)
        if (user_id, metadata) == (row.user_id, before):
            return row
        return replace(row, user_id=user_id, metadata=json.dumps(metadata, ensure_ascii=False))


def read_tombstones(connection: psycopg.Connection[Any], rows: Sequence[LedgerRow]) -> Tombstones:
    """The tombstones of the people in some rows; a writer calls it when it has the lock.

    The database looks up all ids at once, with a key that writers cannot read. If no id was ever
    erased, no id is looked up.
    """
    if not has_erasures(connection):
        return Tombstones({})
    return tombstones_of(connection, ((row.user_id, _metadata(row)) for row in rows))


def has_erasures(connection: psycopg.Connection[Any]) -> bool:
    """Whether the ledger has any tombstone; without one no id needs to be looked up."""
    [(is_any,)] = connection.execute(_SQL["has_erasures"]).fetchall()
    return bool(is_any)


def tombstones_of(
    connection: psycopg.Connection[Any], attributions: Iterable[tuple[str, Mapping[str, Any]]]
) -> Tombstones:
    """The tombstones of all ids in some attributions, looked up in one query.

    Args:
        connection: the ledger.
        attributions: user id and metadata of each row.
    """
    ids: set[str] = set()
    for user_id, metadata in attributions:
        ids.add(user_id)
        ids.update(value for value in metadata.values() if isinstance(value, str))
    ids.discard("")
    texts = {id_bytes(text): text for text in ids}
    rows = connection.execute(_SQL["find_erased"], {"ids": bytea_array(texts)}).fetchall()
    return Tombstones({texts[bytes(raw_id)]: pseudonym for raw_id, pseudonym in rows})


def _metadata(row: LedgerRow) -> dict[str, Any]:
    return json.loads(row.metadata) if row.metadata and row.metadata != "{}" else {}


def bytea_array(ids: Iterable[bytes]) -> str:
    """A bytea[] in Postgres' text format; psycopg's own conversion takes ten times as long."""
    return "{" + ",".join(f'"\\\\x{raw_id.hex()}"' for raw_id in ids) + "}"


def id_bytes(text: str) -> bytes:
    """An id as the bytes that its tombstone is computed from."""
    return text.encode("utf-8", "surrogatepass")
