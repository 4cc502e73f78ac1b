"""Compares the sums of budgets with the calls, and corrects them.

The commit of a call charges its budgets. What changes a cost later - a duplicate that is removed, a
new price, a purge - reaches them here. An account is locked while its calls are summed: a commit is
either in the sum, or waits and adds itself afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tokenledger_exporter.db.dimensions import group, narrowed
from tokenledger_exporter.domain.budget import TRACE, budget_of
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    import psycopg

    from tokenledger_exporter.domain.budget import Budget

_SQL: Final = statements("budgets")
# Values such as sessions are many; those without calls for this long are not compared again.
_QUIET: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Recount:
    """What was corrected.

    Args:
        budgets: budgets that were compared.
        accounts: sums that differed.
        wrong_usd: by how much they differed in all, in US dollars.
    """

    budgets: int = 0
    accounts: int = 0
    wrong_usd: Decimal = Decimal(0)


def may_recount(connection: psycopg.Connection[Any]) -> bool:
    """Whether this user may correct the sums."""
    row = connection.execute(_SQL["may_recount"]).fetchone()
    return bool(row and row[0])


def recount_due(connection: psycopg.Connection[Any]) -> Recount:
    """Compare the budgets that were not compared for some minutes, each in a transaction."""
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        budgets = [budget_of(row) for row in cursor.execute(_SQL["due"])]
        connection.execute(_SQL["drop_old_holds"])
    results = [recount(connection, budget) for budget in budgets]
    return Recount(
        len(results),
        sum(result.accounts for result in results),
        sum((result.wrong_usd for result in results), start=Decimal(0)),
    )


def recount(
    connection: psycopg.Connection[Any], budget: Budget, *, is_new: bool = False
) -> Recount:
    """Compare one budget's current period with its calls.

    Args:
        connection: the ledger, with no transaction open.
        budget: the budget.
        is_new: compare every value of its dimension, not only those with calls of the last day.
    """
    where, values = narrowed(budget.filters)
    value = _value(budget)
    braces = {
        "value": value,
        "has_value": sql.SQL("{} <> ''").format(value) if budget.each else sql.SQL("true"),
        "where": where,
        "moment": sql.SQL("timestamp")
        if budget.period == "rolling"
        else sql.SQL("%(since)s::timestamptz"),
    }
    with connection.transaction():
        [(since, until)] = connection.execute(
            _SQL["window"], {"budget_id": budget.budget_id}
        ).fetchall() or [(None, None)]
        if since is None:
            return Recount()
        values |= {
            "budget_id": budget.budget_id,
            "since": since,
            "until": until,
            "period": budget.period,
            "timezone": budget.timezone,
            "charged_since": None,
            "filters": Jsonb({name: list(allowed) for name, allowed in budget.filters.items()}),
            "each": budget.each,
            "days": budget.days,
        }
        connection.execute(sql.SQL(_SQL["add_accounts"]).format(**braces), values)
    with connection.transaction():
        # First, because a change of the budget locks it before its sums.
        if not connection.execute(_SQL["note_recount"], values).rowcount:
            return Recount()
        if budget.each and not is_new:
            [(now,)] = connection.execute("SELECT now()").fetchall()
            values["charged_since"] = now - _QUIET
        connection.execute(_SQL["lock_accounts"], values)
        [(accounts, wrong_usd)] = connection.execute(
            sql.SQL(_SQL["recount"]).format(**braces), values
        ).fetchall()
    return Recount(1, accounts, wrong_usd)


def _value(budget: Budget) -> sql.Composable:
    """The value of a budget's dimension as SQL."""
    if not budget.each:
        return sql.SQL("''::text")
    return sql.SQL("trace_id") if budget.each == TRACE else group(budget.each)
