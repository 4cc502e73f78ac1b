"""Sets, lists, pauses and deletes budgets, and reads what is spent, reserved and left.

The same from SQL: `token_ledger_budgets` is a table that may be written, and
`token_ledger_budget_status` is a view.
"""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from psycopg.types.json import Jsonb

from tokenledger_exporter.budgets import definition
from tokenledger_exporter.budgets.reading import (
    find_budget,
    read_accounts,
    read_history,
    read_refusals,
    read_unconfirmed,
)
from tokenledger_exporter.db.connection import session
from tokenledger_exporter.domain.budget import Budget
from tokenledger_exporter.domain.names import read_name
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.sql import statements
from tokenledger_exporter.store.budget_charges import read_budgets, release
from tokenledger_exporter.store.budget_recount import recount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import psycopg

    from tokenledger_exporter.budgets.results import (
        BudgetChange,
        BudgetStatus,
        Refusals,
        Unconfirmed,
    )

_SQL: Final = statements("budgets")
_BARRIER_SECONDS: Final = 5.0
_BARRIER_PAUSE: Final = 0.02
MAX_ROWS: Final = 10_000
"""The most accounts, changes or refusals of one answer."""


def set_budget(  # noqa: PLR0913 - one keyword per option
    database_url: str,
    name: str,
    *,
    limit: str | Decimal | int | None = None,
    where: Mapping[str, str | Sequence[str]] | None = None,
    each: str | None = None,
    per: str | None = None,
    timezone: str | None = None,
    action: str | None = None,
    warn: str | Sequence[int] | None = None,
    unpriced: str | None = None,
    on_outage: str | None = None,
) -> Budget:
    """Create a budget, or change what is given of an existing one. Apps follow within 5 seconds.

    Args:
        database_url: the ledger, as its owner or keeper.
        name: its name.
        limit: what may be spent per period, in US dollars: text, int or Decimal.
        where: dimension -> value or values; all dimensions must match. `{}` is every call.
        each: dimension that has one limit per value, such as `user`; "" for one limit in all.
        per: hour, day, week, month, total, a number of days such as `30d`, or session, run or
            trace for one limit per value, without end. Default: month.
        timezone: IANA name of the zone in which periods start. Default: UTC.
        action: block or alert. Default: block.
        warn: percentages of the limit that are reported, such as `50,80,100`.
        unpriced: allow, refuse or estimate calls without a price. Default: allow.
        on_outage: allow or refuse calls while the database cannot be reached. Default: allow.

    Raises:
        InvalidRequestError: an argument is invalid, or a new budget has no limit.
        LedgerError: the database reported an error; nothing was changed.
    """
    read_name("budget", name)
    limit_usd = None if limit is None else definition.read_limit(limit)
    with session(database_url) as connection:
        with connection.transaction():
            connection.execute(_SQL["lock_budget"], {"name": name})
            before = next((b for b in read_budgets(connection) if b.name == name), None)
            if before is None and limit_usd is None:
                raise InvalidRequestError(
                    f"budget {name!r} is new and needs a limit, such as --limit 500"
                )
            after = definition.changed(
                before or Budget(name=name, limit_usd=Decimal(1)),
                limit=limit_usd,
                where=where,
                each=each,
                per=per,
                timezone=timezone,
                action=action,
                warn=warn,
                unpriced=unpriced,
                on_outage=on_outage,
            )
            connection.execute(_SQL["set"], _values(after))
            [(transaction,)] = connection.execute(_SQL["transaction"]).fetchall()
        _wait_for_older_writers(connection, transaction)
        stored = find_budget(connection, name)
        recount(connection, stored, is_new=True)
    return stored


def list_budgets(database_url: str) -> list[Budget]:
    """Every budget, by name."""
    with session(database_url) as connection:
        return list(read_budgets(connection))


def show_budget(database_url: str, name: str) -> Budget:
    """One budget.

    Raises:
        InvalidRequestError: there is no such budget.
    """
    with session(database_url) as connection:
        return find_budget(connection, name)


