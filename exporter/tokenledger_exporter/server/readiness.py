"""Whether the database takes rows, for `/ready` while no request shows it."""

from __future__ import annotations

from functools import partial
from typing import Final

from tokenledger_exporter.db.availability import Availability
from tokenledger_exporter.db.connection import session
from tokenledger_exporter.db.migrations import read_status
from tokenledger_exporter.errors import LedgerError
from tokenledger_exporter.sql import statements

_SQL: Final = statements("store")


def readiness(database_url: str) -> Availability:
    """Whether the ledger at this URL takes rows."""
    return Availability(partial(_why_not_ready, database_url))


def _why_not_ready(database_url: str) -> str:
    try:
        with session(database_url) as connection:
            status = read_status(connection)
            if not status.is_current or status.older_table:
                return status.sentence
            [(may_insert, is_replica)] = connection.execute(_SQL["may_insert"]).fetchall()
    except LedgerError as error:
        return str(error)
    if is_replica:
        return "the database is read-only, like a replica: use the primary"
    return "" if may_insert else "the database user may not insert calls: grant it INSERT"
