"""One model call: the object that owns its spans and finishes them exactly once.

A call has one span on the app's tracing, one on the ledger's private provider, or both; they say
the same. It never holds a prompt, a completion, a key or the text of an error.
"""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING, Final

from opentelemetry import baggage, context, trace
from opentelemetry.trace import StatusCode

from tokenledger.failures import Guard
from tokenledger.reading import Reading, attributes_of
from tokenledger_semconv.attributes import ERROR_TYPE, HTTP_STATUS_CODE, TIME_TO_FIRST_CHUNK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

_RUNNING: Final = context.create_key("tokenledger-call")
_NANOSECONDS: Final = 1_000_000_000
_NOTHING_READ: Final = Reading()


class Call:
    """A call in flight; `with call:` runs the SDK under it and fails it if the SDK raises.

    Args:
        spans: the spans to finish; none for a call that could not be started.
        current: the span the SDK call runs under; `None` leaves the app's own in force.
    """

    __slots__ = ("_current", "_finishing", "_first_chunk", "_previous", "_spans", "_started")

    def __init__(self, spans: Sequence[Span] = (), current: Span | None = None) -> None:
        self._spans = spans
        self._current = current
        self._started = time.perf_counter_ns()
        self._first_chunk: int | None = None
        self._previous: Context | None = None
        # Taken by the first to finish and never given back.
        self._finishing = Lock()

    def __enter__(self) -> None:
        """Run what follows under our span and without baggage, so that none reaches a provider."""
        with Guard("entering a call"):
            before = context.get_current()
            running = context.set_value(_RUNNING, self, baggage.clear(before))
            if self._current is not None:
                running = trace.set_span_in_context(self._current, running)
            context.attach(running)
            self._previous = before

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        # No token is detached: a coroutine thrown away is closed in somebody else's context,
        # which must stay as it is.
        with Guard("leaving a call"):
            if self._previous is not None and context.get_value(_RUNNING) is self:
                context.attach(self._previous)
            self._previous = None
        if error is not None:
            self.finish(error=error)

    @property
    def is_finished(self) -> bool:
        """Whether the call was finished, or is being finished right now."""
        return self._finishing.locked()

    def first_chunk(self) -> None:
        """Note the time of a stream's first chunk; later calls change nothing."""
        if self._first_chunk is None:
            self._first_chunk = time.perf_counter_ns()

    def finish(
        self,
        reading: Reading = _NOTHING_READ,
        error: BaseException | None = None,
        end_time_ns: int | None = None,
    ) -> None:
        """End the spans with what was read; only the first finish counts, from any thread.

        Args:
            reading: what the answer said, as far as it was read.
            error: what ended the call, if it did not end well.
            end_time_ns: when the call ended; `None` is now.
        """
        if not self._finishing.acquire(blocking=False):
            return
        attributes: dict[str, AttributeValue] = {}
        failed = error is not None or bool(reading.error_type)
        with Guard("reading the outcome of a call"):
            attributes.update(_error_attributes(reading, error))
            if self._first_chunk is not None:
                waited = self._first_chunk - self._started
                attributes[TIME_TO_FIRST_CHUNK] = waited / _NANOSECONDS
            attributes.update(attributes_of(reading))
        for span in self._spans:
            with Guard("ending a span"):
                span.set_attributes(attributes)
                if failed:
                    span.set_status(StatusCode.ERROR)
                span.end(end_time_ns)


def _error_attributes(reading: Reading, error: BaseException | None) -> dict[str, AttributeValue]:
    if error is None:
        return {ERROR_TYPE: reading.error_type} if reading.error_type else {}
    found: dict[str, AttributeValue] = {ERROR_TYPE: type(error).__name__}
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        found[HTTP_STATUS_CODE] = status
    return found
