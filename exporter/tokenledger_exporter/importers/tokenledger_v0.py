"""Copies what an older tracker wrote into the ledger, told apart and never twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tokenledger_exporter.db.connection import session
from tokenledger_exporter.errors import SchemaError
from tokenledger_exporter.sql import statements

_SQL: Final = statements("tokenledger_v0")


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What one import did; a row that an earlier one dealt with is in neither count.

    Args:
        copied: rows that are new in the ledger.
        rejected: rows before 2015 or in the future, new in `token_ledger_rejected`.
    """

    copied: int
    rejected: int


def import_older_rows(database_url: str) -> ImportResult:
    """Copy `token_ledger_events_v0` into the ledger, all of it or, after an error, nothing.

    Columns the older table lacks stay empty, costs keep their value, and scope says
    `import.token_ledger_events_v0`, so that imported money can be told from measured money.

    Raises:
        DatabaseUnreachableError: no connection could be had.
        SchemaError: there is no such table.
    """
    with session(database_url) as connection:
        found = connection.execute(_SQL["exists"]).fetchone()
        if not found or not found[0]:
            raise SchemaError(
                "there is no token_ledger_events_v0 to import: 'tokenledger db migrate' makes it "
                "of an older tracker's token_ledger_events"
            )
        connection.execute(_SQL["read_as_utc"])
        connection.execute(_SQL["add_partitions"])
        copied = connection.execute(_SQL["copy_rows"]).rowcount
        rejected = connection.execute(_SQL["add_rejected"]).rowcount
        return ImportResult(copied, rejected)
