"""Copies the rows of TokenLedger 0.1 into the ledger, each row once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tokenledger_exporter.db.connection import session
from tokenledger_exporter.errors import SchemaError
from tokenledger_exporter.sql import statements

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
