"""The cost of a call as its provider reports it, inside the usage object.

Sources, read 2026-11-28: OpenRouter's "Usage accounting" (`cost`, and for a key of one's own what
the upstream provider charges in addition), Perplexity's API reference (`cost.total_cost`), x.ai's
usage object (ticks; ten billion are a dollar).
"""

from decimal import Context, Decimal
from typing import Final

from tokenledger_semconv.usage.counts import JsonObject, object_in

_TICKS_EXPONENT: Final = -10
_MAX_DOLLARS: Final = 10**12
_MAX_TICKS: Final = 10**20
# A context of our own: the app's may round.
_MONEY: Final = Context(prec=50)


def reported_cost(usage: JsonObject) -> str:
    """The reported cost in US dollars, as decimal text; "" if the usage has none."""
    ticks = usage.get("cost_in_usd_ticks")
    if isinstance(ticks, int) and not isinstance(ticks, bool) and 0 <= ticks < _MAX_TICKS:
        return f"{_MONEY.scaleb(Decimal(ticks), _TICKS_EXPONENT):f}"
    cost = _amount(usage.get("cost"))
    if cost is None:
        cost = _amount(object_in(usage, "cost").get("total_cost"))
    upstream = _amount(object_in(usage, "cost_details").get("upstream_inference_cost"))
    own_key = usage.get("is_byok")
    # Without a key of one's own, the cost already includes what the upstream provider charges.
    if upstream is not None and (own_key is True or (not cost and own_key is not False)):
        cost = _MONEY.add(cost or Decimal(0), upstream)
    return "" if cost is None else f"{cost:f}"


def _amount(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # By its text, which has the digits that the provider wrote. NaN fails the comparison.
    return Decimal(str(value)) if 0 <= value < _MAX_DOLLARS else None
