"""Tools about budgets: list them, how much is left, and whether a call would have room."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger_exporter.budgets.definition import (
    period_text,
    read_each,
    sentence,
)
from tokenledger_exporter.budgets.reading import (
    HIDDEN,
    are_hidden,
    read_accounts,
    read_definitions,
    read_room,
)
from tokenledger_exporter.db.dimensions import filter_text
from tokenledger_exporter.domain.coverage import Coverage
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.mcp_server.answer import Answer
from tokenledger_exporter.mcp_server.arguments import Argument, ArgumentError, limit_argument
from tokenledger_exporter.mcp_server.tools.tool import LedgerTool
from tokenledger_exporter.render.documents import record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.budgets.reading import Account
    from tokenledger_exporter.mcp_server.tools.tool import Connection

_MAX_USD: Final = Decimal(10) ** 12
_NARROW: Final = "name one budget in 'budget', or raise 'limit'"


def _list_budgets(connection: Connection, _values: Mapping[str, Any]) -> Answer:
    is_hidden = are_hidden(connection)
    budgets = [
        {
            "budget": budget.name,
            "limit_usd": budget.limit_usd,
            "calls": filter_text(budget.filters),
            "period": period_text(budget),
            "sentence": sentence(budget),
        }
        for budget in read_definitions(connection)
    ]
    return _answer("budgets", [record(each) for each in budgets], [], is_hidden=is_hidden)


def _budget_status(connection: Connection, values: Mapping[str, Any]) -> Answer:
    is_hidden = are_hidden(connection)
    accounts: list[Account] = []
    if not is_hidden:
        try:
            accounts = read_accounts(connection, values["budget"], values["limit"] + 1)
        except InvalidRequestError as error:
            raise ArgumentError("budget", str(error)) from None
    shown = accounts[: values["limit"]]
    rows = [record({**asdict(each.status), "state": each.state}) for each in shown]
    is_cut = len(accounts) > len(shown)
    return _answer("accounts", rows, shown, is_hidden=is_hidden, is_cut=is_cut)


def _may_i_spend(connection: Connection, values: Mapping[str, Any]) -> Answer:
    is_hidden = are_hidden(connection)
    dimensions, usd = _dimensions(values["dimensions"]), _usd(values["estimate_usd"])
    rooms = read_room(connection, dimensions, usd)
    answer = _answer("budgets", [record(asdict(room)) for room in rooms], [], is_hidden=is_hidden)
    may_spend = None if is_hidden else all(room.has_room for room in rooms)
    answer.data["may_spend"] = may_spend
    answer.data["estimate_usd"] = values["estimate_usd"]
    return answer


def _answer(
    name: str,
    rows: list[dict[str, Any]],
    accounts: list[Account],
    *,
    is_hidden: bool,
    is_cut: bool = False,
) -> Answer:
    """The answer about now, with the coverage of the accounts."""
    now = datetime.now(timezone.utc)
    unpriced = sum(each.status.unpriced_calls for each in accounts)
    calls = sum(each.status.calls for each in accounts)
    return Answer(
        data={name: rows},
        coverage=Coverage(priced=calls - unpriced, unpriced=unpriced).sentence,
        entries=name,
        since=min((each.status.starts_at for each in accounts), default=now),
        until=now,
        is_cut=is_cut,
        notes=(HIDDEN,) if is_hidden else (),
        narrow=_NARROW,
    )


def _dimensions(values: object) -> dict[str, str]:
    dimensions: dict[str, str] = {}
    for spelling, value in cast("dict[str, object]", values or {}).items():
        try:
            name = read_each(spelling)
        except InvalidRequestError as error:
            raise ArgumentError("dimensions", str(error)) from None
        if not isinstance(value, str):
            raise ArgumentError("dimensions", f"{spelling!r} must be one text")
        dimensions[name] = value
    return dimensions


def _usd(text: str) -> Decimal:
    try:
        usd = Decimal(text)
    except InvalidOperation:
        usd = Decimal("NaN")
    if not (usd.is_finite() and 0 <= usd < _MAX_USD):
        raise ArgumentError("estimate_usd", f"invalid {text!r:.100}: use US dollars, such as 0.02")
    return usd


BUDGET_TOOLS: Final = (
    LedgerTool(
        "list_budgets",
        "List budgets",
        "Every budget: which calls it limits, how much per period, and what happens at the limit.",
        (),
        _list_budgets,
    ),
    LedgerTool(
        "budget_status",
        "Budget status",
        "What is spent, unconfirmed, reserved and left of each budget in its current period, when "
        "it resets, and how many of its calls have no known cost or were not reserved before. The "
        "smallest share left comes first.",
        (Argument("budget", "Name of one budget."), limit_argument(50, 500, "accounts")),
        _budget_status,
    ),
    LedgerTool(
        "may_i_spend",
        "May I spend",
        "Whether every budget that matches a call has room for it now, and which has not. It "
        "reserves nothing: another call may take the room before yours.",
        (
            Argument(
                "estimate_usd",
                "What the call may cost in US dollars, as text such as 0.02.",
                is_required=True,
            ),
            Argument(
                "dimensions",
                'Whose call it is: dimension to value, such as {"team": "ml", "user": "ada"}.',
                "object",
            ),
        ),
        _may_i_spend,
    ),
)
"""Tools about budgets."""
