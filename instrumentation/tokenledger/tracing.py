"""Where a call's spans are recorded: on the app's tracing, on the ledger's, or on both.

The app's provider, sampler and ids are used as they are. The ledger gets its own span wherever the
app's would not reach it, so that it is complete whatever is sampled.
"""

from __future__ import annotations

import functools
import importlib
import os
from dataclasses import dataclass
from threading import Lock
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import baggage, context, trace
from opentelemetry.context.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    NoOpTracer,
    SpanContext,
    SpanKind,
    TraceFlags,
    get_tracer_provider,
)

from tokenledger.app_provider import note_unloadable, stand_in
from tokenledger.call import RUNNING, Call
from tokenledger.carrier import ATTRIBUTED, attribution_in
from tokenledger.failures import Guard, report
from tokenledger.metering import METERS
from tokenledger.precedence import NOTHING
from tokenledger.runtime import RUNTIME
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span, Tracer, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from tokenledger.ledger import Ledger
    from tokenledger.precedence import Layer
    from tokenledger.reading import Found

_SUPPRESSED: Final = "suppress_instrumentation"
# Where OpenTelemetry keeps the baggage and the span of a context. Asking through its functions
# costs as much as the rest of starting a call.
_BAGGAGE: Final = next(iter(baggage.set_baggage("any", "any", Context())))
_SPAN: Final = next(iter(trace.set_span_in_context(INVALID_SPAN, Context())))
_OPERATION: Final = names.OPERATION_NAME
_MODEL: Final = names.REQUEST_MODEL
_RATIO_BITS: Final = 64
_RATIO_MASK: Final = (1 << _RATIO_BITS) - 1


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
        sdk: the SDK whose calls these are; its release is told once, as an attribute of the scope.
    """

    def __init__(self, scope: str, provider: TracerProvider | None = None, sdk: str = "") -> None:
        self._scope = names.SCOPE_PREFIX + scope
        self._sdk = sdk
        self._provider = provider or stand_in()
        self._route: _Route | None = None

    def start(
        self,
        told: Mapping[str, AttributeValue],
        *,
        user: object = None,
        per_call: Layer = NOTHING,
        start_time_ns: int = 0,
    ) -> Call:
        """Start a call; one without spans if that fails.

        Args:
            told: what the call's span says at its start: operation, model, provider ...
            user: the user id in the provider's own request field.
            per_call: attribution given with the call itself.
            start_time_ns: when it began, in nanoseconds since 1970; 0 is now.
        """
        current = context.get_current()
        try:
            return self.begin(told, current, user, per_call, start_time_ns)
        except Exception as error:  # noqa: BLE001 - the app's call goes on without our span
            report("starting a call", type(error).__name__)
            return Call((), current, current, told, 0)

    def book(
        self,
        told: Mapping[str, AttributeValue],
        found: Found,
        *,
        per_call: Layer = NOTHING,
    ) -> None:
        """Book a call that was made elsewhere, earlier; no trace of this app holds it.

        Args:
            told: what is known of its request, its identity included.
            found: what its answer says.
            per_call: attribution given with it.
        """
        if RUNTIME.setup.ledger is None:
            return
        with Guard("booking a call"):
            aside = context.set_value(_SUPPRESSED, True)
            self.begin(told, aside, per_call=per_call).finish(found)

    def begin(  # noqa: PLR0913, PLR0917 - asked once a call, by position
        self,
        told: Mapping[str, AttributeValue],
        current: Context,
        user: object = None,
        per_call: Layer = NOTHING,
        started_ns: int = 0,
        settings: Found | None = None,
    ) -> Call:
        """Start a call in a context; unlike `start`, it may raise.

        Args:
            told: as for `start`.
            current: the context it is made in.
            user: as for `start`.
            per_call: as for `start`.
            started_ns: as for `start`.
            settings: what the request says beside; the span is told at its end.
        """
        setup = RUNTIME.setup
        members: Any = current.get(_BAGGAGE)
        if members or user or per_call or setup.defaults or not ATTRIBUTED.isdisjoint(current):
            # Last, so that a limit on a span's attributes drops ours last.
            told = {
                **told,
                **attribution_in(
                    current,
                    members or NOTHING,
                    provider_user=user,
                    per_call=per_call,
                    defaults=setup.defaults,
                ),
            }
        if not started_ns:
            started_ns = time_ns()
        route = self._route
        try:
            provider = self._provider or get_tracer_provider()
        except Exception as error:  # noqa: BLE001 - whatever the named provider's package raises
            provider = self._provider = note_unloadable(error)
        if route is None or route.provider is not provider or route.ledger is not setup.ledger:
            route = _find_route(self._scope, provider, setup.ledger, _sdk_version(self._sdk))
            self._route = route
        spans, under = _begin(route, current, told, started_ns, setup.settings.sample_rate)
        finishing = Lock()
        if members is None and under is not None:
            running = Context(current, **{_SPAN: under, RUNNING: finishing})
        else:
            running = Context(_inside(current, under), **{RUNNING: finishing})
        meters: Any = current.get(METERS, ())
        return Call(spans, current, running, told, started_ns, meters, settings, finishing)


def _inside(current: Context, under: Span | None) -> dict[str, object]:
    inside = dict(current)
    inside.pop(_BAGGAGE, None)
    if under is not None:
        inside[_SPAN] = under
    return inside


def _begin(
    route: _Route,
    current: Context,
    told: Mapping[str, AttributeValue],
    started_ns: int,
    sample_rate: float,
) -> tuple[tuple[Span, ...], Span | None]:
    """The spans of one call, and the one its SDK call runs under."""
    ledger_tracer = route.ledger_tracer
    if ledger_tracer is None:
        if current.get(_SUPPRESSED):
            return (), None
        span = _start_span(route.app_tracer, current, told, started_ns)
        return (span,), span
    if current.get(_SUPPRESSED) or (sample_rate < 1 and not _is_traced(current, sample_rate)):
        booked = _start_span(ledger_tracer, current, told, started_ns)
        return (booked,), StandIn(_unsampled(booked.get_span_context()), booked)
    span = INVALID_SPAN
    try:
        span = _start_span(route.app_tracer, current, told, started_ns)
    except Exception as error:  # noqa: BLE001 - the ledger does without the app's tracing
        report("starting a span on the app's tracing", type(error).__name__)
    if not span.is_recording():
        booked = _start_span(ledger_tracer, current, told, started_ns)
        return (booked,), StandIn(span.get_span_context(), booked)
    if route.reaches_ledger:
        return (span,), span
    # Below the app's span, so that both are of one trace.
    below = Context(current, **{_SPAN: span})
    return (span, _start_span(ledger_tracer, below, told, started_ns)), span


def _find_route(
    scope: str,
    provider: TracerProvider,
    ledger: Ledger | None,
    told: Mapping[str, AttributeValue] | None,
) -> _Route:
    release = _release("tokenledger-otel")
    app_tracer: Tracer = NoOpTracer()
    with Guard("asking the app's tracing for a tracer"):
        app_tracer = provider.get_tracer(scope, release, None, told)
    if ledger is None:
        return _Route(provider, None, app_tracer, None, reaches_ledger=False)
    reaches_ledger = False
    with Guard("attaching the ledger to a tracer provider"):
        reaches_ledger = ledger.attach(provider)
    ledger_tracer = ledger.tracer_provider.get_tracer(scope, release, None, told)
    return _Route(provider, ledger, app_tracer, ledger_tracer, reaches_ledger)


def _sdk_version(sdk: str) -> Mapping[str, AttributeValue] | None:
    return {names.SDK_VERSION: f"{sdk} {_release(sdk)}".rstrip()} if sdk else None


@functools.cache
def _release(distribution: str) -> str:
    metadata = importlib.import_module("importlib.metadata")
    with Guard("reading a version"):
        return str(metadata.version(distribution))
    return ""


def _start_span(
    tracer: Tracer, parent: Context, told: Mapping[str, AttributeValue], started_ns: int
) -> Span:
    get: Any = told.get
    return tracer.start_span(
        _name(get(_OPERATION), get(_MODEL)),
        parent,
        SpanKind.CLIENT,
        told,
        start_time=started_ns,
    )


@functools.lru_cache(maxsize=1024)
def _name(operation: object, model: object) -> str:
    return f"{operation} {model or ''}".rstrip()


def _is_traced(current: Context, sample_rate: float) -> bool:
    """Whether the app's tracing gets this call.

    A recording parent's decision is followed; below any other parent the trace id decides, so that
    services agree; a root is drawn.
    """
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
