"""What a call's row says about money: the cost columns, their status, and why.

The one judgement for calls that arrive and for rows that are priced again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from tokenledger_exporter.price_rows import Cost
from tokenledger_exporter.prices import free_sheet, tier_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tokenledger_exporter.prices import PriceBook
    from tokenledger_semconv.tokens import TokenVector

ESTIMATED_NOTE: Final = "output tokens were estimated, the provider's own count never came"
"""Part of `cost_note` of every row whose output was estimated."""

REFUSED_NOTE: Final = "the provider refused the call"
"""`cost_note` of a row that costs nothing because no work was done."""


class Billable(Protocol):
    """What a price needs to know of a call; `dialects.CallFacts` says what each means."""

    @property
    def provider(self) -> str:
        """Who billed it."""
        ...

    @property
    def priced_model(self) -> str:
        """The name to look its price up by."""
        ...

    @property
    def operation(self) -> str:
        """GenAI operation."""
        ...

    @property
    def tokens(self) -> TokenVector:
        """What was used."""
        ...

    @property
    def service_tier(self) -> str:
        """Tier, in the provider's words."""
        ...

    @property
    def inference_geo(self) -> str:
        """Where it ran, in the provider's words."""
        ...

    @property
    def refused(self) -> bool:
        """Whether the provider refused it before any work."""
        ...

    @property
    def estimated(self) -> bool:
        """Whether its output was estimated."""
        ...

    @property
    def missing_usage(self) -> str:
        """What its counts lack, in words; "" if they are whole."""
        ...


def cost_columns(
    call: Billable, moment: datetime, prices_of: Callable[[str], PriceBook]
) -> dict[str, Any]:
    """Cost columns: a number only where one is known, and a status that says what it is.

    Args:
        call: the call.
        moment: when it started, with a time zone: its price is the one of that time.
        prices_of: gives a provider's price book.
    """
    if call.refused:
        return _columns(Cost(), "priced", REFUSED_NOTE)
    if free := free_sheet(call.provider, call.operation):
        return _columns(Cost(free), "priced", "")
    if not call.tokens.is_measured:
        return _columns(None, "unmeasured", call.missing_usage)
    if faults := call.tokens.faults():
        return _columns(None, "unpriced", "; ".join(faults))
    model, tier = call.priced_model, tier_at(call.service_tier, call.inference_geo)
    cost = prices_of(call.provider).cost(call.provider, model, moment, tier, call.tokens)
    if cost is None:
        note = f"no price for {model or 'a call without a model'} at {call.provider or '?'}"
        return _unpriced(call, note)
    return _judged(call, cost)


def _judged(call: Billable, cost: Cost) -> dict[str, Any]:
    """Cost columns of a call whose model has a price: how far is the cost to be trusted?"""
    unpriced = f"no price for {', '.join(cost.unpriced_kinds)}" if cost.unpriced_kinds else ""
    if unpriced and not cost.total_usd:
        return _unpriced(call, f"{unpriced} of {call.priced_model} at {call.provider}")
    estimated = ESTIMATED_NOTE if call.estimated else ""
    note = "; ".join(filter(None, (estimated, unpriced, call.missing_usage)))
    status = "estimated" if estimated else "partial" if note else "priced"
    return _columns(cost, status, note)


def _unpriced(call: Billable, why: str) -> dict[str, Any]:
    # That the output was estimated must still be known when a price is found one day.
    return _columns(None, "unpriced", f"{why}; {ESTIMATED_NOTE}" if call.estimated else why)


def _columns(cost: Cost | None, status: str, note: str) -> dict[str, Any]:
    return {
        "cost_usd": cost.total_usd if cost else None,
        "input_cost_usd": cost.input_usd if cost else None,
        "cached_cost_usd": cost.cached_usd if cost else None,
        "cache_write_cost_usd": cost.cache_write_usd if cost else None,
        "output_cost_usd": cost.output_usd if cost else None,
        "tool_cost_usd": cost.tool_usd if cost else None,
        "cost_status": status,
        "cost_note": note,
        "price_id": cost.price_id if cost else "",
    }
