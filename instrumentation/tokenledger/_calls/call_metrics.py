"""The conventions' metrics of calls, on the app's meter provider.

An app without a meter provider pays nothing: a tracer looks for one once, and again when the app
sets another. A no-op provider counts as none. The metrics' attributes are the conventions' own: no
user, tenant or other attribution, because each value would be a time series, and no content.
"""

from __future__ import annotations

import os
import sys
import time
from array import array
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import NoOpMeterProvider, get_meter_provider

from tokenledger._calls.instruments import LatestInstruments, PublishedInstruments
from tokenledger._guard import Guard, report
from tokenledger_semconv import genai_metrics as metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.util.types import AttributeValue

    from tokenledger._calls.instruments import Instruments

_PROVIDER_VARIABLE: Final = "OTEL_PYTHON_METER_PROVIDER"
_NANOSECONDS: Final = 1_000_000_000
# So many are reported together: a stream holds no more of them.
_GAPS_AT_ONCE: Final = 1_000
# Streams that an app abandons without making another call.
_MAX_WAITING: Final = 1_000


class NoState:
    """In place of OpenTelemetry's module, for a release that stores the provider elsewhere."""

    _METER_PROVIDER: MeterProvider | None = None


def _global_state() -> object:
    module = sys.modules.get("opentelemetry.metrics._internal")
    return module if hasattr(module, "_METER_PROVIDER") else NoState()


GLOBAL_METER_STATE: Final[Any] = _global_state()
"""Its `_METER_PROVIDER` is the global meter provider that the app set; `None` if it set none.

Each call compares it, which costs less than `get_meter_provider()`."""


class CallMetrics:
    """Reports the metrics of the calls of one instrumentation scope.

    A call may be ended by the garbage collector, in a thread that holds a lock of OpenTelemetry's
    metrics at that moment. So a call that ends is only appended, and `report` is called where no
    collection runs: by the call itself, or, after a stream that was abandoned, by the next call.

    Args:
        instruments: the metrics.
    """

    __slots__ = ("_instruments", "_waiting")

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._waiting: deque[Callable[[], None]] = deque(maxlen=_MAX_WAITING)

    def add_call(
        self,
        attributes: Mapping[str, AttributeValue],
        start_ns: int,
        end_ns: int | None = None,
        *,
        failed: bool = False,
    ) -> None:
        """Note one call that ended.

        Args:
            attributes: the attributes of its span.
            start_ns: when it began, in nanoseconds since 1970.
            end_ns: when its span ended; `None` is now.
            failed: whether it failed.
        """
        seconds = max(0, (end_ns or time.time_ns()) - start_ns) / _NANOSECONDS
        add_call = self._instruments.add_call
        self._waiting.append(partial(add_call, attributes, seconds, failed=failed))

    def add_gaps(self, attributes: Mapping[str, AttributeValue], gaps: Sequence[float]) -> None:
        """Note the seconds between the chunks of a stream.

        Args:
            attributes: the attributes of its span that are known.
            gaps: the seconds.
        """
        self._waiting.append(partial(self._instruments.add_gaps, attributes, gaps))

    def report(self) -> None:
        """Report what was noted. Never raises; never call it while garbage is collected."""
        while self._waiting:
            with Guard("reporting a call's metrics"), suppress(IndexError):
                # Another thread may have taken the last one.
                self._waiting.popleft()()


class ChunkClock:
    """Measures the time between the chunks of one stream.

    Args:
        metrics: where they are reported.
        attributes: the attributes of the call's span at its start.
        read: returns what was read from the stream so far.
    """

    __slots__ = ("_attributes", "_gaps", "_metrics", "_previous", "_read")

    def __init__(
        self,
        metrics: CallMetrics,
        attributes: Mapping[str, AttributeValue],
        read: Callable[[], Mapping[str, AttributeValue]],
    ) -> None:
        self._metrics = metrics
        self._attributes = attributes
        self._read = read
        self._gaps = array("d")
        self._previous = 0.0

    def tick(self) -> None:
        """A chunk arrived. Never raises."""
        now = time.perf_counter()
        if self._previous:
            if len(self._gaps) >= _GAPS_AT_ONCE:
                self.end()
                self._metrics.report()
            self._gaps.append(now - self._previous)
        self._previous = now

    def drop(self) -> None:
        """The last chunk is hidden from the app."""
        if self._gaps:
            self._gaps.pop()

    def end(self) -> None:
        """Note what was measured since the last time. Never raises."""
        gaps, self._gaps = self._gaps, array("d")
        if gaps:
            with Guard("reading a stream"):
                self._metrics.add_gaps({**self._attributes, **self._read()}, gaps)


class TimedChunks:
    """An iterator over the same chunks, which stops the time between them.

    A class and not a generator: an abandoned one needs no closing.

    Args:
        chunks: the SDK's iterator, sync or async.
        clock: gets a tick with each chunk.
    """

    __slots__ = ("_chunks", "_clock")

    def __init__(self, chunks: Any, clock: ChunkClock) -> None:  # noqa: ANN401 - of any SDK
        self._chunks = chunks
        self._clock = clock

    def __iter__(self) -> TimedChunks:
        return self

    def __next__(self) -> object:
        chunk = next(self._chunks)
        self._clock.tick()
        return chunk

    def __aiter__(self) -> TimedChunks:
        return self

    async def __anext__(self) -> object:
        chunk = await self._chunks.__anext__()
        self._clock.tick()
        return chunk


def find_metrics(
    scope: str, release: str, provider: MeterProvider | None
) -> tuple[CallMetrics, ...]:
    """The metrics of a scope; empty if the app has no meter provider. Never raises.

    Args:
        scope: name of the instrumentation scope.
        release: its version.
        provider: the provider that an instrumentor was given; `None` uses the global one.
    """
    if provider is None:
        provider = _global_provider()
    if provider is None or isinstance(provider, NoOpMeterProvider):
        return ()
    opted_in = os.environ.get(metrics.STABILITY_OPT_IN_VARIABLE, "").split(",")
    is_latest = metrics.LATEST in (name.strip() for name in opted_in)
    with Guard("making the metrics of calls"):
        meter = provider.get_meter(scope, release)
        make = LatestInstruments if is_latest else PublishedInstruments
        return (CallMetrics(make(meter)),)
    return ()


def _global_provider() -> MeterProvider | None:
    """The app's global meter provider; `None` if it has none."""
    if GLOBAL_METER_STATE._METER_PROVIDER is None and not (  # noqa: SLF001
        isinstance(GLOBAL_METER_STATE, NoState) or os.environ.get(_PROVIDER_VARIABLE)
    ):
        return None
    try:
        return get_meter_provider()
    except Exception as error:  # noqa: BLE001 - whatever the named provider's package raises
        report("loading the app's meter provider", type(error).__name__)
        return None
