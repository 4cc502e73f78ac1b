"""A budget: what may be spent per period, on which calls, and what happens at the limit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

PERIODS: Final = ("hour", "day", "week", "month", "rolling", "total")
"""How often a budget starts at 0; `rolling` is the last days, `total` never starts again."""

ACTIONS: Final = ("block", "alert")
"""`block` refuses calls that have no room; `alert` only reports."""

UNPRICED: Final = ("allow", "refuse", "estimate")
"""What a call without a price counts as: 0, not allowed, or the average of the priced calls."""

ON_OUTAGE: Final = ("allow", "refuse")
"""What apps do with calls while they cannot reach the database."""

REMEDIES: Final = {
    "limit": "raise it with 'tokenledger budget set {budget} --limit ...'",
    "unpriced": "add a price with 'tokenledger prices set', or run "
    "'tokenledger budget set {budget} --unpriced allow'",
}
"""Reason of a refusal -> how to let such calls through, as a clause without a period."""

TRACE: Final = "trace"
"""The dimension of budgets only that has one value per trace: one run of an agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One row of `token_ledger_budgets`.

    Args:
        name: its name: letters, digits, dots, dashes and underscores.
        limit_usd: what may be spent per period, in US dollars.
        filters: dimension -> values; a call matches if each dimension has one of its values.
        each: dimension that has one limit per value; "" for one limit in all. Calls without a value
            have no limit.
        period: one of `PERIODS`.
        days: for a rolling period, how many days, today included.
        timezone: IANA name of the time zone in which periods start.
        action: one of `ACTIONS`.
        warn_percents: shares of the limit that are reported when they are reached.
        unpriced: one of `UNPRICED`.
        on_outage: one of `ON_OUTAGE`.
        is_paused: whether it counts without refusing or reporting.
        budget_id: its id in the database; 0 before it is stored.
    """

    name: str
    limit_usd: Decimal
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, "tuple[str, ...]"])
    each: str = ""
    period: str = "month"
    days: int | None = None
    timezone: str = "UTC"
    action: str = "block"
    warn_percents: tuple[int, ...] = ()
    unpriced: str = "allow"
    on_outage: str = "allow"
    is_paused: bool = False
    budget_id: int = 0

    @property
    def may_refuse(self) -> bool:
        """Whether it refuses calls at its limit."""
        return self.action == "block" and not self.is_paused

    @property
    def dimensions(self) -> frozenset[str]:
        """The dimensions that decide whether a call matches, and which account it is in."""
        return frozenset((*self.filters, self.each)) - {""}

    def account_of(self, value_of: Callable[[str], str]) -> str | None:
        """The value of `each` of a call; "" without one, and `None` if the call does not match.

        Args:
            value_of: dimension -> the call's value, "" if it has none.
        """
        for dimension, allowed in self.filters.items():
            if value_of(dimension) not in allowed:
                return None
        if not self.each:
            return ""
        return value_of(self.each) or None


def budget_of(row: Mapping[str, Any]) -> Budget:
    """A budget from its row."""
    return Budget(
        budget_id=row["budget_id"],
        name=row["name"],
        limit_usd=row["limit_usd"],
        filters={name: tuple(values) for name, values in sorted(row["filters"].items())},
        each=row["each"],
        period=row["period"],
        days=row["days"],
        timezone=row["timezone"],
        action=row["action"],
        warn_percents=tuple(row["warn_percents"]),
        unpriced=row["unpriced"],
        on_outage=row["on_outage"],
        is_paused=row["is_paused"],
    )
