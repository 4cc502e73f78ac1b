"""One run budget's limit and its counter: reserve before a call, settle after it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from tokenledger._budgets.counter import MONEY, CounterUnavailableError
from tokenledger._budgets.estimate import PAST_COSTS, estimated_cost, price
from tokenledger._guard import Guard, warn_once
from tokenledger._state import RUNTIME
from tokenledger_semconv import attributes as names
from tokenledger_semconv.budgets import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenledger._budgets.counter import Counter, Totals
    from tokenledger._ledger import Ledger
    from tokenledger_semconv.budgets import CallAttributes, Reason

Policy: TypeAlias = Literal["allow", "refuse"]
"""What a budget does with a call that it cannot count."""

NOTHING: Final = Decimal(0)
_REMEDY: Final = "raise the limit with tokenledger.budget(usd=...) or lower the call's max_tokens"
_REMEDIES: Final = {
    "limit": _REMEDY,
    "unpriced": (
        "open a ledger that knows the model's price, or pass tokenledger.budget(unpriced='allow')"
    ),
    "outage": (
        "run the child inside of the budget's block, or pass "
        "tokenledger.budget(on_unavailable='allow')"
    ),
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What a run budget allows.

    Args:
        name: its name.
        usd: its limit, in US dollars.
        unpriced: what to do with a call without a price.
        on_unavailable: what to do in a process that cannot open the counter.
    """

    name: str
    usd: Decimal
    unpriced: Policy = "allow"
    on_unavailable: Policy = "allow"


class Limit:
    """A run budget in force in this process.

    Args:
        rules: what it allows.
        counter: its totals; `None` if this process has no access to them.
    """

    __slots__ = ("__weakref__", "counter", "rules")

    def __init__(self, rules: Rules, counter: Counter | None) -> None:
        self.rules = rules
        self.counter = counter

    def reserve(self, estimate: Decimal | None) -> Refusal | None:
        """Reserve the estimate of a call; `None` is that it may be sent.

        Args:
            estimate: what the call may cost, in US dollars; `None` if it has no price.
        """
        if estimate is None and self.rules.unpriced == "refuse":
            return self._refusal(*self._sums(), NOTHING, "unpriced")
        if self.counter is None:
            return self._without_counter(estimate)
        try:
            return self.counter.change(lambda totals: self._reserve(totals, estimate or NOTHING))
        except CounterUnavailableError:
            return self._without_counter(estimate)

    def settle(self, process: int, estimate: Decimal, cost: Decimal) -> None:
        """Replace the reservation of a call by its cost; 0 if it was not sent."""
        if self.counter is not None:
            with Guard("settling a call of a run budget"):
                self.counter.settle(process, estimate, cost)

    def sums(self) -> tuple[Decimal, Decimal]:
        """US dollars that are spent, and that are reserved.

        Raises:
            CounterUnavailableError: this process has no access to them.
            OSError: the file cannot be read.
        """
        if self.counter is None:
            raise CounterUnavailableError
        return self.counter.change(lambda totals: (totals.spent, totals.all_reserved))

    def _sums(self) -> tuple[Decimal, Decimal]:
        try:
            return self.sums()
        except CounterUnavailableError:
            return NOTHING, NOTHING

    def _reserve(self, totals: Totals, estimate: Decimal) -> Refusal | None:
        reserved = totals.all_reserved
        if MONEY.add(MONEY.add(totals.spent, reserved), estimate) > self.rules.usd:
            return self._refusal(totals.spent, reserved, estimate, "limit")
        totals.reserve(os.getpid(), estimate)
        return None

    def _without_counter(self, estimate: Decimal | None) -> Refusal | None:
        if self.rules.on_unavailable == "refuse":
            return self._refusal(NOTHING, NOTHING, estimate or NOTHING, "outage")
        warn_once(
            f"budget {self.rules.name!r} does not limit process {os.getpid()}: its counter cannot "
            "be opened here. Start the process inside of the budget's block, and while only one "
            "budget is open, or with env=budget.child_environment(); "
            "on_unavailable='refuse' refuses its calls"
        )
        return None

    def _refusal(
        self, spent: Decimal, reserved: Decimal, needed: Decimal, reason: Reason
    ) -> Refusal:
        rules = self.rules
        return Refusal(
            budget=rules.name,
            key="",
            limit_usd=rules.usd,
            spent_usd=spent,
            reserved_usd=reserved,
            needed_usd=needed,
            resets_at=None,
            remedy=_REMEDIES[reason],
            reason=reason,
        )


class _Reserved(NamedTuple):
    """What a call needs to be priced, and what was reserved for it."""

    estimate: Decimal
    attributes: CallAttributes
    ledger: Ledger | None
    started_ns: int
    process: int


class RunHold:
    """What run budgets hold for one call. It ends with the first `finish` or `release`."""

    __slots__ = ("_limits", "_reserved")

    def __init__(self, reserved: _Reserved) -> None:
        self._limits: list[Limit] = []
        self._reserved = reserved

    def add(self, limit: Limit) -> None:
        """Note that a budget holds the estimate too."""
        self._limits.append(limit)

    def bind(self, trace_id: int, span_id: int) -> None:
        """Do nothing: a run budget does not outlive the call's process."""

    def finish(self, attributes: CallAttributes, *, failed: bool) -> None:
        """Settle at what the call cost, or at its estimate if that is unknown. Never raises."""
        with Guard("settling a call of a run budget"):
            cost = self._cost(attributes, failed=failed)
            self._settle(self._reserved.estimate if cost is None else cost)

    def release(self) -> None:
        """Free the money of a request that was never sent. Never raises."""
        self._settle(NOTHING)

    def _cost(self, attributes: CallAttributes, *, failed: bool) -> Decimal | None:
        reserved = self._reserved
        if reserved.ledger is None:
            return None
        cost = price(reserved.ledger, attributes, reserved.started_ns, failed=failed)
        if cost is not None and not failed:
            PAST_COSTS.add(reserved.attributes, cost)
        return cost

    def _settle(self, cost: Decimal) -> None:
        limits, self._limits = self._limits, []
        reserved = self._reserved
        # A forked child has a copy of the calls of its parent, which settles them itself.
        if reserved.process == os.getpid():
            for limit in limits:
                limit.settle(reserved.process, reserved.estimate, cost)


def reserve_all(
    limits: Sequence[Limit], attributes: CallAttributes, characters: int
) -> RunHold | Refusal:
    """Reserve a call in every budget around it, or in none.

    Args:
        limits: the budgets, the outermost first.
        attributes: the call's attributes at its start.
        characters: the length of the text in its request.
    """
    ledger = RUNTIME.setup.ledger
    estimate = estimated_cost(attributes, characters, ledger)
    if estimate is None:
        _warn_of_unpriced(limits, attributes)
    reserved = _Reserved(
        NOTHING if estimate is None else estimate, attributes, ledger, time.time_ns(), os.getpid()
    )
    hold = RunHold(reserved)
    try:
        for limit in limits:
            if refusal := limit.reserve(estimate):
                hold.release()
                return refusal
            hold.add(limit)
    except BaseException:
        hold.release()
        raise
    return hold


def _warn_of_unpriced(limits: Sequence[Limit], attributes: CallAttributes) -> None:
    for limit in limits:
        if limit.rules.unpriced == "allow":
            model = attributes.get(names.REQUEST_MODEL, "")
            warn_once(
                f"budget {limit.rules.name!r} does not count calls of {model!r}, which have no "
                "price; unpriced='refuse' refuses them"
            )
