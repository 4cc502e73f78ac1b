"""Copies the rows of TokenLedger 0.1 into the ledger, each row once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.connection import session
from tokenledger_exporter.db.migrations import IMPORT_HINT
from tokenledger_exporter.errors import SchemaError
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    import psycopg

_SQL: Final = statements("tokenledger_v0")


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The counts of one import; rows handled by an earlier import are in neither.

    Args:
        copied: rows added to the ledger.
        rejected: rows dated before 2015 or in the future, added to `token_ledger_rejected`.
    """

    copied: int
    rejected: int


def import_notice(connection: psycopg.Connection[Any]) -> str:
    """What became of the older tracker's table, and how to copy its rows; "" if none is left."""
    exists = connection.execute(_SQL["exists"]).fetchone()
    left = connection.execute(_SQL["left_to_import"]).fetchone() if exists and exists[0] else None
    if left is None:
        return ""
    what = (
        "the table of TokenLedger 0.1 is in the schema token_ledger and is not changed; the view "
        "token_ledger_events_v0 reads it"
        if left[0]
        else "the table of TokenLedger 0.1 was renamed to token_ledger_events_v0"
    )
    return f"{what}; copy its rows into the ledger with '{IMPORT_HINT}'"


def import_older_rows(database_url: str) -> ImportResult:
    """Copy `token_ledger_events_v0` into the ledger in one transaction.

    Columns that the old table does not have stay empty, and costs keep their value. The scope of
    imported rows is `import.token_ledger_events_v0`.

    Raises:
        DatabaseUnreachableError: the database cannot be reached.
        SchemaError: the table does not exist.
    """
    with session(database_url) as connection:
        exists = connection.execute(_SQL["exists"]).fetchone()
        if not exists or not exists[0]:
            raise SchemaError(
                "table token_ledger_events_v0 does not exist; 'tokenledger db migrate' creates it "
                "by renaming the token_ledger_events of TokenLedger 0.1"
            )
        connection.execute(_SQL["read_as_utc"])
        connection.execute(_SQL["add_partitions"])
        copied = connection.execute(_SQL["copy_rows"]).rowcount
        rejected = connection.execute(_SQL["add_rejected"]).rowcount
        return ImportResult(copied, rejected)
