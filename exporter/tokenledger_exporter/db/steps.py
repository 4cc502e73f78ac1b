"""Queries that run on both sync and async connections.

The steps of a query are a generator: it yields statements, receives their rows, and returns the
result. So each query is implemented once, and only the waiting differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import psycopg
from psycopg.rows import dict_row

from tokenledger_exporter.db.connection import explain
from tokenledger_exporter.db.shown_sql import show
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from typing import TypeAlias

    from psycopg import sql
    from psycopg.rows import RowMaker

_SQL: Final = statements("connections")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement and its parameters.

    Args:
        statement: the SQL; bytes if it was composed before.
        values: its parameters by name.
        row_factory: what psycopg makes of its rows.
        caches_plan: planning takes as long as running it, and the plan does not depend on the
            values. A statement that scans calls is planned for its time range each time.
    """

    statement: sql.SQL | sql.Composed | bytes
    values: Mapping[str, object] = field(default_factory=dict[str, object])
    row_factory: Callable[[Any], RowMaker[Any]] = dict_row
    caches_plan: bool = False

    @property
    def prepare(self) -> bool | None:
        """Psycopg's `prepare` argument: never, or as the connection is set."""
        return None if self.caches_plan else False


Steps: TypeAlias = "Generator[Statement, list[Any], T]"
"""Statements to run one after another, and the result made from their rows."""


def cache_plans(connection: psycopg.Connection[Any]) -> None:
    """Cache the plans of `caches_plan` statements; not through a transaction pooler."""
    connection.prepare_threshold = 0
    connection.execute(_SQL["cache_plans"])


async def acache_plans(connection: psycopg.AsyncConnection[Any]) -> None:
    """Async version of `cache_plans`."""
    connection.prepare_threshold = 0
    await connection.execute(_SQL["cache_plans"])


def run_steps(connection: psycopg.Connection[Any], steps: Steps[T]) -> T:
    """Run a query; on a connection of `connection.reading`, in a transaction, it sees one snapshot.

    Raises:
        LedgerError: the database reported an error.
    """
    run = _Run(steps)
    try:
        while statement := run.statement:
            show(connection, statement.statement, statement.values)
            with _cursor(connection, statement) as cursor:
                cursor.execute(statement.statement, statement.values, prepare=statement.prepare)
                run.send(cursor.fetchall())
    except psycopg.Error as error:
        raise explain(error) from None
    return run.result()


async def arun_steps(connection: psycopg.AsyncConnection[Any], steps: Steps[T]) -> T:
    """Async version of `run_steps`."""
    run = _Run(steps)
    try:
        while statement := run.statement:
            show(connection, statement.statement, statement.values)
            async with _async_cursor(connection, statement) as cursor:
                await cursor.execute(
                    statement.statement, statement.values, prepare=statement.prepare
                )
                run.send(await cursor.fetchall())
    except psycopg.Error as error:
        raise explain(error) from None
    return run.result()


def _cursor(connection: psycopg.Connection[Any], statement: Statement) -> psycopg.Cursor[Any]:
    kind: type[psycopg.Cursor[Any]] = psycopg.Cursor
    if _needs_own_plan(connection, statement):
        kind = psycopg.ClientCursor
    return kind(connection, row_factory=statement.row_factory)


def _async_cursor(
    connection: psycopg.AsyncConnection[Any], statement: Statement
) -> psycopg.AsyncCursor[Any]:
    kind: type[psycopg.AsyncCursor[Any]] = psycopg.AsyncCursor
    if _needs_own_plan(connection, statement):
        kind = psycopg.AsyncClientCursor
    return kind(connection, row_factory=statement.row_factory)


def _needs_own_plan(connection: psycopg.BaseConnection[Any], statement: Statement) -> bool:
    """Whether the values must be in the statement's text, so that it is planned for them.

    `force_generic_plan` applies to every statement with parameters, prepared or not (PostgreSQL 18,
    `choose_custom_plan` of plancache.c; seen 2026-11-26).
    """
    return not statement.caches_plan and connection.prepare_threshold == 0


class _Run(Generic[T]):
    """A query that is running: its next statement, until there is a result."""

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps
        self._results: list[T] = []
        self.statement: Statement | None = None
        self._advance(None)

    def send(self, rows: list[Any]) -> None:
        """Take the rows of the statement."""
        self._advance(rows)

    def result(self) -> T:
        """The result, when there is no statement left."""
        return self._results[0]

    def _advance(self, rows: list[Any] | None) -> None:
        try:
            self.statement = next(self._steps) if rows is None else self._steps.send(rows)
        except StopIteration as done:
            self.statement = None
            self._results.append(done.value)
