"""What a call may cost: by the past calls of its feature and model, else by its request."""

from __future__ import annotations

import math
import time
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Final, cast

from tokenledger._usage.estimate import INPUT_CHARACTERS_PER_TOKEN
from tokenledger_semconv import attributes as names
from tokenledger_semconv.bounded_cache import BoundedCache

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

    from tokenledger._ledger import Ledger
    from tokenledger_semconv.budgets import CallAttributes

DEFAULT_OUTPUT_TOKENS: Final = 1_000
"""Output tokens of a request that sets no limit for them."""

ENCODED_FILE_CHARACTERS: Final = 1_600 * INPUT_CHARACTERS_PER_TOKEN
"""What an encoded file counts as: Anthropic bills about 1,600 tokens for an image of 1,092 x 1,092
pixels (width x height / 750; platform.claude.com/docs/en/vision, read 2026-11-29)."""

MIN_PAST_CALLS: Final = 20
"""From so many past calls on, their costs decide."""

QUANTILE: Final = Decimal("0.95")
"""The share of the past calls that cost no more than the estimate."""

_PAST_CALLS: Final = 100
_MAX_KINDS: Final = 1_000
_KIND: Final = (names.FEATURE, names.OPERATION_NAME, names.PROVIDER_NAME, names.REQUEST_MODEL)


class PastCosts:
    """What the last calls of each feature and model cost in this process."""

    __slots__ = ("_costs",)

    def __init__(self) -> None:
        self._costs: BoundedCache[tuple[object, ...], deque[Decimal]] = BoundedCache(_MAX_KINDS)

    def add(self, attributes: CallAttributes, cost_usd: Decimal) -> None:
        """Add a call that succeeded."""
        kind = _kind(attributes)
        costs = self._costs.get(kind)
        if costs is None:
            costs = self._costs[kind] = deque(maxlen=_PAST_CALLS)
        costs.append(cost_usd)

    def high_cost(self, attributes: CallAttributes) -> Decimal | None:
        """A high quantile of what such calls cost; `None` if there were too few."""
        costs = self._costs.get(_kind(attributes), ())
        if len(costs) < MIN_PAST_CALLS:
            return None
        ordered = sorted(costs)
        return ordered[math.ceil(QUANTILE * len(ordered)) - 1]


PAST_COSTS: Final = PastCosts()
"""Those of this process."""


def estimated_cost(
    attributes: CallAttributes, characters: int, ledger: Ledger | None
) -> Decimal | None:
    """What a call may cost, in US dollars; `None` if it has no price.

    Args:
        attributes: its attributes at its start.
        characters: the length of the text in its request.
        ledger: knows the prices; `None` knows none.
    """
    cost = PAST_COSTS.high_cost(attributes)
    if cost is None and ledger is not None:
        usage = {
            names.INPUT_TOKENS: math.ceil(characters / INPUT_CHARACTERS_PER_TOKEN),
            names.OUTPUT_TOKENS: _output_tokens(attributes),
        }
        cost = price(ledger, {**attributes, **usage}, time.time_ns(), failed=False)
    return cost


def price(
    ledger: Ledger, attributes: CallAttributes, start_ns: int, *, failed: bool
) -> Decimal | None:
    """The cost of a call in US dollars, by the ledger's prices; `None` if it has none."""
    values = cast("Mapping[str, AttributeValue]", attributes)
    return ledger.price(values, start_ns, failed=failed)


def _kind(attributes: CallAttributes) -> tuple[object, ...]:
    return tuple(map(attributes.get, _KIND))


def _output_tokens(attributes: CallAttributes) -> int:
    """The most output tokens that a request asks for."""
    if attributes.get(names.OPERATION_NAME) == "embeddings":
        return 0
    tokens = attributes.get(names.REQUEST_MAX_TOKENS)
    choices = attributes.get(names.REQUEST_CHOICE_COUNT)
    tokens = tokens if type(tokens) is int and tokens > 0 else DEFAULT_OUTPUT_TOKENS
    return tokens * choices if type(choices) is int and choices > 1 else tokens
