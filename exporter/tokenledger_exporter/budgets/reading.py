"""Reads budgets for pages, the API and agents, over an open connection that only reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row, dict_row

from tokenledger_exporter.budgets.results import (
    BudgetChange,
    BudgetStatus,
    Refusals,
    Unconfirmed,
)
from tokenledger_exporter.db.shown_sql import show
from tokenledger_exporter.domain.budget import REMEDIES, TRACE
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.sql import statements
from tokenledger_exporter.store.budget_charges import read_budgets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal
    from typing import TypeAlias

    import psycopg

    from tokenledger_exporter.domain.budget import Budget

    Connection: TypeAlias = psycopg.Connection[Any]

HIDDEN: Final = (
    "Budgets may count the calls of several organizations, so they are not shown to a reader that "
    "is bound to one. The operator of the ledger sees them, and 'GET /v1/budgets' of 'tokenledger "
    "serve' shows an organization its own."
)
"""Why a reader sees no budget."""

_NEAR_PERCENT: Final = 90
_NO_BUDGET: Final = "no budget is set: run 'tokenledger budget set'"

_SQL: Final = statements("budgets")


@dataclass(frozen=True, slots=True)
class Account:
    """One account of a budget: the budget, and what is spent, reserved and left of it."""

    budget: Budget
    status: BudgetStatus

    @property
    def filters(self) -> tuple[str, ...]:
        """Its calls as filters, like `team=ml`; a trace is not among them."""
        budget, status = self.budget, self.status
        pairs = [(name, value) for name, values in budget.filters.items() for value in values]
        if budget.each not in {"", TRACE}:
            pairs.append((budget.each, status.value))
        return tuple(f"{name}={value}" for name, value in pairs)

    @property
    def trace_id(self) -> str:
        """The trace of a budget per trace; "" for any other."""
        return self.status.value if self.budget.each == TRACE else ""

    @property
    def state(self) -> str:
        """`paused`, `over`, `warned` (a warning's share, or 90 %, is reached) or `ok`."""
        budget, status = self.budget, self.status
        if status.is_paused:
            return "paused"
        if status.left_usd <= 0:
            return "over"
        first_warning = min((*budget.warn_percents, _NEAR_PERCENT))
        return "warned" if status.used_percent >= first_warning else "ok"


@dataclass(frozen=True, slots=True)
class Room:
    """What one budget says about a call that is not sent yet; amounts in US dollars.

    Args:
        budget: name of the budget.
        value: value of its dimension; "" without one.
        has_room: whether the call may be sent, for this budget.
        reason: why not: `limit` or `unpriced`; "" if it may.
        limit_usd: the limit.
        spent_usd: spent and unconfirmed.
        reserved_usd: reserved by calls in flight.
        needed_usd: what the call counts as.
        resets_at: end of the period; `None` is never.
        remedy: how to let it through; "" if it may.
    """

    budget: str
    value: str
    has_room: bool
    reason: str
    limit_usd: Decimal
    spent_usd: Decimal
    reserved_usd: Decimal
    needed_usd: Decimal
    resets_at: datetime | None
    remedy: str


def are_hidden(connection: Connection) -> bool:
    """Whether the reader is bound to organizations and so sees no budget."""
    show(connection, _SQL["are_hidden"], {})
    row = connection.execute(_SQL["are_hidden"]).fetchone()
    return row is not None and bool(row[0])


def read_definitions(connection: Connection) -> list[Budget]:
    """Every budget, by name."""
    show(connection, _SQL["budgets"], {})
    return list(read_budgets(connection))


def find_budget(connection: Connection, name: str) -> Budget:
    """One budget.

    Raises:
        InvalidRequestError: there is no such budget.
    """
    budgets = {budget.name: budget for budget in read_budgets(connection)}
    if name not in budgets:
        known = f"use one of {', '.join(budgets)}" if budgets else _NO_BUDGET
        raise InvalidRequestError(f"unknown budget {name!r}; {known}")
    return budgets[name]


def read_accounts(
    connection: Connection,
    name: str | None = None,
    limit: int = 100,
    *,
    value: str | None = None,
) -> list[Account]:
    """The accounts of one budget, or of all, the smallest share left first.

    Args:
        connection: the ledger.
        name: a budget; `None` is every one.
        limit: the most accounts.
        value: a value of the budget's dimension; `None` is every one.

    Raises:
        InvalidRequestError: there is no such budget.
    """
    named = read_budgets(connection) if name is None else [find_budget(connection, name)]
    budgets = {budget.name: budget for budget in named}
    values = {"name": name, "value": value, "limit": limit}
    show(connection, _SQL["status"], values)
    with connection.cursor(row_factory=class_row(BudgetStatus)) as cursor:
        rows = cursor.execute(_SQL["status"], values).fetchall()
    # A budget may have been set between the two statements.
    return [Account(budgets[row.budget], row) for row in rows if row.budget in budgets]


def read_history(
    connection: Connection, name: str | None = None, limit: int = 100
) -> list[BudgetChange]:
    """The changes of one budget, or of all, newest first; also those of deleted budgets."""
    values = {"name": name, "limit": limit}
    show(connection, _SQL["history"], values)
    with connection.cursor(row_factory=class_row(BudgetChange)) as cursor:
        return cursor.execute(_SQL["history"], values).fetchall()


def read_refusals(
    connection: Connection,
    since: datetime,
    until: datetime,
    name: str | None = None,
    limit: int = 100,
) -> list[Refusals]:
    """The calls that budgets refused in a period, most calls first."""
    values = {"since": since, "until": until, "name": name, "limit": limit}
    show(connection, _SQL["refusals"], values)
    with connection.cursor(row_factory=class_row(Refusals)) as cursor:
        return cursor.execute(_SQL["refusals"], values).fetchall()


def read_unconfirmed(
    connection: Connection, name: str | None = None, limit: int = 100
) -> list[Unconfirmed]:
    """What dead processes may have spent, newest first.

    Raises:
        InvalidRequestError: there is no such budget.
    """
    if name is not None:
        find_budget(connection, name)
    with connection.cursor(row_factory=class_row(Unconfirmed)) as cursor:
        return cursor.execute(_SQL["unconfirmed"], {"name": name, "limit": limit}).fetchall()


def read_room(
    connection: Connection, dimensions: Mapping[str, str], usd: Decimal | None
) -> list[Room]:
    """Whether a call would have room in each blocking budget that matches it; reserves nothing.

    Args:
        connection: the ledger.
        dimensions: the call's dimensions by their names.
        usd: what it may cost, in US dollars; `None` without a price.
    """
    accounts = [
        (budget.budget_id, value)
        for budget in read_budgets(connection)
        if budget.may_refuse
        and (value := budget.account_of(lambda name: dimensions.get(name, ""))) is not None
    ]
    values = {
        "usd": usd,
        "budgets": [budget_id for budget_id, _ in accounts],
        "vals": [value for _, value in accounts],
    }
    show(connection, _SQL["room"], values)
    with connection.cursor(row_factory=dict_row) as cursor:
        return [_room(row) for row in cursor.execute(_SQL["room"], values)]


def _room(row: dict[str, Any]) -> Room:
    reason = row["reason"]
    remedy = REMEDIES[reason].format(budget=row["budget"]) if reason else ""
    return Room(**row, has_room=not reason, remedy=remedy)
