"""Logs who looked at which person in the dashboard, through a function that can do nothing else."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from psycopg import errors as pg_errors

from tokenledger_exporter.db.connection import ReusableSession
from tokenledger_exporter.db.dimensions import is_storable
from tokenledger_exporter.errors import SchemaError
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

_SQL: Final = statements("audit_log")
_SECONDS: Final = 5


class PersonView(NamedTuple):
    """What was looked at.

    Args:
        dimension: user, session, trace or call.
        value: which one.
    """

    dimension: str
    value: str


class ViewLog:
    """Adds entries to `token_ledger_person_views`; safe to share between threads.

    The connection is one of its own: those that read the ledger cannot write.

    Args:
        database_url: the ledger.
    """

    def __init__(self, database_url: str) -> None:
        self._session: Final = ReusableSession(database_url)
        self._lock: Final = threading.Lock()

    def add(
        self, kind: str, viewer: str, organization: str, page: str, views: Sequence[PersonView]
    ) -> None:
        """Log what a viewer is about to see, and commit it.

        Args:
            kind: kind of the viewer.
            viewer: who it is.
            organization: the only organization it may see; "" for every one.
            page: the path, with the names of its parameters.
            views: what it looks at.

        Raises:
            LedgerError: the entries could not be written; nothing was.
        """
        who = {"kind": kind, "viewer": viewer, "organization": organization, "page": page}
        with self._lock, self._session.session() as connection:
            connection.execute(_SQL["limit_time_of_log"], {"timeout": f"{_SECONDS}s"})
            for view in views:
                value = view.value if is_storable(view.value) else ascii(view.value)
                entry = {**who, "dimension": view.dimension, "value": value}
                _execute(connection, entry)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._session.close()


def _execute(connection: psycopg.Connection[Any], entry: Mapping[str, str]) -> None:
    try:
        connection.execute(_SQL["log_view"], entry)
    except pg_errors.InsufficientPrivilege:
        raise SchemaError(
            "the dashboard's login may not log views: run 'tokenledger db roles' again as the "
            "tables' owner"
        ) from None
