"""One model call: the object that owns its spans and finishes them exactly once.

A call has one span on the app's tracing, one on the ledger's private provider, or both; they say
the same. It never holds a prompt, a completion, a key or the text of an error.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from threading import Lock
from typing import TYPE_CHECKING, Final

from opentelemetry import baggage, context
from opentelemetry.trace import StatusCode

from tokenledger.failures import Guard, report
from tokenledger.span_attributes import put
from tokenledger_semconv.attributes import ERROR_TYPE, HTTP_STATUS_CODE, TIME_TO_FIRST_CHUNK
from tokenledger_semconv.dimensions import MAX_VALUE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from opentelemetry.context import Context
    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from tokenledger.metering import Meter
    from tokenledger.reading import Found

_NANOSECONDS: Final = 1_000_000_000
RUNNING: Final = context.create_key("tokenledger-running")
"""In a context, whose request runs there; of a call, the lock by which it is finished once."""

_AS_IT_IS: Final[AbstractContextManager[None]] = nullcontext()


class Call:
    """A call in flight.

    Args:
        spans: the spans to finish; none for a call that could not be started.
        before: the context the call was made in.
        running: the context its request runs in: under our span, and without baggage, so that no
            HTTP instrumentation sends any to a provider.
        told: what its span said at its start; kept for the meters only.
        started_ns: when it began, in nanoseconds since 1970.
        meters: what counts the calls around it.
        settings: what else its request said, told with its answer: nobody decides by it.
        finishing: taken by the first to finish and never given back; stands in `running`.
    """

    __slots__ = (
        "_finishing",
        "_first_chunk",
        "_meters",
        "_settings",
        "_spans",
        "_told",
        "before",
        "running",
        "started_ns",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - one hot value object, made once a call
        self,
        spans: Sequence[Span],
        before: Context,
        running: Context,
        told: Mapping[str, AttributeValue],
        started_ns: int,
        meters: Sequence[Meter] = (),
        settings: Found | None = None,
        finishing: Lock | None = None,
    ) -> None:
        self._spans = spans
        self.before = before
        self.running = running
        self._told = told
        self._meters = meters
        self.started_ns = started_ns
        self._first_chunk = 0
        self._settings = settings
        self._finishing = finishing or Lock()

    @property
    def is_finished(self) -> bool:
        """Whether the call was finished, or is being finished right now."""
        return self._finishing.locked()

    def leave(self) -> None:
        """Put back what was before, where the request's context or one made in it still is.

        No token is detached: a coroutine thrown away is closed in somebody else's context, which
        must stay as it is.
        """
        if context.get_current().get(RUNNING) is self._finishing:
            context.attach(self.before)

    def note(self, name: str, value: AttributeValue) -> None:
        """Note what happened on the way; told with the answer."""
        self._settings = {**(self._settings or {}), name: value}

    def first_chunk(self) -> None:
        """Note the time of a stream's first chunk; later calls change nothing."""
        if not self._first_chunk:
            self._first_chunk = time.time_ns()

    def finish(
        self,
        found: Found | None = None,
        error: BaseException | None = None,
        *,
        end_time_ns: int | None = None,
    ) -> None:
        """End the spans with what was read; only the first finish counts, from any thread.

        Args:
            found: what the answer said, as far as it was read; an `error.type` in it is a failure
                that the answer reports inside itself.
            error: what ended the call, if it did not end well.
            end_time_ns: when the call ended; `None` is now.
        """
        if not self._finishing.acquire(blocking=False):
            return
        if found is None:
            found = {}
        if self._settings:
            found = {**self._settings, **found}
        if error is not None:
            with Guard("reading an error"):
                _add_error(found, error)
        if self._first_chunk:
            found[TIME_TO_FIRST_CHUNK] = (self._first_chunk - self.started_ns) / _NANOSECONDS
        failed = ERROR_TYPE in found
        for span in self._spans:
            try:
                put(span, found)
                if failed:
                    span.set_status(StatusCode.ERROR)
                span.end(end_time_ns)
            except Exception as failure:  # noqa: BLE001 - ours, not the app's
                report("ending a span", type(failure).__name__)
        if self._meters:
            self._meter(found, failed)

    def _meter(self, found: Found, failed: bool) -> None:
        with Guard("metering a call"):
            told = {**self._told, **found}
            for meter in self._meters:
                meter.add(told, self.started_ns, failed)


class Running:
    """Runs a request that is no call in a context of its own, and leaves it as a call does."""

    __slots__ = ("_before", "_running")

    def __init__(self, before: Context, running: Context) -> None:
        self._before = before
        self._running = running

    def __enter__(self) -> None:
        with Guard("entering a call"):
            context.attach(context.set_value(RUNNING, self, self._running))

    def __exit__(self, *_raised: object) -> None:
        with Guard("leaving a call"):
            if context.get_value(RUNNING) is self:
                context.attach(self._before)


def without_baggage() -> AbstractContextManager[None]:
    """Runs a request that is no model call: without baggage, like one that is."""
    before = context.get_current()
    if not baggage.get_all(before):
        return _AS_IT_IS
    return Running(before, baggage.clear(before))


def _add_error(found: Found, error: BaseException) -> None:
    found[ERROR_TYPE] = type(error).__name__[:MAX_VALUE_LENGTH]
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        found[HTTP_STATUS_CODE] = status
