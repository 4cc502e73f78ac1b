"""The cost columns of a call's row: the amounts, their status, and a note.

New calls and rows that are priced again use the same rules.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from tokenledger_exporter.pricing.book import (
    GEO_SEPARATOR,
    STANDARD_NAMES,
    STANDARD_TIER,
    free_sheet,
    has_own_price,
    tier_at,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from tokenledger_exporter.pricing.book import PriceBook
    from tokenledger_exporter.pricing.price_row import Cost, PriceRow
    from tokenledger_semconv.tokens import TokenVector

ESTIMATED_NOTE: Final = "output tokens were estimated; the provider reported no count"
"""Part of the `cost_note` of every row with estimated output."""

REPORTED_NOTE: Final = "the cost is the one that the provider reports"
"""Part of the `cost_note` of every row whose cost is the reported one."""

UNKNOWN_NOTE: Final = "unknown: "
"""Prefix of a part of `cost_note` that names billed usage without a count or a price."""

REFUSED_NOTE: Final = "the provider rejected the request"
"""`cost_note` of a call that costs nothing because the provider did no work."""

NOT_SENT_NOTE: Final = "no connection; nothing was sent"
"""`cost_note` of a call that costs nothing because the provider never got it."""


def unknown_notes(note: str) -> list[str]:
    """The parts of a note that begin with `UNKNOWN_NOTE`."""
    return [part for part in note.split(_SEPARATOR) if part.startswith(UNKNOWN_NOTE)]


class Billable(Protocol):
    """The facts of a call that its price depends on; see `dialects.CallFacts`."""

    @property
    def provider(self) -> str:
        """The provider that bills it."""
        ...

    @property
    def priced_model(self) -> str:
        """The model name to look up its price by."""
        ...

    @property
    def operation(self) -> str:
        """GenAI operation."""
        ...

    @property
    def tokens(self) -> TokenVector:
        """The usage."""
        ...

    @property
    def service_tier(self) -> str:
        """Tier, in the provider's words."""
        ...

    @property
    def inference_geo(self) -> str:
        """The place of inference, in the provider's words."""
        ...

    @property
    def refused(self) -> bool:
        """Whether the provider refused it before any work, or never got it."""
        ...

    @property
    def not_sent(self) -> bool:
        """Whether no request reached the provider."""
        ...

    @property
    def estimated(self) -> bool:
        """Whether its output was estimated."""
        ...

    @property
    def reported_cost_usd(self) -> Decimal | None:
        """The cost that the provider itself reports; `None` if it reports none."""
        ...

    @property
    def shortest_turn(self) -> int | None:
        """Input tokens of the shortest of several turns; `None` if the turns are not reported."""
        ...

    @property
    def input_of_other_kinds(self) -> Mapping[str, int]:
        """Input tokens that may have another price than the one they get, by price kind."""
        ...

    @property
    def missing_usage(self) -> str:
        """Which counts are missing, as a sentence; "" if none is."""
        ...


class Charge(msgspec.Struct, frozen=True, gc=False):
    """The cost of a call and its status.

    Args:
        amounts: US dollars: the sum, then input, cache reads, cache writes, output and tools; all
            `None` if the cost is unknown.
        status: `cost_status` of the row.
        price_id: the price sheet of the amounts.
        note: why the cost is not exact, as a sentence; "" if it is.
    """

    amounts: tuple[Decimal | None, ...]
    status: str
    price_id: str
    note: str

    @property
    def cost_usd(self) -> Decimal | None:
        """The sum."""
        return self.amounts[0]

    @property
    def columns(self) -> dict[str, Any]:
        """The values by column."""
        values = (*self.amounts, self.status, self.price_id, self.note)
        return dict(zip(COST_COLUMNS, values, strict=True))


COST_COLUMNS: Final = (
    *("cost_usd", "input_cost_usd", "cached_cost_usd", "cache_write_cost_usd"),
    *("output_cost_usd", "tool_cost_usd", "cost_status", "price_id", "cost_note"),
)
"""The columns that pricing a row writes."""

