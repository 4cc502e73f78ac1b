"""A row of the price book, and the parts of a cost that is computed from such rows.

Money is Decimal under a context of our own, so an app that changes the global decimal context does
not change a cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, time

MONEY: Final = Context(prec=50)
"""The decimal context of every calculation with money."""

DISCOUNT: Final = "discount "
"""Prefix of the source of a list price with a discount."""

TOKENS: Final = "tokens"
UNITS: Final[Mapping[str, str]] = {
    "input": TOKENS,
    "cache_read": TOKENS,
    "cache_read_audio": TOKENS,
    "cache_read_image": TOKENS,
    "cache_write": TOKENS,
    "cache_write_1h": TOKENS,
    "input_audio": TOKENS,
    "input_image": TOKENS,
    "input_video": TOKENS,
    "output": TOKENS,
    "output_audio": TOKENS,
    "output_image": TOKENS,
    "output_video": TOKENS,
    "web_search": "web searches",
    "file_search": "file searches",
    "code_execution": "code executions",
    "request": "requests",
    "audio_second": "seconds of audio",
    "input_character": "characters",
    "image": "images",
}
"""Every kind of price, and the unit it counts."""

_ZERO: Final = Decimal(0)

LISTED: Final = "genai-prices "
"""Prefix of the source of every list price; a price without it is a custom price."""


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One row of `token_ledger_prices`: a kind's price on one sheet.

    Args:
        price_id: the sheet.
        kind: what is priced (`input`, `cache_write_1h`, `web_search` ...).
        above_input_tokens: the price applies to calls with more input tokens than this.
        provider: the provider that bills.
        model: model family.
        model_pattern: regular expression searched in the lower-case model name.
        match_order: order in which the patterns of one provider are tried.
        tier: service tier.
        usd: US dollars for `per` units.
        per: number of units the price is for.
        valid_from: first UTC day it applies; `None` means always.
        valid_to: first UTC day it no longer applies; `None` means until further notice.
        daily_from: start of its daily interval, UTC; `None` means all day.
        daily_to: end of its daily interval, UTC.
        source: where the price comes from.
        weekdays: days of the week it applies, UTC, 1 is Monday (`12345`); `None` means every day.
    """

    price_id: str
    kind: str
    above_input_tokens: int
    provider: str
    model: str
    model_pattern: str
    match_order: int
    tier: str
    usd: Decimal
    per: int
    valid_from: date | None
    valid_to: date | None
    daily_from: time | None
    daily_to: time | None
    source: str
    weekdays: str | None = None

    @property
    def unit(self) -> str:
        """The unit of `usd`, such as `USD per 1,000,000 tokens`."""
        return f"USD per {self.per:,} {UNITS.get(self.kind, self.kind)}"

    @property
    def is_from_list(self) -> bool:
        """Whether it is a list price, with or without a discount."""
        return self.source.startswith((LISTED, DISCOUNT))

    @property
    def is_custom(self) -> bool:
        """Whether it is a custom price and not a list price."""
        return not self.source.startswith(LISTED)


@dataclass(frozen=True, slots=True)
class CostLine:
    """One line of a bill: a number of units at a price.

    Args:
        kind: the kind of usage.
        priced_as: the kind whose price applies; another one if `kind` has no price of its own.
        units: number of units.
        price_usd: US dollars for `per` units.
        per: number of units the price is for.
        cost_usd: cost of the units, US dollars.
    """

    kind: str
    priced_as: str
    units: int
    price_usd: Decimal
    per: int
    cost_usd: Decimal


class Cost(msgspec.Struct, frozen=True, gc=False):
    """The cost of a call by one price sheet, in US dollars: its parts and their sum.

    Args:
        unpriced_kinds: kinds of usage that the sheet has no price for.
        unknown_usage: what decides the price and was not reported, in words; "" if nothing.
    """

    price_id: str = ""
    input_usd: Decimal = _ZERO
    cached_usd: Decimal = _ZERO
    cache_write_usd: Decimal = _ZERO
    output_usd: Decimal = _ZERO
    tool_usd: Decimal = _ZERO
    total_usd: Decimal = _ZERO
    unpriced_kinds: tuple[str, ...] = ()
    unknown_usage: str = ""
