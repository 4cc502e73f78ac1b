"""The error that a refused call raises."""

from __future__ import annotations

from decimal import Context
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from decimal import Decimal

    from tokenledger_semconv.budgets import Refusal

_MONEY: Final = Context(prec=50)


class BudgetExceeded(Exception):  # noqa: N818 - named after what happened, as users know it
    """A budget refused a model call. Nothing was sent, and nothing was recorded.

    The method of the SDK that would have sent the request raises it; a stream raises it where it
    would have been opened. The SDK does not retry it.

    Attributes:
        budget: the name of the budget.
        key: the value of the dimension that the budget is split by; "" if it is not split.
        limit_usd: the limit, in US dollars.
        spent_usd: what the calls that ended have cost, in US dollars.
        reserved_usd: the estimates of the calls in flight, in US dollars.
        needed_usd: the estimate of the refused call, in US dollars; 0 if it has no price.
        resets_at: when the budget's period ends, with a time zone; `None` is never.
        remedy: how to raise the limit.
        reason: `limit`, `unpriced` (the call has no price) or `outage` (the budget is out of
            reach).
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(_message(refusal))
        self._refusal = refusal
        self.budget = refusal.budget
        self.key = refusal.key
        self.limit_usd = refusal.limit_usd
        self.spent_usd = refusal.spent_usd
        self.reserved_usd = refusal.reserved_usd
        self.needed_usd = refusal.needed_usd
        self.resets_at = refusal.resets_at
        self.remedy = refusal.remedy
        self.reason = refusal.reason

    def __reduce__(self) -> tuple[type[BudgetExceeded], tuple[Refusal]]:
        return type(self), (self._refusal,)


def _message(refusal: Refusal) -> str:
    name = f"{refusal.budget!r} of {refusal.key!r}" if refusal.key else repr(refusal.budget)
    if refusal.reason == "unpriced":
        problem = "the call has no price, and the budget refuses such calls"
    elif refusal.reason == "outage":
        problem = "what is spent is out of reach, and the budget refuses calls until it is back"
    else:
        problem = f"the call may cost {_usd(refusal.needed_usd)}"
    resets = "never" if refusal.resets_at is None else refusal.resets_at.isoformat(" ", "minutes")
    return (
        f"budget {name} refused a call: {problem}. Limit {_usd(refusal.limit_usd)}, "
        f"spent {_usd(refusal.spent_usd)}, reserved for calls in flight "
        f"{_usd(refusal.reserved_usd)}, resets: {resets}. To go on, {refusal.remedy}."
    )


def _usd(amount: Decimal) -> str:
    return f"${amount.normalize(_MONEY):f}"
