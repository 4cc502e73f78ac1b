"""What the functions of `budgets.budgets` return."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_CENTS: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """One account of a budget in its current period; amounts in US dollars.

    Args:
        budget: name of the budget.
        value: value of the dimension that it is split by; "" without one.
        limit_usd: what may be spent.
        spent_usd: known cost of the committed calls.
        unconfirmed_usd: estimates of calls that were sent and whose usage is unknown.
        reserved_usd: reserved by calls in flight and by leases.
        left_usd: what is left; negative if the limit was exceeded.
        calls: committed calls.
        unpriced_calls: those of them without a known cost.
        unreserved_calls: those of them that no app reserved before.
        unreserved_usd: known cost of those.
        starts_at: start of the period.
        resets_at: end of the period; `None` is never.
        period: hour, day, week, month, rolling or total.
        action: block or alert.
        is_paused: whether it counts without refusing or reporting.
        asked_at: the database's time of this status.
    """

    budget: str
    value: str
    limit_usd: Decimal
    spent_usd: Decimal
    unconfirmed_usd: Decimal
    reserved_usd: Decimal
    left_usd: Decimal
    calls: int
    unpriced_calls: int
    unreserved_calls: int
    unreserved_usd: Decimal
    starts_at: datetime
    resets_at: datetime | None
    period: str
    action: str
    is_paused: bool
    asked_at: datetime

    @property
    def pace_usd(self) -> Decimal | None:
        """What the period will have cost if it goes on as it began, in US dollars.

        `None` while less than a hundredth of the period is over, and for a period of the last days
        or without end.
        """
        if self.resets_at is None or self.period == "rolling":
            return None
        whole = int((self.resets_at - self.starts_at).total_seconds())
        elapsed = int((self.asked_at - self.starts_at).total_seconds())
        if elapsed * 100 < whole:
            return None
        return ((self.spent_usd + self.unconfirmed_usd) * whole / elapsed).quantize(_CENTS)

    @property
    def used_percent(self) -> Decimal:
        """Share of the limit that is spent, unconfirmed or reserved, in percent."""
        return (self.limit_usd - self.left_usd) * 100 / self.limit_usd


@dataclass(frozen=True, slots=True)
class BudgetChange:
    """One change of a budget: when, by which database user, and what it was afterwards."""

    recorded_at: datetime
    changed_by: str
    budget: str
    action: str
    definition: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refusals:
    """Calls that one budget refused in a period; `needed_usd` is their estimate, US dollars."""

    budget: str
    value: str
    app_name: str
    reason: str
    refused_calls: int
    needed_usd: Decimal
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """Money that a dead process or reservation may have spent, in US dollars."""

    holder: str
    budget: str
    value: str
    usd: Decimal
    app_name: str
    created_at: datetime
    expires_at: datetime
