"""What is compared: the bare SDK, one bare span around it, ours, and ours with its ledger."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

import tokenledger
from tokenledger.runtime import RUNTIME

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.util.types import AttributeValue

# Nothing listens there: rows stay in the spool, which is what a call pays for.
_UNREACHABLE: Final = "postgresql://bench@127.0.0.1:9/none"
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


class _Nowhere(SpanExporter):
    """An exporter that drops what it is given."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        del spans
        return SpanExportResult.SUCCESS


def _provider() -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_Nowhere()))
    return provider


class Turn:
    """A call, and what puts its variant into force before its turn."""

    def __init__(self, prepare: Callable[[], None], call: Callable[[], object]) -> None:
        self.prepare = prepare
        self.call = call


class Variants:
    """Puts one variant after the other into force."""

    def __init__(self, spool: str) -> None:
        self._traced = _provider()
        self._booked = _provider()
        self._bare_setup = RUNTIME.setup
        _use(self._booked)
        tokenledger.configure(database_url=_UNREACHABLE, spool_dir=spool)
        self._ledger_setup = RUNTIME.setup
        self._tracer = self._traced.get_tracer("floor")

    def bare(self, call: Callable[[], object]) -> Turn:
        """The SDK alone."""
        return Turn(_leave, call)

    def floor(self, call: Callable[[], object]) -> Turn:
        """One current span of eight attributes, by hand: what any instrumentation pays."""

        def spanned() -> None:
            span = self._tracer.start_span("chat", kind=SpanKind.CLIENT, attributes=_AT_START)
            token = context.attach(trace.set_span_in_context(span))
            try:
                call()
            finally:
                context.detach(token)
            span.set_attributes(_AT_END)
            span.end()

        return Turn(_leave, spanned)

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

        return Turn(_leave, spanned)

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

        return Turn(_leave, lambda: loop.run_until_complete(many()))

    def ours(self, call: Callable[[], object]) -> Turn:
        """Ours, on the app's tracing alone."""

        def turn() -> None:
            RUNTIME.setup = self._bare_setup
            _use(self._traced)
            tokenledger.patch_openai()
            tokenledger.patch_anthropic()

        return Turn(turn, call)

    def booked(self, call: Callable[[], object]) -> Turn:
        """Ours, with its processor and its crash-safe spool."""

        def turn() -> None:
            RUNTIME.setup = self._ledger_setup
            _use(self._booked)
            tokenledger.patch_openai()
            tokenledger.patch_anthropic()

        return Turn(turn, call)

    def close(self) -> None:
        """Leave nothing behind."""
        _leave()
        RUNTIME.setup = self._ledger_setup
        tokenledger.shutdown()
        self._traced.shutdown()
        self._booked.shutdown()


def _leave() -> None:
    tokenledger.unpatch_openai()
    tokenledger.unpatch_anthropic()


def _use(provider: TracerProvider) -> None:
    """Make a provider the global one, which OpenTelemetry lets an app do once."""
    trace._TRACER_PROVIDER = provider  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


@contextmanager
def variants() -> Generator[Variants]:
    """The variants, with a spool of their own."""
    with tempfile.TemporaryDirectory() as spool:
        held = Variants(spool)
        try:
            yield held
        finally:
            held.close()
