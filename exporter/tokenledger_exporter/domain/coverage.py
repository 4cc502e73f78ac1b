"""Coverage: how many calls behind a figure have which cost status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many calls have which cost status.

    Args:
        reported: calls whose cost is the provider's own figure.
        lost: records known to be lost; they are not among the calls.
        not_settled: calls of any status that are not yet deduplicated.
        cost_differs: calls of any status whose provider reports another cost.
    """

    priced: int = 0
    partial: int = 0
    estimated: int = 0
    unpriced: int = 0
    unmeasured: int = 0
    lost: int = 0
    not_settled: int = 0
    reported: int = 0
    cost_differs: int = 0

    @property
    def calls(self) -> int:
        """Calls in the ledger, without lost ones."""
        return self.with_cost + self.without_cost

    @property
    def with_cost(self) -> int:
        """Calls whose cost is known, at least in part."""
        return self.priced + self.reported + self.partial + self.estimated

    @property
    def without_cost(self) -> int:
        """Calls whose cost is not known at all."""
        return self.unpriced + self.unmeasured

    @property
    def is_uncertain(self) -> bool:
        """Whether a cost among them is known only in part, or from estimated counts."""
        return self.partial > 0 or self.estimated > 0

    @property
    def knows_no_cost(self) -> bool:
        """Whether there are calls and none has a known cost: their sum is unknown, not 0."""
        return self.without_cost > 0 and self.with_cost == 0

    @property
    def sentence(self) -> str:
        """One line: which share is priced, and every other status that occurs."""
        if not self.calls and not self.lost:
            return "coverage: no calls yet"
        share = _percent(self.priced, self.calls) if self.calls else "0%"
        states = ("reported", "partial", "estimated", "unpriced", "unmeasured", "lost")
        others = [f"{getattr(self, state):,} {state}" for state in states if getattr(self, state)]
        others += [f"{self.not_settled:,} not settled"] if self.not_settled else []
        if self.cost_differs:
            verb = "differs" if self.cost_differs == 1 else "differ"
            others.append(f"{self.cost_differs:,} {verb} from the reported cost")
        tail = ", " + ", ".join(others) if others else ""
        return f"coverage: {self.priced:,} of {self.calls:,} calls priced ({share}){tail}"


def _percent(part: int, whole: int) -> str:
    """The share of a part with one decimal, rounded down: only all of it is 100.0%."""
    tenths = 1_000 * part // whole
    return f"{tenths // 10}.{tenths % 10}%"


def coverage_of(row: Mapping[str, Any], *, lost: int = 0) -> Coverage:
    """The coverage of a row with one column per status."""
    return Coverage(
        priced=row["priced"],
        partial=row["partial"],
        estimated=row["estimated"],
        unpriced=row["unpriced"],
        unmeasured=row["unmeasured"],
        lost=lost,
        not_settled=row["not_settled"],
        reported=row["reported"],
        cost_differs=row["cost_differs"],
    )


def sum_coverage(parts: Sequence[Coverage]) -> Coverage:
    """The coverage of several groups together, without lost records."""
    return Coverage(
        priced=sum(part.priced for part in parts),
        partial=sum(part.partial for part in parts),
        estimated=sum(part.estimated for part in parts),
        unpriced=sum(part.unpriced for part in parts),
        unmeasured=sum(part.unmeasured for part in parts),
        not_settled=sum(part.not_settled for part in parts),
        reported=sum(part.reported for part in parts),
        cost_differs=sum(part.cost_differs for part in parts),
    )
