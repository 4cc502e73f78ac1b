"""What a call may cost: a high quantile of past calls like it, or else its size."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Final

from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from decimal import Decimal

    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_semconv.budgets import CallAttributes

    Price = Callable[[Mapping[str, object], int], Decimal | None]

QUANTILE: Final = 0.95
"""Share of past calls that cost no more than the estimate."""

_PAST_CALLS: Final = 200
_ENOUGH_CALLS: Final = 20
_MAX_KINDS: Final = 4096
_CHARACTERS_PER_TOKEN: Final = 4
_USUAL_OUTPUT_TOKENS: Final = 1000


@dataclass(slots=True)
class _Past:
    """The costs of the last calls of one kind, in US dollars, and their quantile.

    `in_ledger` is the quantile of the ledger's calls; it counts until this process has made enough.
    """

    costs: deque[Decimal] = field(default_factory=lambda: deque(maxlen=_PAST_CALLS))
    in_ledger: Decimal | None = None
    estimate: Decimal | None = None

    def update(self) -> None:
        """Compute the estimate again."""
        costs = sorted(self.costs)
        own = costs[int(QUANTILE * (len(costs) - 1) + 0.5)] if costs else None
        if self.in_ledger is None or len(costs) >= _ENOUGH_CALLS:
            self.estimate = own
        else:
            self.estimate = max(self.in_ledger, own or self.in_ledger)


class Estimates:
    """Estimates by feature and requested model."""

    def __init__(self) -> None:
        self._past: Final[dict[tuple[object, object], _Past]] = {}
        # The writer's thread learns while others ask; a dictionary is read without it.
        self._lock: Final = Lock()

    def past(self, attributes: CallAttributes) -> Decimal | None:
        """What calls like this one have cost, in US dollars; `None` if none is known."""
        kind = (attributes.get(names.FEATURE, ""), attributes.get(names.REQUEST_MODEL, ""))
        past = self._past.get(kind)
        return None if past is None else past.estimate

    def note_ledger(self, quantiles: Iterable[tuple[str, str, Decimal]]) -> None:
        """Take over what calls of all processes have cost.

        Args:
            quantiles: feature, requested model, and the quantile of their costs in US dollars.
        """
        with self._lock:
            for feature, model, usd in quantiles:
                past = self._past.setdefault((feature, model), _Past())
                past.in_ledger = usd
                past.update()

    def learn(self, rows: Iterable[LedgerRow]) -> None:
        """Learn from committed rows."""
        with self._lock:
            changed = {
                id(past): past for row in rows if (past := self._add(row)) is not None
            }.values()
            for past in changed:
                past.update()

    def _add(self, row: LedgerRow) -> _Past | None:
        kind = (row.feature, row.request_model or row.model)
        # A failed call costs nothing, which says nothing about the next one.
        if not row.cost_usd:
            return None
        past = self._past.get(kind)
        if past is None:
            if len(self._past) >= _MAX_KINDS:
                return None
            past = self._past[kind] = _Past()
        past.costs.append(row.cost_usd)
        return past


def estimate_by_size(
    attributes: CallAttributes, input_characters: int, price: Price
) -> Decimal | None:
    """What a call of this size may cost, in US dollars; `None` if it has no price.

    Args:
        attributes: the call's attributes at its start; without a maximum of output tokens, 1,000
            are assumed.
        input_characters: the length of the text in its request; four are one token.
        price: attributes and start in nanoseconds -> cost in US dollars, `None` without a price.
    """
    limit = attributes.get(names.REQUEST_MAX_TOKENS)
    output_tokens = limit if isinstance(limit, int) and limit > 0 else _USUAL_OUTPUT_TOKENS
    usage = {
        names.INPUT_TOKENS: max(1, input_characters // _CHARACTERS_PER_TOKEN),
        names.OUTPUT_TOKENS: output_tokens,
    }
    return price({**attributes, **usage}, time.time_ns())
