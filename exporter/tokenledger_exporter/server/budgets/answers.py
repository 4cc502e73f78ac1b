"""The database's rows as the answers that clients get."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.domain.budget import REMEDIES
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.server.budgets.messages import (
    BudgetState,
    Refused,
    RefusingBudget,
    Reservation,
    ReservedBudget,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Row = Mapping[str, Any]

_ZERO: Final = Decimal(0)
# The gRPC code RESOURCE_EXHAUSTED, as the service's other refusals have one.
_CODE: Final = 8
_HIDDEN: Final = "ask the operator of the ledger: the budget is not of your organization alone"


def reservation(reservation_id: str, rows: Sequence[Row]) -> Reservation:
    """The answer to a call that has room; only budgets that the client may see are listed."""
    return Reservation(
        reservation_id=reservation_id,
        reserved_usd=plain_usd(max((row["granted_usd"] for row in rows), default=_ZERO)),
        budgets=[
            ReservedBudget(
                budget=row["budget"],
                value=row["value"],
                limit_usd=plain_usd(row["limit_usd"]),
                spent_usd=plain_usd(row["spent_usd"]),
                reserved_usd=plain_usd(row["reserved_usd"] + row["granted_usd"]),
                resets_at=row["resets_at"],
            )
            for row in rows
            if row["is_visible"]
        ],
        expires_at=rows[0]["expires_at"] if rows else None,
    )


def refused(rows: Sequence[Row]) -> Refused:
    """The answer to a call that has no room."""
    budgets = [_refusing(row) for row in rows]
    names = [budget.budget or "a budget of the ledger" for budget in budgets]
    return Refused(
        code=_CODE,
        message=f"the call must not be sent: no room in {', '.join(dict.fromkeys(names))}; "
        + "; ".join(dict.fromkeys(budget.remedy for budget in budgets)),
        budgets=budgets,
    )


def state(row: Row) -> BudgetState:
    """One account of a budget."""
    fields: dict[str, Any] = {
        name: plain_usd(row[name]) if name.endswith("_usd") else row[name]
        for name in BudgetState.__struct_fields__
    }
    return BudgetState(**fields)


def _refusing(row: Row) -> RefusingBudget:
    is_visible = row["is_visible"]
    amounts = {
        name: plain_usd(row[name]) if is_visible else None
        for name in ("limit_usd", "spent_usd", "reserved_usd")
    }
    return RefusingBudget(
        budget=row["budget"] if is_visible else None,
        value=row["value"] if is_visible else None,
        reason=row["reason"],
        needed_usd=plain_usd(row["needed_usd"]),
        resets_at=row["resets_at"] if is_visible else None,
        remedy=REMEDIES[row["reason"]].format(budget=row["budget"]) if is_visible else _HIDDEN,
        **amounts,
    )