def pause_budget(database_url: str, name: str, *, is_paused: bool = True) -> Budget:
    """Pause a budget, or resume it; it goes on counting.

    Raises:
        InvalidRequestError: there is no such budget.
    """
    with session(database_url) as connection, connection.transaction():
        find_budget(connection, name)
        connection.execute(_SQL["pause"], {"name": name, "is_paused": is_paused})
        return find_budget(connection, name)


def delete_budget(database_url: str, name: str) -> None:
    """Delete a budget and its sums; its history and its refusals stay.

    Raises:
        InvalidRequestError: there is no such budget.
    """
    with session(database_url) as connection, connection.transaction():
        find_budget(connection, name)
        connection.execute(_SQL["delete"], {"name": name})


def budget_status(
    database_url: str, name: str | None = None, *, value: str | None = None, limit: int = 100
) -> list[BudgetStatus]:
    """The accounts of one budget, or of all, those with the smallest share left first.

    Args:
        database_url: the ledger.
        name: a budget; `None` is every one.
        value: a value of its dimension; `None` is every one.
        limit: the most accounts, 1 to 10,000.

    Raises:
        InvalidRequestError: there is no such budget, or the limit is out of range.
    """
    with session(database_url) as connection:
        accounts = read_accounts(connection, name, _checked(limit), value=value)
    return [account.status for account in accounts]


def budget_history(
    database_url: str, name: str | None = None, *, limit: int = 100
) -> list[BudgetChange]:
    """The changes of one budget, or of all, newest first; also those of deleted budgets."""
    with session(database_url) as connection:
        return read_history(connection, name, _checked(limit))


def refusals(
    database_url: str,
    since: datetime,
    until: datetime,
    name: str | None = None,
    *,
    limit: int = 100,
) -> list[Refusals]:
    """The calls that budgets refused in a period, most calls first."""
    with session(database_url) as connection:
        return read_refusals(connection, since, until, name, _checked(limit))


def unconfirmed(
    database_url: str, name: str | None = None, *, limit: int = 100
) -> list[Unconfirmed]:
    """What dead processes may have spent, newest first."""
    with session(database_url) as connection:
        return read_unconfirmed(connection, name, _checked(limit))


def release_unconfirmed(database_url: str, name: str) -> list[Unconfirmed]:
    """Free what dead processes may have spent of a budget: the operator knows that they did not.

    Returns:
        What was freed. A process's reservations in other budgets are freed, too.

    Raises:
        InvalidRequestError: there is no such budget.
    """
    freed = unconfirmed(database_url, name, limit=MAX_ROWS)
    with session(database_url) as connection, connection.transaction():
        for holder in {each.holder for each in freed}:
            release(connection, holder)
        if freed:
            connection.execute(_SQL["note_release"], {"name": name, "holds": len(freed)})
    return freed


def _values(budget: Budget) -> dict[str, object]:
    return {
        "name": budget.name,
        "filters": Jsonb({name: list(values) for name, values in budget.filters.items()}),
        "each": budget.each,
        "limit_usd": budget.limit_usd,
        "period": budget.period,
        "days": budget.days,
        "timezone": budget.timezone,
        "action": budget.action,
        "warn_percents": list(budget.warn_percents),
        "unpriced": budget.unpriced,
        "on_outage": budget.on_outage,
    }


def _wait_for_older_writers(connection: psycopg.Connection[Any], transaction: str) -> None:
    """Wait until every transaction that may not know the budget has ended, for a few seconds.

    The calls of a longer one are added by the next recount.
    """
    deadline = time.monotonic() + _BARRIER_SECONDS
    while time.monotonic() < deadline:
        with connection.transaction():
            [(is_over,)] = connection.execute(
                _SQL["older_are_over"], {"transaction": transaction}
            ).fetchall()
        if is_over:
            return
        time.sleep(_BARRIER_PAUSE)


def _checked(limit: int) -> int:
    if not 1 <= limit <= MAX_ROWS:
        raise InvalidRequestError(f"limit must be 1 to {MAX_ROWS:,}, not {limit}")
    return limit
