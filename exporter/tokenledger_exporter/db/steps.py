"""Questions put to the ledger, the same for a plain and for an async connection.

A plan is a generator: it yields statements, is sent their rows, and returns the answer. What the
rows mean is said once, and only who waits for them differs.
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
class Question:
    """One statement, as bytes if it was put together before, and its parameters.

    Args:
        row_factory: what its rows are.
        keeps_plan: planning it takes as long as carrying it out, and its plan is the same whatever
            the values. A question that walks over calls is planned for its stretch each time.
    """

    statement: sql.SQL | sql.Composed | bytes
    values: Mapping[str, object] = field(default_factory=dict[str, object])
    row_factory: Callable[[Any], RowMaker[Any]] = dict_row
    keeps_plan: bool = False

    @property
    def prepare(self) -> bool | None:
        """What psycopg is told: never, or as the connection is set."""
        return None if self.keeps_plan else False


Plan: TypeAlias = "Generator[Question, list[Any], T]"
"""Statements to run one after another, and the answer made of their rows."""


def keep_plans(connection: psycopg.Connection[Any]) -> None:
    """Let a direct connection plan once what `keeps_plan`; not through a transaction pooler."""
    connection.prepare_threshold = 0
    connection.execute(_SQL["keep_plans"])


async def akeep_plans(connection: psycopg.AsyncConnection[Any]) -> None:
    """As `keep_plans`, on an async connection."""
    connection.prepare_threshold = 0
    await connection.execute(_SQL["keep_plans"])


def ask(connection: psycopg.Connection[Any], plan: Plan[T]) -> T:
    """Carry out a plan; its answer is of one moment if the connection is `database.reading`'s.

    Raises:
        LedgerError: whatever the database says.
    """
    asked = _Asked(plan)
    try:
        while question := asked.question:
            show(connection, question.statement, question.values)
            with _cursor(connection, question) as cursor:
                cursor.execute(question.statement, question.values, prepare=question.prepare)
                asked.hear(cursor.fetchall())
    except psycopg.Error as error:
        raise explain(error) from None
    return asked.answer()


async def aask(connection: psycopg.AsyncConnection[Any], plan: Plan[T]) -> T:
    """As `ask`, on an async connection."""
    asked = _Asked(plan)
    try:
        while question := asked.question:
            show(connection, question.statement, question.values)
            async with _async_cursor(connection, question) as cursor:
                await cursor.execute(question.statement, question.values, prepare=question.prepare)
                asked.hear(await cursor.fetchall())
    except psycopg.Error as error:
        raise explain(error) from None
    return asked.answer()


def _cursor(connection: psycopg.Connection[Any], question: Question) -> psycopg.Cursor[Any]:
    kind: type[psycopg.Cursor[Any]] = psycopg.Cursor
    if _must_plan_anew(connection, question):
        kind = psycopg.ClientCursor
    return kind(connection, row_factory=question.row_factory)


def _async_cursor(
    connection: psycopg.AsyncConnection[Any], question: Question
) -> psycopg.AsyncCursor[Any]:
    kind: type[psycopg.AsyncCursor[Any]] = psycopg.AsyncCursor
    if _must_plan_anew(connection, question):
        kind = psycopg.AsyncClientCursor
    return kind(connection, row_factory=question.row_factory)


def _must_plan_anew(connection: psycopg.BaseConnection[Any], question: Question) -> bool:
    """Whether the values must stand in the statement: beside it they would not be planned for.

    `force_generic_plan` holds for every statement with parameters, prepared or not (PostgreSQL 18,
    `choose_custom_plan` of plancache.c; seen 2026-11-26).
    """
    return not question.keeps_plan and connection.prepare_threshold == 0


class _Asked(Generic[T]):
    """A plan on its way: the next question, until there is an answer."""

    def __init__(self, plan: Plan[T]) -> None:
        self._plan = plan
        self._answers: list[T] = []
        self.question: Question | None = None
        self._go_on(None)

    def hear(self, rows: list[Any]) -> None:
        """What the question brought."""
        self._go_on(rows)

    def answer(self) -> T:
        """What the plan returned, once there is no question left."""
        return self._answers[0]

    def _go_on(self, rows: list[Any] | None) -> None:
        try:
            self.question = next(self._plan) if rows is None else self._plan.send(rows)
        except StopIteration as done:
            self.question = None
            self._answers.append(done.value)
