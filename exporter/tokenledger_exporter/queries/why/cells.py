"""What the arithmetic of a change reads: the calls of a period by value and model."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final, NamedTuple

EXACT: Final = Context(prec=100)
"""The decimal context of this room: a sum of costs never loses a digit in it."""

_ZERO: Final = Decimal(0)


class Model(NamedTuple):
    """Who bills, and the model that answered; both are "" in sums that are not split by model."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Amount:
    """Tokens of one kind and their cost, US dollars."""

    tokens: int = 0
    cost_usd: Decimal = _ZERO

    @property
    def rate(self) -> Decimal:
        """US dollars per token; 0 without tokens."""
        return EXACT.divide(self.cost_usd, Decimal(self.tokens)) if self.tokens else _ZERO

    def plus(self, other: Amount) -> Amount:
        """Both together."""
        return Amount(self.tokens + other.tokens, EXACT.add(self.cost_usd, other.cost_usd))


INPUT_KINDS: Final = ("uncached", "cached", "cache_write")
"""Kinds of input tokens; each has its own rate."""

KINDS: Final = (*INPUT_KINDS, "output")
"""Kinds of tokens."""


@dataclass(frozen=True, slots=True)
class Tier:
    """The calls of a cell with one service tier.

    Args:
        name: the tier; "" is the standard one.
        amounts: tokens and cost by kind, in the order of `KINDS`.
        other_usd: costs that belong to no tokens: tools, fees, audio seconds, images, and costs
            that a provider reports as one figure.
    """

    name: str
    amounts: tuple[Amount, ...]
    other_usd: Decimal


@dataclass(frozen=True, slots=True)
class Cell:
    """The calls of one value with one model in a period.

    Args:
        calls: all calls.
        known_calls: calls whose cost is known.
        cost_usd: the sum of the known costs.
        tokens: input and output tokens of the calls whose cost is known; `None` if they cannot be
            separated from the tokens of the others.
        tiers: the same calls by service tier and kind of tokens; empty if that was not read.
    """

    calls: int
    known_calls: int
    cost_usd: Decimal
    tokens: int | None
    tiers: tuple[Tier, ...] = ()

    @property
    def cost_per_call(self) -> Decimal:
        """US dollars per call whose cost is known, of which there must be one."""
        return EXACT.divide(self.cost_usd, Decimal(self.known_calls))


Cells = dict[str, dict[Model, Cell]]
"""The cells of a period: value of the dimension -> model -> its calls."""


def total_usd(cells: Cells) -> Decimal:
    """The known costs of all cells."""
    total = _ZERO
    for models in cells.values():
        for cell in models.values():
            total = EXACT.add(total, cell.cost_usd)
    return total
