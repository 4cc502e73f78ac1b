"""Splits the change of a model's cost per token: output share, cache share, tier, price, other."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from tokenledger_exporter.queries.why.cells import EXACT, INPUT_KINDS, KINDS, Amount

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tokenledger_exporter.queries.why.cells import Tier

_ZERO: Final = Decimal(0)
_INPUTS: Final = len(INPUT_KINDS)
_CACHED: Final = INPUT_KINDS.index("cached")
_MILLION: Final = 1_000_000


class RateChange(NamedTuple):
    """A part of the change of the cost per token.

    Args:
        kind: a kind of cause.
        change: US dollars per token.
        before: the figure that changed, before; `None` if it has none.
        after: the same now.
        tier: the service tier that it is about.
    """

    kind: str
    change: Decimal
    before: Decimal | None = None
    after: Decimal | None = None
    tier: str = ""


class _Side(NamedTuple):
    """One period: amounts by kind, of all tiers."""

    kinds: tuple[Amount, ...]
    input: Amount
    all: Amount
    other_usd: Decimal

    def share(self, amount: Amount) -> Decimal:
        """The share of these tokens in all tokens."""
        return EXACT.divide(Decimal(amount.tokens), Decimal(self.all.tokens))

    def share_of_input(self, kind: int) -> Decimal:
        """The share of a kind in the input; 0 without input."""
        tokens = self.input.tokens
        return EXACT.divide(Decimal(self.kinds[kind].tokens), Decimal(tokens)) if tokens else _ZERO


def rate_changes(before: Sequence[Tier], after: Sequence[Tier]) -> Iterator[RateChange]:
    """Parts that add up to the change of the cost per token, but for rounding.

    Args:
        before: the tiers of the preceding period; they must have tokens.
        after: the tiers of the period; they must have tokens.
    """
    old, new = _side(before), _side(after)
    yield _output_share(old, new)
    yield _cache_share(old, new)
    yield from _tiers_and_prices(before, after, old, new)
    per_token = [EXACT.divide(side.other_usd, Decimal(side.all.tokens)) for side in (old, new)]
    yield RateChange("other", EXACT.subtract(per_token[1], per_token[0]))


def _side(tiers: Sequence[Tier]) -> _Side:
    kinds = tuple(_together([tier.amounts[kind] for tier in tiers]) for kind in range(len(KINDS)))
    other = _ZERO
    for tier in tiers:
        other = EXACT.add(other, tier.other_usd)
    return _Side(kinds, _together(kinds[:_INPUTS]), _together(kinds), other)


def _together(amounts: Sequence[Amount]) -> Amount:
    total = Amount()
    for amount in amounts:
        total = total.plus(amount)
    return total


def _output_share(old: _Side, new: _Side) -> RateChange:
    """Output costs more than input: its share changes the cost per token."""
    change = _ZERO
    for amount, later in ((old.input, new.input), (old.kinds[-1], new.kinds[-1])):
        rate = amount.rate if amount.tokens else later.rate
        difference = EXACT.subtract(new.share(later), old.share(amount))
        change = EXACT.add(change, EXACT.multiply(difference, rate))
    shares = old.share(old.kinds[-1]), new.share(new.kinds[-1])
    return RateChange("output_share", change, *shares)


def _cache_share(old: _Side, new: _Side) -> RateChange:
    """Cached input costs less than uncached, and writing to a cache more."""
    shares = old.share_of_input(_CACHED), new.share_of_input(_CACHED)
    if not old.input.tokens or not new.input.tokens:
        return RateChange("cache_share", _ZERO)
    change = _ZERO
    for kind in range(_INPUTS):
        amount = old.kinds[kind] if old.kinds[kind].tokens else new.kinds[kind]
        difference = EXACT.subtract(new.share_of_input(kind), old.share_of_input(kind))
        change = EXACT.add(change, EXACT.multiply(difference, amount.rate))
    change = EXACT.multiply(change, new.share(new.input))
    return RateChange("cache_share", change, *shares)


@dataclass(slots=True)
class _TierSum:
    """The parts of one tier, added up over the kinds of tokens, in US dollars per token of all."""

    tier_change: Decimal = _ZERO
    earlier_price: Decimal = _ZERO
    later_price: Decimal = _ZERO


def _tiers_and_prices(
    before: Sequence[Tier], after: Sequence[Tier], old: _Side, new: _Side
) -> Iterator[RateChange]:
    """The change of each kind's rate: the share of each tier, then the price in each tier."""
    earlier = {tier.name: tier.amounts for tier in before}
    later = {tier.name: tier.amounts for tier in after}
    none = (Amount(),) * len(KINDS)
    for name in dict.fromkeys([*later, *earlier]):
        amounts = earlier.get(name, none), later.get(name, none)
        parts = _TierSum()
        for kind in range(len(KINDS)):
            if old.kinds[kind].tokens and new.kinds[kind].tokens:
                _add_kind(parts, amounts[0][kind], amounts[1][kind], old.kinds[kind], new, kind)
        shares = old.share(_together(amounts[0])), new.share(_together(amounts[1]))
        yield RateChange("service_tier", parts.tier_change, *shares, tier=name)
        change = EXACT.subtract(parts.later_price, parts.earlier_price)
        if change:
            # Per token of this tier, by the kinds of tokens that it has now.
            before_usd, after_usd = (
                EXACT.divide(EXACT.multiply(price, Decimal(_MILLION)), shares[1])
                for price in (parts.earlier_price, parts.later_price)
            )
            yield RateChange("price", change, before_usd, after_usd, tier=name)


def _add_kind(  # noqa: PLR0913, PLR0917 - both periods, of the tier and of all tiers
    parts: _TierSum, earlier: Amount, later: Amount, all_earlier: Amount, new: _Side, kind: int
) -> None:
    weight = new.share(new.kinds[kind])
    share_before = EXACT.divide(Decimal(earlier.tokens), Decimal(all_earlier.tokens))
    share_now = EXACT.divide(Decimal(later.tokens), Decimal(new.kinds[kind].tokens))
    rate = (earlier if earlier.tokens else later).rate
    change = EXACT.multiply(
        EXACT.subtract(share_now, share_before), EXACT.subtract(rate, all_earlier.rate)
    )
    parts.tier_change = EXACT.add(parts.tier_change, EXACT.multiply(weight, change))
    if earlier.tokens and later.tokens:
        weight = EXACT.multiply(weight, share_now)
        parts.earlier_price = EXACT.add(parts.earlier_price, EXACT.multiply(weight, rate))
        parts.later_price = EXACT.add(parts.later_price, EXACT.multiply(weight, later.rate))
