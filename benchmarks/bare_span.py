"""What any instrumentation pays: one span around a call, with OpenTelemetry alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.util.types import AttributeValue

_AT_START: Final[dict[str, AttributeValue]] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "server.port": 443,
}
_AT_END: Final[dict[str, AttributeValue]] = {
    "gen_ai.response.model": "gpt-4o",
    "gen_ai.response.id": "x",
    "gen_ai.usage.input_tokens": 1,
    "gen_ai.usage.output_tokens": 2,
}
_OURS: Final = 18
_ALL_AT_END: Final[dict[str, AttributeValue]] = {
    **_AT_END,
    **{f"gen_ai.usage.{number}": number for number in range(_OURS - len(_AT_START) - len(_AT_END))},
}


class Nowhere(SpanExporter):
    """An exporter that drops what it is given."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Drop them."""
        del spans
        return SpanExportResult.SUCCESS


def tracing_to_nowhere() -> TracerProvider:
    """Make an app's tracing: batches, handed to an exporter that drops them."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    return provider


class Turn:
    """A call, and what puts its variant into force before its turn."""

    def __init__(self, prepare: Callable[[], None], call: Callable[[], object]) -> None:
        self.prepare = prepare
        self.call = call


class Floor:
    """The bare SDK, and one span around it.

    Args:
        tracer: makes the span.
        leave: takes every instrumentation off.
    """

    def __init__(self, tracer: trace.Tracer, leave: Callable[[], None]) -> None:
        self._tracer = tracer
        self._leave = leave

    def bare(self, call: Callable[[], object]) -> Turn:
        """The SDK alone."""
        return Turn(self._leave, call)

    def floor(self, call: Callable[[], object]) -> Turn:
        """One current span of eight attributes, written manually: what any instrumentation pays."""

        def spanned() -> None:
            span = self._tracer.start_span("chat", kind=SpanKind.CLIENT, attributes=_AT_START)
            token = context.attach(trace.set_span_in_context(span))
            try:
                call()
            finally:
                context.detach(token)
            span.set_attributes(_AT_END)
            span.end()

        return Turn(self._leave, spanned)

    def full_floor(self, call: Callable[[], object]) -> Turn:
        """The same with as many attributes as ours, and without baggage around the call."""

        def spanned() -> None:
            span = self._tracer.start_span("chat", kind=SpanKind.CLIENT, attributes=_AT_START)
            inside = baggage.clear(trace.set_span_in_context(span))
            token = context.attach(inside)
            try:
                call()
            finally:
                context.detach(token)
            span.set_attributes(_ALL_AT_END)
            span.end()

        return Turn(self._leave, spanned)

    def async_floor(
        self,
        call: Callable[[], Coroutine[Any, Any, None]],
        loop: asyncio.AbstractEventLoop,
        count: int,
    ) -> Turn:
        """The same around every one of many awaited calls."""

        async def spanned() -> None:
            span = self._tracer.start_span("chat", kind=SpanKind.CLIENT, attributes=_AT_START)
            token = context.attach(trace.set_span_in_context(span))
            try:
                await call()
            finally:
                context.detach(token)
            span.set_attributes(_AT_END)
            span.end()

        async def many() -> None:
            await asyncio.gather(*(spanned() for _ in range(count)))

        return Turn(self._leave, lambda: loop.run_until_complete(many()))
