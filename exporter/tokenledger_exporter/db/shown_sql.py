"""Collects the statements that queries run, with their values, ready to run in psql."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import psycopg

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from psycopg import sql
    from typing_extensions import LiteralString

_COLLECTED: Final[ContextVar[list[str] | None]] = ContextVar("tokenledger_shown_sql", default=None)


@contextmanager
def collect_sql() -> Generator[list[str]]:
    """Yields a list to which each statement of this thread or task is added."""
    collected: list[str] = []
    token = _COLLECTED.set(collected)
    try:
        yield collected
    finally:
        _COLLECTED.reset(token)


def show(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any],
    statement: sql.SQL | sql.Composed | bytes | LiteralString,
    values: Mapping[str, object],
) -> None:
    """Add a statement to the list, if statements are being collected."""
    collected = _COLLECTED.get()
    if collected is None:
        return
    if not isinstance(statement, (bytes, str)):
        statement = statement.as_bytes(connection)
    text = _client_cursor(connection).mogrify(statement, values)
    collected.append(f"{text.strip()};")


def _client_cursor(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any],
) -> psycopg.ClientCursor[Any] | psycopg.AsyncClientCursor[Any]:
    """A cursor that puts values into the statement; it sends nothing."""
    if isinstance(connection, psycopg.AsyncConnection):
        return psycopg.AsyncClientCursor(connection)
    return psycopg.ClientCursor(connection)
