"""The cost of a call as its provider reports it, inside the usage object.

Sources, read 2026-11-28: OpenRouter's "Usage accounting" (`cost`, and for a key of one's own what
the upstream provider charges in addition), Perplexity's API reference (`cost.total_cost`), x.ai's
usage object (ticks; ten billion are a dollar).
"""

from decimal import Context, Decimal
from typing import Final, NamedTuple

from tokenledger_semconv.usage.counts import JsonObject, object_in

_TICKS_EXPONENT: Final = -10
_MAX_DOLLARS: Final = 10**12
_MAX_TICKS: Final = 10**20
# A context of our own: the app's may round.
_MONEY: Final = Context(prec=50)


REPORTING_PROVIDERS: Final = frozenset({"openrouter", "perplexity", "x-ai"})
"""The ledger's names of the providers whose usage objects have the cost that they charge. Others,
such as LiteLLM's proxy, write an estimate of their own into the same fields."""


class ReportedCost(NamedTuple):
    """A cost as the provider reports it.

    Args:
        usd: US dollars, as decimal text.
        source: the field of the response that has it.
    """

    usd: str
    source: str


def reported_cost(usage: JsonObject) -> ReportedCost | None:
    """The cost that a usage object reports; `None` if it reports none."""
    ticks = usage.get("cost_in_usd_ticks")
    if isinstance(ticks, int) and not isinstance(ticks, bool) and 0 <= ticks < _MAX_TICKS:
        usd = _MONEY.scaleb(Decimal(ticks), _TICKS_EXPONENT)
        return ReportedCost(f"{usd:f}", "usage.cost_in_usd_ticks")
    cost, source = _amount(usage.get("cost")), "usage.cost"
    if cost is None:
        cost, source = _amount(object_in(usage, "cost").get("total_cost")), "usage.cost.total_cost"
    upstream = _amount(object_in(usage, "cost_details").get("upstream_inference_cost"))
    own_key = usage.get("is_byok")
    if own_key is True and upstream is None:
        # OpenRouter's part is known, and what the upstream provider charges is not.
        return None
    # Without a key of one's own, the cost already includes what the upstream provider charges.
    if upstream is not None and (own_key is True or (not cost and own_key is not False)):
        cost = _MONEY.add(cost or Decimal(0), upstream)
        source = "usage.cost + usage.cost_details.upstream_inference_cost"
    return None if cost is None else ReportedCost(f"{cost:f}", source)


def _amount(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # By its text, which has the digits that the provider wrote. NaN fails the comparison.
    return Decimal(str(value)) if 0 <= value < _MAX_DOLLARS else None