_SEPARATOR: Final = "; "
_UNKNOWN_LENGTH: Final = UNKNOWN_NOTE + ("whether the price depends on each turn or on their sum")
# Kind of price -> the kind whose price is used instead, and what the note says if they differ.
_OTHER_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "input_video": ("input", "{count:,} input tokens are video, which has another price"),
    "cache_write_1h": (
        "cache_write",
        "how long the {count:,} tokens of cache writes are kept is not known: an hour costs more",
    ),
}
# Places of inference that are no region, in Anthropic's words.
_ANYWHERE: Final = frozenset({"", "global", "not_available"})
_CLOUDS: Final = frozenset({"google", "aws"})
_PRIORITY: Final = ("priority", "low", _CLOUDS | {"azure", "x-ai", "fireworks"})
_FLEX: Final = ("flex", "high", _CLOUDS)
OTHER_RATES: Final[Mapping[str, tuple[str, str, frozenset[str]]]] = {
    "batch": ("batch", "high", frozenset()),
    **dict.fromkeys(("priority", "PRIORITY", "ON_DEMAND_PRIORITY"), _PRIORITY),
    **dict.fromkeys(("flex", "FLEX", "ON_DEMAND_FLEX"), _FLEX),
    "PROVISIONED_THROUGHPUT": ("provisioned throughput", "high", frozenset({"google"})),
}
"""Tier, in a provider's words -> its name, how far off the standard rate is, and the providers this
is true of; none means all. Every batch costs less. Google's and Bedrock's flex costs half, and
their priority 75 to 100 % more (ai.google.dev, "Optimization"; AWS, "Service tiers for inference");
so does Azure's priority (its retail price list). x.ai bills priority at a premium (docs.x.ai,
"Priority Processing"), and Fireworks too. Vertex bills provisioned throughput by its size and not
by tokens. Read 2026-11-28."""
REPORTED_SHEET: Final = "reported"
"""`price_id` of every row whose cost is the reported one."""
_UNKNOWN_AMOUNTS: Final = (None,) * 6
_ZERO_AMOUNTS: Final = (Decimal(0),) * 6


def charge(call: Billable, moment: datetime, prices_of: Callable[[str], PriceBook]) -> Charge:
    """The cost of a call, if it is known, and its status.

    The provider's own figure is the cost of a call that has no price, and of every call of a
    provider whose reported cost is preferred.

    Args:
        call: the call.
        moment: when it started, with a time zone; the prices of that time apply.
        prices_of: returns a provider's price book.
    """
    computed = _computed(call, moment, prices_of)
    reported = call.reported_cost_usd
    if reported is None or call.refused:
        return computed
    if computed.cost_usd is not None and not prices_of(call.provider).prefers_reported:
        return computed
    note = _SEPARATOR.join(filter(None, (REPORTED_NOTE, computed.note)))
    return Charge((reported, *_UNKNOWN_AMOUNTS[1:]), "reported", REPORTED_SHEET, note)


def _computed(call: Billable, moment: datetime, prices_of: Callable[[str], PriceBook]) -> Charge:
    """The cost of a call by the price book."""
    provider, tokens = call.provider, call.tokens
    free = free_sheet(provider, call.operation)
    if free or call.refused:
        note = NOT_SENT_NOTE if call.not_sent else REFUSED_NOTE
        return Charge(_ZERO_AMOUNTS, "priced", free, note if call.refused else "")
    if not tokens.is_measured:
        return Charge(_UNKNOWN_AMOUNTS, "unmeasured", "", call.missing_usage)
    if faults := tokens.faults():
        return Charge(_UNKNOWN_AMOUNTS, "unpriced", "", _SEPARATOR.join(faults))
    model, tier = call.priced_model, tier_at(call.service_tier, call.inference_geo)
    cost = prices_of(provider).cost(provider, model, moment, tier, tokens)
    if cost is None:
        return _unpriced(call, _no_price_note(call, model))
    doubts: tuple[str, ...] = ()
    shortest = call.shortest_turn
    if shortest is not None or call.service_tier in OTHER_RATES or call.input_of_other_kinds:
        sheet = prices_of(provider).sheet(provider, model, moment, tier)
        doubts = _uncertainties(call, shortest, sheet)
    if cost.unknown_usage:
        doubts = (*doubts, cost.unknown_usage)
    if not (cost.unpriced_kinds or call.estimated or call.missing_usage or doubts):
        return Charge(_amounts(cost), "priced", cost.price_id, "")
    return _uncertain_charge(call, cost, doubts)


