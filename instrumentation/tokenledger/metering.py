"""`meter()`: what the calls made inside a block cost and used, as they end."""

from __future__ import annotations

import functools
import importlib
from collections import OrderedDict, deque
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry import context

from tokenledger import stretches
from tokenledger.failures import Guard
from tokenledger.runtime import RUNTIME
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Context as DecimalContext
    from decimal import Decimal

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue
    from typing_extensions import Self

    from tokenledger.ledger import Ledger

METERS: Final = context.create_key("tokenledger-meters")
"""What counts the calls of a context: a tuple of objects with `Meter.add`."""

# A meter that nobody reads, as one around a worker's whole life, must not keep every call.
_KEPT_CALLS: Final = 1_000
# Nor everything it was ever told of batches and background answers.
_KEPT_IDENTITIES: Final = 10_000


@dataclass(frozen=True, slots=True)
class MeteredTokens:
    """Tokens of the calls a meter counted; what a provider did not report counts as none.

    Args:
        input: input, including cached.
        output: output, including reasoning.
        cached: input served from a cache, within input.
        cache_write: input written to a cache, within input.
        reasoning: reasoning, within output.
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

    def and_of(self, told: Mapping[str, AttributeValue]) -> MeteredTokens:
        """These, and those of one more call."""
        return MeteredTokens(
            self.input + _count(told.get(names.INPUT_TOKENS)),
            self.output + _count(told.get(names.OUTPUT_TOKENS)),
            self.cached + _count(told.get(names.CACHE_READ_TOKENS)),
            self.cache_write + _count(told.get(names.CACHE_WRITE_TOKENS)),
            self.reasoning + _count(told.get(names.REASONING_TOKENS)),
        )


@dataclass(frozen=True, slots=True)
class _EndedCall:
    """A call that waits to be added up, and the ledger that knows its price."""

    ledger: Ledger | None
    told: Mapping[str, AttributeValue]
    start_ns: int
    failed: bool


def meter() -> Meter:
    """Count the model calls made inside a `with` block, nested meters too.

    Calls of threads and tasks started inside count where the context goes with them; a stream
    counts when it ends, and a call that is one row counts once, however often it is told: a batch's
    results that are read again, an answer made in the background and then fetched. The meter can be
    read inside the block and after it.
    """
    return Meter()


class Meter:
    """Sums of the calls made under it; may be entered again and shared by threads.

    Costs are by the prices `Ledger.price` knows without asking the database; the ledger's rows are
    what counts. Calls are priced when somebody reads, so that the calls themselves do not wait.
    """

    __slots__ = (
        "_adding_up",
        "_calls",
        "_cost",
        "_ended",
        "_identified",
        "_tokens",
        "_without_cost",
    )

    def __init__(self) -> None:
        # A call may end in a garbage collection, on top of any line here: ending one only appends.
        self._ended: Final[deque[_EndedCall]] = deque()
        self._adding_up: Final = Lock()
        self._calls = 0
        self._without_cost = 0
        self._cost: Decimal | None = None
        self._tokens = MeteredTokens()
        # Identity of a call that may be told again -> whether it has said what it used.
        self._identified: OrderedDict[str, bool] = OrderedDict()

    def __enter__(self) -> Self:
        """Count from here on."""
        with Guard("entering a meter"):
            stretches.enter(self, counted_by(self, context.get_current()))
        return self

    def __exit__(self, *_error: object) -> None:
        with Guard("leaving a meter"):
            stretches.leave(self)

    def add(self, told: Mapping[str, AttributeValue], start_ns: int, failed: bool) -> None:
        """Count one call that ended.

        Args:
            told: the attributes of its span.
            start_ns: when it began, in nanoseconds since 1970.
            failed: whether it failed.
        """
        self._ended.append(_EndedCall(RUNTIME.setup.ledger, told, start_ns, failed))
        if len(self._ended) >= _KEPT_CALLS and self._adding_up.acquire(blocking=False):
            try:
                self._add_up()
            finally:
                self._adding_up.release()

    @property
    def cost_usd(self) -> Decimal:
        """US dollars of the calls that have a price; 0 while there is none."""
        self._read()
        return _money().create_decimal(0) if self._cost is None else self._cost

    @property
    def tokens(self) -> MeteredTokens:
        """What the calls used."""
        self._read()
        return self._tokens

    @property
    def calls(self) -> int:
        """How many calls ended, failed ones included."""
        self._read()
        return self._calls

    @property
    def calls_without_cost(self) -> int:
        """How many of them are missing from `cost_usd`: no price, no usage, or no ledger."""
        self._read()
        return self._without_cost

    def _read(self) -> None:
        with self._adding_up:
            self._add_up()

    def _add_up(self) -> None:
        while self._ended:
            call = self._ended.popleft()
            cost = _price(call)
            if self._is_known(call, cost):
                continue
            self._calls += 1
            self._tokens = self._tokens.and_of(call.told)
            if cost is None:
                self._without_cost += 1
            else:
                self._cost = cost if self._cost is None else _money().add(self._cost, cost)

    def _is_known(self, call: _EndedCall, cost: Decimal | None) -> bool:
        """Whether a call was told before, and whole; else this telling takes the place."""
        identity = call.told.get(names.CALL_ID)
        if not isinstance(identity, str):
            return False
        has_said = self._identified.get(identity)
        if has_said is True:
            return True
        if has_said is False:
            self._calls -= 1
            self._without_cost -= 1
        self._identified[identity] = cost is not None or any(
            name in call.told for name in (names.INPUT_TOKENS, names.OUTPUT_TOKENS)
        )
        if len(self._identified) > _KEPT_IDENTITIES:
            self._identified.popitem(last=False)
        return False


def counted_by(counting: object, current: Context) -> Context:
    """A context whose calls are counted by one more."""
    counters = cast("tuple[object, ...]", current.get(METERS, ()))
    if any(counter is counting for counter in counters):
        return current
    return context.set_value(METERS, (*counters, counting), current)


def _price(call: _EndedCall) -> Decimal | None:
    if call.ledger is not None:
        with Guard("pricing a metered call"):
            return call.ledger.price(call.told, call.start_ns, failed=call.failed)
    return None


def _count(value: object) -> int:
    return value if type(value) is int else 0


@functools.cache
def _money() -> DecimalContext:
    """A context of our own: an app that changes the global one changes no sum.

    Loaded with the first amount: decimal is a tenth of what importing this package costs.
    """
    decimal: Any = importlib.import_module("decimal")
    return cast("DecimalContext", decimal.Context(prec=50))
