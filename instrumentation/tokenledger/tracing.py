"""Where a call's spans are recorded: on the app's tracing, on the ledger's, or on both.

The app's provider, sampler and ids are used as they are. The ledger gets its own span wherever the
app's would not reach it, so that it is complete whatever is sampled.
"""

from __future__ import annotations

import functools
import importlib
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from opentelemetry import context, trace
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from tokenledger.call import Call
from tokenledger.carrier import attribution_in
from tokenledger.failures import Guard
from tokenledger.precedence import NOTHING
from tokenledger.runtime import RUNTIME
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from tokenledger.ledger import Ledger
    from tokenledger.precedence import Layer

_SUPPRESSED: Final = "suppress_instrumentation"
_RATIO_BITS: Final = 64
_RATIO_MASK: Final = (1 << _RATIO_BITS) - 1


@dataclass(frozen=True, slots=True)
class Request:
    """What is known of a call before it is sent.

    Args:
        operation: the kind of call, in the convention's words.
        provider: who is called; "" leaves it for the exporter to find.
        model: the model asked for; "" if the request names none.
        address: the host that is called.
        port: the port that is called.
        stream: whether the answer is asked for as a stream.
        user: the user id in the provider's own request field.
        per_call: attribution given with the call itself.
        further: attributes only this provider has.
    """

    operation: str
    provider: str = ""
    model: str = ""
    address: str = ""
    port: int | None = None
    stream: bool = False
    user: object = None
    per_call: Layer = field(default_factory=lambda: NOTHING)
    further: Mapping[str, AttributeValue] = field(default_factory=dict[str, "AttributeValue"])


@dataclass(frozen=True, slots=True)
class _Route:
    """One provider seen with one ledger, and whether its spans reach that ledger."""

    provider: TracerProvider
    ledger: Ledger | None
    app_tracer: Tracer
    ledger_tracer: Tracer | None
    reaches_ledger: bool


class CallTracer:
    """Starts the calls of one instrumentation scope.

    Args:
        scope: name of the instrumentation scope, without the prefix of our own.
        provider: the provider an instrumentor was given; `None` follows the global one, also when
            the app sets it later.
    """

    def __init__(self, scope: str, provider: TracerProvider | None = None) -> None:
        self._scope = names.SCOPE_PREFIX + scope
        self._provider = provider
        self._route: _Route | None = None

    def start(self, request: Request, start_time_ns: int | None = None) -> Call:
        """Start a call now, or at a time in the past; a call without spans if that fails."""
        with Guard("starting a call"):
            return self._start(request, start_time_ns or time.time_ns())
        return Call()

    def _start(self, request: Request, start_time_ns: int) -> Call:
        setup = RUNTIME.setup
        current = context.get_current()
        attribution = attribution_in(
            current,
            provider_user=request.user,
            per_call=request.per_call,
            defaults=setup.defaults,
        )
        begin = functools.partial(
            _start_span,
            name=f"{request.operation} {request.model}".rstrip(),
            parent=current,
            attributes={**_request_attributes(request), **attribution},
            start_time_ns=start_time_ns,
        )
        route = self._current_route(setup.ledger)
        if route.ledger_tracer is None:
            return _traced_only(begin, route.app_tracer, current)
        if not _is_traced(current, setup.settings.sample_rate):
            booked = begin(route.ledger_tracer)
            return Call((booked,), StandIn(_unsampled(booked.get_span_context()), booked))
        return _traced_and_booked(begin, route, route.ledger_tracer)

    def _current_route(self, ledger: Ledger | None) -> _Route:
        provider = self._provider or trace.get_tracer_provider()
        route = self._route
        if route is None or route.provider is not provider or route.ledger is not ledger:
            route = self._route = _find_route(self._scope, provider, ledger)
        return route


def _traced_only(begin: Callable[[Tracer], Span], tracer: Tracer, current: Context) -> Call:
    if context.get_value(_SUPPRESSED, current):
        return Call()
    span = begin(tracer)
    return Call((span,), span)


def _traced_and_booked(
    begin: Callable[[Tracer], Span], route: _Route, ledger_tracer: Tracer
) -> Call:
    span: Span = INVALID_SPAN
    with Guard("starting a span on the app's tracing"):
        span = begin(route.app_tracer)
    if not span.is_recording():
        booked = begin(ledger_tracer)
        return Call((booked,), StandIn(span.get_span_context(), booked))
    if route.reaches_ledger:
        return Call((span,), span)
    return Call((span, begin(ledger_tracer)), span)


def _find_route(scope: str, provider: TracerProvider, ledger: Ledger | None) -> _Route:
    release = _release()
    app_tracer = provider.get_tracer(scope, release)
    if ledger is None:
        return _Route(provider, None, app_tracer, None, reaches_ledger=False)
    reaches_ledger = False
    with Guard("attaching the ledger to a tracer provider"):
        reaches_ledger = ledger.attach(provider)
    ledger_tracer = ledger.tracer_provider.get_tracer(scope, release)
    return _Route(provider, ledger, app_tracer, ledger_tracer, reaches_ledger)


@functools.cache
def _release() -> str:
    metadata = importlib.import_module("importlib.metadata")
    with Guard("reading our own version"):
        return str(metadata.version("tokenledger-otel"))
    return ""


def _start_span(
    tracer: Tracer,
    *,
    name: str,
    parent: Context,
    attributes: Mapping[str, AttributeValue],
    start_time_ns: int,
) -> Span:
    return tracer.start_span(
        name,
        context=parent,
        kind=SpanKind.CLIENT,
        attributes=attributes,
        start_time=start_time_ns,
    )


def _request_attributes(request: Request) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {names.OPERATION_NAME: request.operation}
    if request.provider:
        found[names.PROVIDER_NAME] = request.provider
    if request.model:
        found[names.REQUEST_MODEL] = request.model
    if request.address:
        found[names.SERVER_ADDRESS] = request.address
    if request.port is not None:
        found[names.SERVER_PORT] = request.port
    if request.stream:
        found[names.REQUEST_STREAM] = True
    found.update(request.further)
    return found


def _is_traced(current: Context, sample_rate: float) -> bool:
    """Whether the app's tracing gets this call.

    A recording parent's decision is followed; below any other parent the trace id decides, so that
    services agree; a root is drawn.
    """
    if context.get_value(_SUPPRESSED, current):
        return False
    if sample_rate >= 1:
        return True
    parent = trace.get_current_span(current)
    if parent.is_recording():
        return True
    bound = round(sample_rate * (1 << _RATIO_BITS))
    identity = parent.get_span_context()
    if identity.is_valid:
        return identity.trace_id & _RATIO_MASK < bound
    return _draw() < bound


def _draw() -> int:
    """From the operating system: an app that seeds `random` must not repeat its decisions."""
    return int.from_bytes(os.urandom(_RATIO_BITS // 8), "big")


class StandIn(NonRecordingSpan):
    """What is in force during a call the app's tracing does not record.

    It says whose it is, so that the ledger knows a span the SDK makes of the same call.
    """

    def __init__(self, identity: SpanContext, recorded: Span) -> None:
        super().__init__(identity)
        self.instrumentation_scope: object = getattr(recorded, "instrumentation_scope", None)


def _unsampled(identity: SpanContext) -> SpanContext:
    """The same identity, not sampled: neither are its children."""
    return SpanContext(
        identity.trace_id,
        identity.span_id,
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.DEFAULT),
    )