def _uncertainties(
    call: Billable, shortest: int | None, sheet: Sequence[PriceRow]
) -> tuple[str, ...]:
    """Why the chosen sheet may not be the one the call is billed by."""
    doubts: list[str] = []
    if shortest is not None:
        longest = call.tokens.input_tokens or 0
        thresholds = {row.above_input_tokens for row in sheet} - {0}
        if any(shortest <= above < longest for above in thresholds):
            doubts.append(_UNKNOWN_LENGTH)
    if call.service_tier in OTHER_RATES:
        priced_tier = sheet[0].tier if sheet else ""
        doubts.append(tier_doubt(call.provider, call.priced_model, call.service_tier, priced_tier))
    for kind, count in call.input_of_other_kinds.items():
        plain_kind, reason = _OTHER_KINDS[kind]
        if (rates := _rates(sheet, kind)) and rates != _rates(sheet, plain_kind):
            doubts.append(reason.format(count=count))
    return tuple(filter(None, doubts))


def _rates(sheet: Sequence[PriceRow], kind: str) -> list[tuple[int, Decimal]]:
    return [(row.above_input_tokens, row.usd / row.per) for row in sheet if row.kind == kind]


def tier_doubt(provider: str, model: str, tier: str, priced_tier: str) -> str:
    """Why the standard rate is not what a call on this tier costs; "" if nothing says so.

    Args:
        provider: the ledger's name of the provider.
        model: the model, as named in the note.
        tier: service tier in the provider's words.
        priced_tier: tier of the sheet that the call is priced by.
    """
    kind = OTHER_RATES.get(tier)
    if kind is None or not priced_tier.startswith(STANDARD_TIER):
        return ""
    name, effect, providers = kind
    if providers and provider not in providers:
        return ""
    return f"no {name} price for {model}: the standard rate is too {effect}"


def quote_note(provider: str, model: str, asked_tier: str, priced_tier: str) -> str:
    """What a quote must say if it has another tier's or region's price than it was asked for.

    Args:
        provider: the ledger's name of the provider.
        model: the model, as named in the note.
        asked_tier: tier to quote, as `tier_at` returns it.
        priced_tier: tier of the sheet that has the price.
    """
    tier, _, geo = asked_tier.partition(GEO_SEPARATOR)
    own_tier, _, own_geo = priced_tier.partition(GEO_SEPARATOR)
    doubt = tier_doubt(provider, model, tier, priced_tier) or tier_doubt(
        provider, model, tier.lower(), priced_tier
    )
    if not doubt and own_tier == STANDARD_TIER and tier.lower() not in STANDARD_NAMES:
        doubt = f"no {tier} price for {model}: this is the standard price"
    place = "" if own_geo or geo.lower() in _ANYWHERE else geo
    region = f"no price for {model} in {place}: this is the price without a region" if place else ""
    return _SEPARATOR.join(filter(None, (doubt, region)))


def _uncertain_charge(call: Billable, cost: Cost, doubts: Sequence[str]) -> Charge:
    """The charge of a call whose model has a price, but whose cost is not exact."""
    unpriced = f"no price for {', '.join(cost.unpriced_kinds)}" if cost.unpriced_kinds else ""
    if unpriced and not cost.total_usd:
        return _unpriced(call, f"{unpriced} of {call.priced_model} at {call.provider}")
    estimated = ESTIMATED_NOTE if call.estimated else ""
    note = _SEPARATOR.join(filter(None, (estimated, unpriced, call.missing_usage, *doubts)))
    return Charge(_amounts(cost), "estimated" if estimated else "partial", cost.price_id, note)


def _no_price_note(call: Billable, model: str) -> str:
    note = f"no price for {model} at {call.provider}"
    if not model:
        note = "no price: the call names no model"
    elif not call.provider:
        note = f"no price for {model}: the call names no provider"
    if has_own_price(call.service_tier):
        note += f" on the tier {call.service_tier}"
    return note


def _unpriced(call: Billable, why: str) -> Charge:
    # The row must keep both notes for when it is priced later.
    estimated = ESTIMATED_NOTE if call.estimated else ""
    note = _SEPARATOR.join(filter(None, (why, estimated, *unknown_notes(call.missing_usage))))
    return Charge(_UNKNOWN_AMOUNTS, "unpriced", "", note)


def _amounts(cost: Cost) -> tuple[Decimal, ...]:
    return (
        cost.total_usd,
        cost.input_usd,
        cost.cached_usd,
        cost.cache_write_usd,
        cost.output_usd,
        cost.tool_usd,
    )
