"""Budgets: what is spent, reserved and left, and what they refused."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenledger_exporter.budgets.definition import period_text
from tokenledger_exporter.budgets.reading import HIDDEN, are_hidden, read_history, read_refusals
from tokenledger_exporter.db.dimensions import filter_text
from tokenledger_exporter.db.shown_sql import collect_sql
from tokenledger_exporter.domain.time_expressions import days_before, until_now
from tokenledger_exporter.web.lists.budgets import (
    ACCOUNT_COLUMNS,
    BUDGET,
    BUDGET_PARAMETERS,
    account_row,
    find_accounts,
)
from tokenledger_exporter.web.pages.listing import CSV, changed, csv_of, path_of, view_of
from tokenledger_exporter.web.pages.page import Page
from tokenledger_exporter.web.pages.template import html
from tokenledger_exporter.web.pages.view import VIEW_PARAMETERS, link

if TYPE_CHECKING:
    from tokenledger_exporter.budgets.reading import Account
    from tokenledger_exporter.web.pages.page import Connection
    from tokenledger_exporter.web.pages.view import View

_PATH: Final = "/budgets"
_DAYS: Final = 7
_ROWS: Final = 50
_AMOUNTS: Final = ("spent", "unconfirmed", "reserved")


class _Line(NamedTuple):
    """One account as the page shows it."""

    account: Account
    scope: str
    segments: list[tuple[str, str, str]]
    target: str


def _budgets(connection: Connection, values: dict[str, Any]) -> str:
    view = view_of(_PATH, values, BUDGET_PARAMETERS)
    until = until_now()
    with collect_sql() as statements:
        is_hidden = are_hidden(connection)
        accounts = find_accounts(connection, values) if not is_hidden else []
        name = values["budget"]
        refusals = read_refusals(connection, days_before(until, _DAYS), until, name, _ROWS)
        changes = read_history(connection, name, _ROWS)
    own_values = changed(values, BUDGET_PARAMETERS)
    return html(
        "budgets",
        "budgets",
        view,
        values=values,
        why_hidden=HIDDEN if is_hidden else "",
        lines=[_line(view, account) for account in accounts],
        is_cut=len(accounts) == values["limit"],
        refusals=refusals,
        changes=changes,
        statements=statements,
        files=(link("/budgets.csv", own_values), link("/api/v1/budgets", own_values)),
    )


def _line(view: View, account: Account) -> _Line:
    budget = account.budget
    scope = f"{filter_text(budget.filters)}, {period_text(budget)}"
    return _Line(account, scope, _segments(account), _target(view, account))


def _segments(account: Account) -> list[tuple[str, str, str]]:
    """The parts of the bar: kind, start and width in percent of the limit, or of what is used."""
    status = account.status
    amounts = [(kind, getattr(status, f"{kind}_usd")) for kind in _AMOUNTS]
    whole = max(status.limit_usd, sum((usd for _, usd in amounts), Decimal(0)))
    start = Decimal(0)
    segments: list[tuple[str, str, str]] = []
    for kind, usd in amounts:
        width = usd * 100 / whole
        if width > 0:
            segments.append((kind, f"{start:.2f}", f"{width:.2f}"))
        start += width
    return segments


def _target(view: View, account: Account) -> str:
    """The address of the account's calls: their cost in Explore, or the run itself."""
    if account.trace_id:
        return view.link(path_of("/runs", account.trace_id), where=[])
    period = {"since": account.status.starts_at.isoformat(), "until": None, "month": None}
    if account.budget.period == "total":
        period["since"] = (until_now() - timedelta(days=365)).isoformat()
    return view.link(
        "/explore", **period, timezone=account.budget.timezone, where=list(account.filters)
    )


def _csv(connection: Connection, values: dict[str, Any]) -> str:
    accounts = [] if are_hidden(connection) else find_accounts(connection, values)
    return csv_of(ACCOUNT_COLUMNS, [account_row(account) for account in accounts])


BUDGETS: Final = (
    Page(_PATH, (*VIEW_PARAMETERS, *BUDGET_PARAMETERS), _budgets),
    Page("/budgets.csv", (BUDGET, *BUDGET_PARAMETERS[1:]), _csv, CSV),
)
"""The page, and its accounts as CSV."""
