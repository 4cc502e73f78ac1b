"""`meter()`: sums the cost and the usage of the calls made inside a block."""

from __future__ import annotations

import functools
from collections import deque
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final, cast

from opentelemetry import context

from tokenledger._attribution import scope
from tokenledger._guard import Guard
from tokenledger._state import RUNTIME
from tokenledger_semconv import attributes as names
from tokenledger_semconv.bounded_cache import BoundedCache

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Context as DecimalContext
    from decimal import Decimal

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue
    from typing_extensions import Self

    from tokenledger._ledger import Ledger

METERS: Final = context.create_key("tokenledger-meters")
"""The meters of a context: a tuple of objects with `Meter.add`."""

# A meter that is never read, like one around a worker's whole life, must not store every call.
_MAX_WAITING_CALLS: Final = 1_000
_UNKNOWN: Final = "unknown"
# Nor the identity of every batch result and background response.
_MAX_IDENTITIES: Final = 10_000


@dataclass(frozen=True, slots=True)
class MeteredTokens:
    """Tokens of the calls a meter counted; an unreported count is 0.

    Args:
        input: input, including cached.
        output: output, including reasoning.
        cached: the part of the input that was read from a cache.
        cache_write: the part of the input that was written to a cache.
        reasoning: the part of the output that is reasoning.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        """Input and output."""
        return self.input + self.output

    def plus(self, attributes: Mapping[str, AttributeValue]) -> MeteredTokens:
        """The sum of these and the tokens of one more call."""
        return MeteredTokens(
            self.input + _count(attributes.get(names.INPUT_TOKENS)),
            self.output + _count(attributes.get(names.OUTPUT_TOKENS)),
            self.cached + _count(attributes.get(names.CACHE_READ_TOKENS)),
            self.cache_write + _count(attributes.get(names.CACHE_WRITE_TOKENS)),
            self.reasoning + _count(attributes.get(names.REASONING_TOKENS)),
        )


@dataclass(frozen=True, slots=True)
class _EndedCall:
    """A call that is not added up yet, and the ledger that knows its price."""

    ledger: Ledger | None
    attributes: Mapping[str, AttributeValue]
    start_ns: int
    failed: bool


def meter() -> Meter:
    """Count the model calls made inside a `with` block, including those under nested meters.

    Calls by threads and tasks started inside count if the context is passed on to them. A stream
    counts when it ends. A call that is one row counts once, even if it is reported again: results
    of a batch that are read twice, or a background response that is fetched later. The meter can be
    read inside the block and after it.
    """
    return Meter()


class Meter:
    """Sums of the calls made under it; may be entered again and shared by threads.

    Costs use the prices that `Ledger.price` has in memory; the rows in the ledger are
    authoritative. Calls are priced when the meter is read, so that the calls themselves do not
    wait.
    """

    __slots__ = (
        "_calls",
        "_calls_by_id",
        "_cost",
        "_ended",
        "_sum_lock",
        "_tokens",
        "_without_cost",
    )

    def __init__(self) -> None:
        # A garbage collection may end a call during any line here, so ending a call only appends.
        self._ended: Final[deque[_EndedCall]] = deque()
        self._sum_lock: Final = Lock()
        self._calls = 0
        self._without_cost = 0
        self._cost: Decimal | None = None
        self._tokens = MeteredTokens()
        # Identity of a call that may be reported again -> whether its usage is known.
        self._calls_by_id: BoundedCache[str, bool] = BoundedCache(_MAX_IDENTITIES)

    def __repr__(self) -> str:
        """What was counted so far, in one line; a `+` says that calls are missing from the cost."""
        cost, calls = self.cost_text, self.calls
        plural = "" if calls == 1 else "s"
        cost = "unknown cost" if cost == _UNKNOWN else cost
        return f"<Meter: {cost}, {calls:,} call{plural}, {self._tokens.total:,} tokens>"

    @property
    def cost_text(self) -> str:
        """The cost to print: `$0.0016`, `$0.0016+` if calls are missing from it, or `unknown`."""
        cost, calls = f"${self.cost_usd.normalize(_money()):f}", self.calls
        if self._without_cost:
            return f"{cost}+" if self._without_cost < calls else _UNKNOWN
        return cost

    def __enter__(self) -> Self:
        """Count the calls from here on."""
        with Guard("entering a meter"):
            scope.enter(self, counted_by(self, context.get_current()))
        return self

    def __exit__(self, *_error: object) -> None:
        with Guard("leaving a meter"):
            scope.leave(self)

    def add(self, attributes: Mapping[str, AttributeValue], start_ns: int, failed: bool) -> None:
        """Count one call that ended.

        Args:
            attributes: the attributes of its span.
            start_ns: when it began, in nanoseconds since 1970.
            failed: whether it failed.
        """
        self._ended.append(_EndedCall(RUNTIME.setup.ledger, attributes, start_ns, failed))
        if len(self._ended) >= _MAX_WAITING_CALLS and self._sum_lock.acquire(blocking=False):
            try:
                self._add_up()
            finally:
                self._sum_lock.release()

    @property
    def cost_usd(self) -> Decimal:
        """US dollars of the calls that have a price; 0 if none has."""
        self._read()
        return _money().create_decimal(0) if self._cost is None else self._cost

    @property
    def tokens(self) -> MeteredTokens:
        """The tokens of the calls."""
        self._read()
        return self._tokens

    @property
    def calls(self) -> int:
        """The number of calls that ended, including failed ones."""
        self._read()
        return self._calls

    @property
    def calls_without_cost(self) -> int:
        """The number of calls missing from `cost_usd`: without a price, a usage, or a ledger."""
        self._read()
        return self._without_cost

    def _read(self) -> None:
        with self._sum_lock:
            self._add_up()

    def _add_up(self) -> None:
        while self._ended:
            call = self._ended.popleft()
            cost = _price(call)
            if self._is_duplicate(call, cost):
                continue
            self._calls += 1
            self._tokens = self._tokens.plus(call.attributes)
            if cost is None:
                self._without_cost += 1
            else:
                self._cost = cost if self._cost is None else _money().add(self._cost, cost)

    def _is_duplicate(self, call: _EndedCall, cost: Decimal | None) -> bool:
        """Whether a call was reported before with its usage; else this report replaces it."""
        identity = call.attributes.get(names.CALL_ID)
        if not isinstance(identity, str):
            return False
        has_usage = self._calls_by_id.get(identity)
        if has_usage is True:
            return True
        if has_usage is False:
            self._calls -= 1
            self._without_cost -= 1
        self._calls_by_id[identity] = cost is not None or any(
            name in call.attributes for name in (names.INPUT_TOKENS, names.OUTPUT_TOKENS)
        )
        return False


def counted_by(meter: object, current: Context) -> Context:
    """A context whose calls are counted by one more meter."""
    meters = cast("tuple[object, ...]", current.get(METERS, ()))
    if any(other is meter for other in meters):
        return current
    return context.set_value(METERS, (*meters, meter), current)


def _price(call: _EndedCall) -> Decimal | None:
    if call.ledger is not None:
        with Guard("pricing a metered call"):
            return call.ledger.price(call.attributes, call.start_ns, failed=call.failed)
    return None


def _count(value: object) -> int:
    return value if type(value) is int else 0


@functools.cache
def _money() -> DecimalContext:
    """A context of our own: an app that changes the global one does not change our sums."""
    # Loaded with the first amount: decimal takes a tenth of the time of importing this package.
    from decimal import Context

    return Context(prec=50)
