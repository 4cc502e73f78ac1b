"""The endpoints of budgets, their changes and their refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.budgets.budgets import MAX_ROWS
from tokenledger_exporter.budgets.reading import HIDDEN, are_hidden, read_history, read_refusals
from tokenledger_exporter.render.documents import record
from tokenledger_exporter.web.api import schemas
from tokenledger_exporter.web.api.endpoint import Endpoint
from tokenledger_exporter.web.ledger_parameters import limit_parameter, period_parameters
from tokenledger_exporter.web.lists.budgets import (
    ACCOUNT_COLUMNS,
    BUDGET_PARAMETERS,
    CHANGE_COLUMNS,
    REFUSAL_COLUMNS,
    account_row,
    find_accounts,
)
from tokenledger_exporter.web.request_values import period

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenledger_exporter.render.documents import Document
    from tokenledger_exporter.web.api.endpoint import Connection

# A period without its filters.
_PERIOD: Final = period_parameters("7d")[:-1]


def _document(connection: Connection, name: str, rows: Sequence[dict[str, Any]]) -> Document:
    note = HIDDEN if are_hidden(connection) else None
    return {name: [record(row) for row in rows], "note": note}


def _budgets(connection: Connection, values: dict[str, Any]) -> Document:
    accounts = [] if are_hidden(connection) else find_accounts(connection, values)
    return _document(connection, "budgets", [account_row(account) for account in accounts])


def _history(connection: Connection, values: dict[str, Any]) -> Document:
    changes = read_history(connection, values["name"], values["limit"])
    return _document(connection, "changes", _columns(CHANGE_COLUMNS, changes))


def _refusals(connection: Connection, values: dict[str, Any]) -> Document:
    name, limit = values["budget"], values["limit"]
    refusals = read_refusals(connection, *period(values), name, limit)
    return _document(connection, "refusals", _columns(REFUSAL_COLUMNS, refusals))


def _columns(columns: Sequence[str], rows: Sequence[object]) -> list[dict[str, Any]]:
    return [{name: getattr(row, name) for name in columns} for row in rows]


BUDGET_ENDPOINTS: Final = (
    Endpoint(
        "/budgets",
        "budgets",
        "What is spent, reserved and left of each budget, the smallest share left first",
        BUDGET_PARAMETERS,
        _budgets,
        schemas.of_budgets("budgets", ACCOUNT_COLUMNS),
    ),
    Endpoint(
        "/budgets/{name}/history",
        "budget_history",
        "The changes of one budget, newest first; also of one that was deleted",
        (limit_parameter(100, MAX_ROWS),),
        _history,
        schemas.of_budgets("changes", CHANGE_COLUMNS),
    ),
    Endpoint(
        "/refusals",
        "refusals",
        "The calls that budgets refused, most calls first; they are not in the ledger",
        (*_PERIOD, *BUDGET_PARAMETERS),
        _refusals,
        schemas.of_budgets("refusals", REFUSAL_COLUMNS),
    ),
)
"""`/budgets`, `/budgets/{name}/history` and `/refusals`."""
