"""Copies what an older tracker wrote into the ledger, told apart and never twice."""

from __future__ import annotations

from typing import Final

from tokenledger_exporter.database import session
from tokenledger_exporter.errors import SchemaError
from tokenledger_exporter.sql import statements

_SQL: Final = statements("older_table")


def import_older_rows(database_url: str) -> int:
    """Copy `token_ledger_events_v0` into the ledger; returns the rows that were new.

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
        connection.execute(_SQL["add_partitions"])
        return connection.execute(_SQL["copy_rows"]).rowcount
