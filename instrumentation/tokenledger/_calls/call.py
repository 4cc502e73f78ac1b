"""One model call: owns its spans and finishes them exactly once.

A call has one span in the app's tracing, one on the ledger's private provider, or both, with the
same attributes. It never stores a prompt, a completion, a key or the text of an error.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from threading import Lock
from typing import TYPE_CHECKING, Final

from opentelemetry import baggage, context
from opentelemetry.trace import StatusCode

from tokenledger._calls.call_metrics import CallMetrics, ChunkClock
from tokenledger._guard import Guard, report
from tokenledger._otel_internals import set_attributes
from tokenledger_semconv.attributes import (
    ERROR_TYPE,
    HTTP_RESEND_COUNT,
    HTTP_STATUS_CODE,
    TIME_TO_FIRST_CHUNK,
)
from tokenledger_semconv.dimensions import MAX_VALUE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from opentelemetry.context import Context
    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from tokenledger._calls.meter import Meter
    from tokenledger._usage.fields import Attributes
    from tokenledger_semconv.budgets import Hold

_NANOSECONDS: Final = 1_000_000_000
RUNNING: Final = context.create_key("tokenledger-running")
"""In a context: which request runs there. For a call, the lock that lets it be finished once."""

_NO_CHANGE: Final[AbstractContextManager[None]] = nullcontext()


class Call:
    """A call in flight.

    Args:
        spans: the spans to finish; empty if the call could not be started.
        before: the context the call was made in.
        running: the context its request runs in: under our span, and without baggage, so that no
            HTTP instrumentation sends baggage to a provider.
        start_attributes: the span's attributes at its start; used only by the meters.
        started_ns: when it began, in nanoseconds since 1970.
        meters: count the calls around it, and report its metrics.
        settings: further attributes of its request, added at the end: no sampler uses them.
        finishing: a lock that the first `finish` takes and never releases; stored in `running`.
    """

    __slots__ = (
        "_finishing",
        "_first_chunk_ns",
        "_meters",
        "_settings",
        "_spans",
        "_start_attributes",
        "before",
        "running",
        "started_ns",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - a hot value object, made once per call
        self,
        spans: Sequence[Span],
        before: Context,
        running: Context,
        start_attributes: Mapping[str, AttributeValue],
        started_ns: int,
        meters: Sequence[Meter | CallMetrics | _HoldMeter] = (),
        settings: Attributes | None = None,
        finishing: Lock | None = None,
    ) -> None:
        self._spans = spans
        self.before = before
        self.running = running
        self._start_attributes = start_attributes
        self._meters = meters
        self.started_ns = started_ns
        self._first_chunk_ns = 0
        self._settings = settings
        self._finishing = finishing or Lock()

    @property
    def is_finished(self) -> bool:
        """Whether the call was finished, or is being finished right now."""
        return self._finishing.locked()

    @property
    def key(self) -> Lock:
        """What the context of its request holds under `RUNNING`."""
        return self._finishing

    @property
    def was_resent(self) -> bool:
        """Whether we sent its request a second time."""
        return HTTP_RESEND_COUNT in (self._settings or {})

    @property
    def is_traced(self) -> bool:
        """Whether a tracer provider made its spans; OpenTelemetry's API alone records nothing."""
        return any(span.get_span_context().is_valid for span in self._spans)

    def leave(self) -> None:
        """Restore the previous context, if the request's context or one made in it is current.

        No token is detached: an abandoned coroutine is closed in an unrelated context, which must
        not change.
        """
        if context.get_current().get(RUNNING) is self._finishing:
            context.attach(self.before)

    def note(self, name: str, value: AttributeValue) -> None:
        """Add an attribute while the request is in flight; it reaches the span with the answer."""
        self._settings = {**(self._settings or {}), name: value}

    def settle_with(self, hold: Hold) -> None:
        """Settle what budgets hold for this call when it is finished."""
        self._meters = (_HoldMeter(hold), *self._meters)
        with Guard("binding a call to its budgets"):
            for span in self._spans:
                identity = span.get_span_context()
                hold.bind(identity.trace_id, identity.span_id)

    def first_chunk(self) -> None:
        """Note the time of a stream's first chunk; later calls change nothing."""
        if not self._first_chunk_ns:
            self._first_chunk_ns = time.time_ns()

    def finish(
        self,
        attributes: Attributes | None = None,
        error: BaseException | None = None,
        *,
        end_time_ns: int | None = None,
        abandoned: bool = False,
    ) -> None:
        """End the spans with what was read; only the first finish counts, from any thread.

        Args:
            attributes: what was read from the answer; an `error.type` in it means that the answer
                itself reports a failure.
            error: what ended the call, if it failed.
            end_time_ns: when the call ended; `None` is now.
            abandoned: whether the garbage collector may have ended it: its metrics wait then.
        """
        if not self._finishing.acquire(blocking=False):
            return
        if attributes is None:
            attributes = {}
        if self._settings:
            attributes = {**self._settings, **attributes}
        if error is not None:
            with Guard("reading an error"):
                _add_error(attributes, error)
        if self._first_chunk_ns:
            seconds = (self._first_chunk_ns - self.started_ns) / _NANOSECONDS
            attributes[TIME_TO_FIRST_CHUNK] = seconds
        failed = ERROR_TYPE in attributes
        for span in self._spans:
            try:
                set_attributes(span, attributes)
                if failed:
                    span.set_status(StatusCode.ERROR)
                span.end(end_time_ns)
            except Exception as failure:  # noqa: BLE001 - our failure, not the app's
                report("ending a span", type(failure).__name__)
        if self._meters:
            self._meter(attributes, failed, end_time_ns)
            # A closed coroutine may be garbage too.
            self._report_unless(abandoned or isinstance(error, GeneratorExit))

    def leave_out_metrics(self) -> None:
        """Report no metrics of this call: how long it took is unknown."""
        self._meters = [meter for meter in self._meters if not isinstance(meter, CallMetrics)]

    def report_metrics(self) -> None:
        """Report the metrics of calls that ended."""
        for meter in self._meters:
            if isinstance(meter, CallMetrics):
                meter.report()

    def _report_unless(self, abandoned: bool) -> None:
        if not abandoned:
            self.report_metrics()

    def chunk_clock(self, read: Callable[[], Attributes]) -> ChunkClock | None:
        """A clock for the chunks of this call's stream; `None` if no metric needs it.

        Args:
            read: returns what was read from the stream so far.
        """
        for meter in self._meters:
            if isinstance(meter, CallMetrics):
                return ChunkClock(meter, self._start_attributes, read)
        return None

    def _meter(self, attributes: Attributes, failed: bool, end_time_ns: int | None) -> None:
        with Guard("metering a call"):
            all_attributes = {**self._start_attributes, **attributes}
            ended_ns = end_time_ns
            if ended_ns is None and self._spans:
                ended_ns = getattr(self._spans[0], "end_time", None)
            for meter in self._meters:
                if isinstance(meter, CallMetrics):
                    meter.add_call(all_attributes, self.started_ns, ended_ns, failed=failed)
                else:
                    meter.add(all_attributes, self.started_ns, failed)


class _HoldMeter:
    """Settles a call, among its meters: a call without a budget does not pay for it."""

    __slots__ = ("_hold",)

    def __init__(self, hold: Hold) -> None:
        self._hold = hold

    def add(self, attributes: Mapping[str, AttributeValue], _start_ns: int, failed: bool) -> None:
        self._hold.finish(attributes, failed=failed)


class Running:
    """Runs a request that is not a call in a context of its own, and leaves it as a call does."""

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
    """Runs a request that is not a model call: without baggage, as model calls run."""
    before = context.get_current()
    if not baggage.get_all(before):
        return _NO_CHANGE
    return Running(before, baggage.clear(before))


def _add_error(attributes: Attributes, error: BaseException) -> None:
    attributes[ERROR_TYPE] = type(error).__name__[:MAX_VALUE_LENGTH]
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        attributes[HTTP_STATUS_CODE] = status
