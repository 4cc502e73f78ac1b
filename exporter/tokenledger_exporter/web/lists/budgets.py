"""Budgets, their changes and their refusals, as pages and endpoints share them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.budgets.budgets import MAX_ROWS
from tokenledger_exporter.budgets.definition import period_text
from tokenledger_exporter.budgets.reading import read_accounts
from tokenledger_exporter.db.dimensions import filter_text
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.web.ledger_parameters import limit_parameter
from tokenledger_exporter.web.parameters import NotFoundError, Parameter

if TYPE_CHECKING:
    import psycopg

    from tokenledger_exporter.budgets.reading import Account

BUDGET: Final = Parameter("budget", "Name of one budget.")
BUDGET_PARAMETERS: Final = (BUDGET, limit_parameter(100, MAX_ROWS))
ACCOUNT_COLUMNS: Final = (
    *("budget", "value", "filters", "period", "state", "action", "limit_usd", "spent_usd"),
    *("unconfirmed_usd", "reserved_usd", "left_usd", "calls", "unpriced_calls"),
    *("unreserved_calls", "unreserved_usd", "starts_at", "resets_at"),
)
REFUSAL_COLUMNS: Final = (
    *("budget", "value", "app_name", "reason", "refused_calls", "needed_usd"),
    *("first_at", "last_at"),
)
CHANGE_COLUMNS: Final = ("recorded_at", "changed_by", "budget", "action", "definition")


def find_accounts(connection: psycopg.Connection[Any], values: dict[str, Any]) -> list[Account]:
    """The accounts that a request asks for.

    Raises:
        NotFoundError: there is no such budget.
    """
    try:
        return read_accounts(connection, values["budget"], values["limit"])
    except InvalidRequestError as error:
        raise NotFoundError("budget", str(error)) from None


def account_row(account: Account) -> dict[str, Any]:
    """An account by column."""
    budget = account.budget
    words = {
        "filters": filter_text(budget.filters),
        "period": period_text(budget),
        "state": account.state,
    }
    return {
        name: words[name] if name in words else getattr(account.status, name)
        for name in ACCOUNT_COLUMNS
    }
