"""Read-only connections that requests share, each answer from one snapshot and limited in time."""

from __future__ import annotations

import queue
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import psycopg

from tokenledger_exporter.db.connection import explain, reading
from tokenledger_exporter.errors import DatabaseUnreachableError, InvalidRequestError, SchemaError
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Generator

_SQL: Final = statements("connections")


class Reader:
    """A few connections to one ledger; safe to share between threads.

    Args:
        database_url: the ledger.
        connections: how many requests may read at the same time; others wait.
        timeout_seconds: the longest time that a request waits for a connection, and the longest
            time that one of its statements may run.
    """

    def __init__(
        self, database_url: str, *, connections: int = 8, timeout_seconds: float = 10.0
    ) -> None:
        self._database_url: Final = database_url
        self._timeout: Final = timeout_seconds
        # The connection used last is taken first: its caches are warm.
        self._free: Final[queue.LifoQueue[_Connection | None]] = queue.LifoQueue()
        for _ in range(connections):
            self._free.put(None)

    @contextmanager
    def snapshot(self, organization: str = "") -> Generator[psycopg.Connection[Any]]:
        """A connection in one read-only transaction.

        Args:
            organization: only this organization's calls are visible; "" is all that the database
                user may see.

        Raises:
            DatabaseUnreachableError: no connection became free in time, or none can be opened.
            SchemaError: the database user is not subject to row-level security, so its view
                cannot be limited to an organization.
            LedgerError: any error of the database.
        """
        try:
            pooled = self._free.get(timeout=self._timeout)
        except queue.Empty:
            raise DatabaseUnreachableError(
                "all connections of the dashboard are busy: try again"
            ) from None
        try:
            pooled = (
                pooled if pooled is not None and pooled.is_open else _Connection(self._database_url)
            )
            with pooled.connection.transaction():
                _limit(pooled.connection, self._timeout, organization)
                yield pooled.connection
        except InvalidRequestError:
            # A wrong argument is not the connection's fault.
            raise
        except BaseException as error:
            # The state of the connection is not known.
            if pooled is not None:
                pooled.close()
            pooled = None
            if isinstance(error, psycopg.Error):
                raise explain(error) from None
            raise
        finally:
            self._free.put(pooled)

    def close(self) -> None:
        """Close the connections that no request uses."""
        while True:
            try:
                pooled = self._free.get_nowait()
            except queue.Empty:
                return
            if pooled is not None:
                pooled.close()


class _Connection:
    """One connection of `reading`, open until it is closed."""

    def __init__(self, database_url: str) -> None:
        self._stack: Final = ExitStack()
        self.connection: Final = self._stack.enter_context(reading(database_url))

    @property
    def is_open(self) -> bool:
        return not (self.connection.closed or self.connection.broken)

    def close(self) -> None:
        self._stack.close()


def _limit(connection: psycopg.Connection[Any], seconds: float, organization: str) -> None:
    """Limit the transaction's statements in time, and what it sees to an organization."""
    values = {"timeout": f"{seconds * 1_000:.0f}", "organization": organization}
    connection.execute(_SQL["limit_time"], values)
    if organization:
        row = connection.execute(_SQL["limit_organization"], values).fetchone()
        if row is None or not row[0]:
            raise SchemaError(
                "the database user of the dashboard sees every organization, so a token of one "
                "organization cannot be answered: use a login of the role tokenledger_reader"
            )
