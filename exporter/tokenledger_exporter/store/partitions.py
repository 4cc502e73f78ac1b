"""Monthly partitions: creates them ahead of time, and reads how far back calls are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg import errors as pg_errors

from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

_SQL: Final = statements("store")


def read_horizon(connection: psycopg.Connection[Any]) -> datetime | None:
    """The start of the oldest month whose calls are stored; `None` if no retention is set."""
    row = connection.execute(_SQL["horizon"]).fetchone()
    return row[0] if row else None


def make_months_ahead(connection: psycopg.Connection[Any]) -> str:
    """Create the partitions of this month and the next three where they are missing.

    Args:
        connection: the ledger, with no transaction open.

    Returns:
        Why they could not be created, as a sentence; "" if they exist.
    """
    with connection.transaction():
        row = connection.execute(_SQL["months_ahead"]).fetchone()
    if not row or not row[0]:
        return ""
    try:
        with connection.transaction():
            connection.execute(_SQL["limit_lock_wait"])
            connection.execute(_SQL["add_months"])
    except pg_errors.LockNotAvailable:
        return (
            "partitions for the next months were not created: the table is locked; the next round "
            "will retry"
        )
    except pg_errors.InsufficientPrivilege:
        return (
            "partitions for the next months were not created: this database user lacks the "
            "privilege; run 'tokenledger "
            "db migrate' as the tables' owner, or 'tokenledger db roles'"
        )
    return ""
