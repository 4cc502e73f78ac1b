"""A few connections for requests about budgets, apart from the one that stores calls."""

from __future__ import annotations

from contextlib import contextmanager
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING, Any, ClassVar, Final

import psycopg
from psycopg.rows import dict_row

from tokenledger_exporter.db.answer_timeout import TimedConnection
from tokenledger_exporter.db.connection import connect, explain
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg.rows import DictRow

_SQL: Final = statements("budgets")


class _ImpatientConnection(TimedConnection):
    """A connection whose caller is a model call that waits."""

    answer_seconds: ClassVar[float | None] = 3.0


class BudgetConnections:
    """Connections that are opened when needed and used again. It is thread-safe.

    There are never more than the threads that use them.

    Args:
        database_url: the ledger.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url: Final = database_url
        self._idle: Final[LifoQueue[psycopg.Connection[Any]]] = LifoQueue()

    @contextmanager
    def transaction(self) -> Generator[psycopg.Cursor[DictRow]]:
        """A cursor of one transaction, which waits for a budget's lock for two seconds at most.

        Raises:
            LedgerError: the database reported an error, or did not answer; nothing was changed.
        """
        connection = self._usable()
        is_done = False
        try:
            with connection.cursor(row_factory=dict_row) as cursor:
                yield cursor
            connection.commit()
            is_done = True
        except psycopg.Error as error:
            raise explain(error) from None
        finally:
            if is_done:
                self._idle.put(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        while (connection := self._take()) is not None:
            connection.close()

    def _usable(self) -> psycopg.Connection[Any]:
        """A connection with an open transaction; an idle one may have been ended by the server."""
        while (idle := self._take()) is not None:
            try:
                idle.execute(_SQL["limit_lock_wait"])
            except psycopg.Error:
                idle.close()
            else:
                return idle
        connection = connect(self._database_url, _ImpatientConnection)
        try:
            connection.execute(_SQL["limit_lock_wait"])
        except psycopg.Error as error:
            connection.close()
            raise explain(error) from None
        return connection

    def _take(self) -> psycopg.Connection[Any] | None:
        try:
            return self._idle.get_nowait()
        except Empty:
            return None
