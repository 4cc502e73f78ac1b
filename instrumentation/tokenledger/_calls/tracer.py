"""Where a call's spans are recorded: in the app's tracing, on the ledger's provider, or on both.

The app's provider, sampler and ids are used as they are. The ledger gets a span of its own wherever
the app's would not reach it, so it is complete whatever the app samples.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, replace
from threading import Lock
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context, trace
from opentelemetry.context.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    NoOpTracer,
    NoOpTracerProvider,
    ProxyTracerProvider,
    SpanContext,
    SpanKind,
    TraceFlags,
    get_tracer_provider,
)

from tokenledger._attribution.context import ATTRIBUTED, attribution_in
from tokenledger._attribution.layers import NOTHING
from tokenledger._calls.call import RUNNING, Call
from tokenledger._calls.call_metrics import GLOBAL_METER_STATE, find_metrics
from tokenledger._calls.meter import METERS
from tokenledger._guard import Guard, report, warn_once
from tokenledger._otel_internals import (
    SPAN_KEY,
    SUPPRESSED,
    baggage_in,
    with_span,
    without_baggage,
)
from tokenledger._state import RUNTIME
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from tokenledger._attribution.layers import Layer
    from tokenledger._calls.call_metrics import CallMetrics
    from tokenledger._ledger import Ledger
    from tokenledger._usage.fields import Attributes

_OPERATION: Final = names.OPERATION_NAME
_MODEL: Final = names.REQUEST_MODEL
_NO_LEDGER: Final = (
    "{} is patched but no ledger is open: call tokenledger.configure() or init(). "
    "Until then its calls are not recorded"
)
_SDK_NAMES: Final = {"openai": "OpenAI", "anthropic": "Anthropic"}
# The providers of OpenTelemetry's API alone.
_RECORDS_NOTHING: Final = (NoOpTracerProvider, ProxyTracerProvider)
_RATIO_BITS: Final = 64
_RATIO_MASK: Final = (1 << _RATIO_BITS) - 1


class _NoState:
    """In place of OpenTelemetry's module, for a release that stores the provider elsewhere."""

    _TRACER_PROVIDER: TracerProvider | None = None


_TRACING: Final[Any] = trace if hasattr(trace, "_TRACER_PROVIDER") else _NoState()


@dataclass(frozen=True, slots=True)
class _Route:
    """One provider together with one ledger, and whether its spans reach that ledger.

    `metrics` is empty if the app has no meter provider; `global_meters` is the one that was looked
    at.
    """

    provider: TracerProvider
    ledger: Ledger | None
    app_tracer: Tracer
    ledger_tracer: Tracer | None
    reaches_ledger: bool
    global_meters: object = None
    metrics: tuple[CallMetrics, ...] = ()


class CallTracer:
    """Starts the calls of one instrumentation scope.

    Args:
        scope: name of the instrumentation scope, without our prefix.
        provider: the provider that an instrumentor was given; `None` uses the global one, also if
            the app sets it later.
        sdk: the SDK that makes the calls; its release is an attribute of the scope. Only such calls
            have metrics: the time that others took is unknown.
        meter_provider: the meter provider that an instrumentor was given; `None` uses the global
            one, also if the app sets it later.
        make_call: makes a call of its parts, instead of `Call` itself.
    """

    def __init__(
        self,
        scope: str,
        provider: TracerProvider | None = None,
        sdk: str = "",
        meter_provider: MeterProvider | None = None,
        make_call: Callable[..., Call] = Call,
    ) -> None:
        self._scope = names.SCOPE_PREFIX + scope
        self._sdk = sdk
        self._meter_provider = meter_provider
        self._make_call = make_call
        self._provider = provider or RUNTIME.app_provider.replacement
        self._route: _Route | None = None

    def start(
        self,
        attributes: Mapping[str, AttributeValue],
        *,
        user: object = None,
        per_call: Layer = NOTHING,
        start_time_ns: int = 0,
    ) -> Call:
        """Start a call; if that fails, the call has no spans.

        Args:
            attributes: the span's attributes at its start: operation, model, provider ...
            user: the user id in the provider's own request field.
            per_call: attribution given with the call itself.
            start_time_ns: when it began, in nanoseconds since 1970; 0 is now.
        """
        current = context.get_current()
        try:
            return self.begin(attributes, current, user, per_call, start_time_ns)
        except Exception as error:  # noqa: BLE001 - the app's call goes on without our span
            report("starting a call", type(error).__name__)
            return Call((), current, current, attributes, 0)

    def record(
        self,
        start_attributes: Mapping[str, AttributeValue],
        end_attributes: Attributes,
        *,
        per_call: Layer = NOTHING,
    ) -> None:
        """Record a call that was made elsewhere, earlier; it belongs to no trace of this app.

        Args:
            start_attributes: what is known of its request, including its identity.
            end_attributes: what was read from its answer.
            per_call: attribution given with it.
        """
        if RUNTIME.setup.ledger is None:
            return
        with Guard("recording an earlier call"):
            untraced = context.set_value(SUPPRESSED, True)
            self.begin(start_attributes, untraced, per_call=per_call).finish(end_attributes)

    def begin(  # noqa: PLR0913, PLR0917 - called once per call, by position
        self,
        attributes: Mapping[str, AttributeValue],
        current: Context,
        user: object = None,
        per_call: Layer = NOTHING,
        started_ns: int = 0,
        settings: Attributes | None = None,
    ) -> Call:
        """Start a call in a context; unlike `start`, it may raise.

        Args:
            attributes: as for `start`.
            current: the context it is made in.
            user: as for `start`.
            per_call: as for `start`.
            started_ns: as for `start`.
            settings: further attributes of the request, which the span gets at its end.
        """
        setup = RUNTIME.setup
        members: Any = baggage_in(current)
        if members or user or per_call or setup.defaults or not ATTRIBUTED.isdisjoint(current):
            attribution = attribution_in(
                current,
                members or NOTHING,
                provider_user=user,
                per_call=per_call,
                defaults=setup.defaults,
            )
            # Last, so that a limit on a span's attributes drops ours last.
            attributes = {**attributes, **attribution}
        if not started_ns:
            started_ns = time_ns()
        route = self._route
        try:
            # The variable first: it costs a third of the function that returns it.
            provider = self._provider or _TRACING._TRACER_PROVIDER or get_tracer_provider()  # noqa: SLF001
        except Exception as error:  # noqa: BLE001 - whatever the named provider's package raises
            provider = self._provider = RUNTIME.app_provider.note_unloadable(error)
        if (
            route is None
            or route.provider is not provider
            or route.ledger is not setup.ledger
            or route.global_meters is not GLOBAL_METER_STATE._METER_PROVIDER  # noqa: SLF001
        ):
            route = self._route = self._find_route(provider, setup.ledger)
        spans, parent = _begin(route, current, attributes, started_ns, setup.settings.sample_rate)
        finishing = Lock()
        if members is None and parent is not None and SPAN_KEY:
            running = Context(current, **{SPAN_KEY: parent, RUNNING: finishing})
        else:
            running = _running_context(current, parent, finishing)
        meters: Any = current.get(METERS, ())
        if route.metrics and not current.get(SUPPRESSED):
            meters = (*meters, *route.metrics)
        return self._make_call(
            spans, current, running, attributes, started_ns, meters, settings, finishing
        )

    def _find_route(self, provider: TracerProvider, ledger: Ledger | None) -> _Route:
        route = _find_route(self._scope, provider, ledger, _sdk_version(self._sdk))
        if not self._sdk:
            return replace(route, global_meters=GLOBAL_METER_STATE._METER_PROVIDER)  # noqa: SLF001
        metrics = find_metrics(self._scope, _release("tokenledger-otel"), self._meter_provider)
        if not (metrics or RUNTIME.setup.configured) and isinstance(provider, _RECORDS_NOTHING):
            warn_once(_NO_LEDGER.format(_SDK_NAMES.get(self._sdk, self._sdk)))
        # Read afterwards: looking for the provider may have loaded the one that is named.
        return replace(
            route,
            global_meters=GLOBAL_METER_STATE._METER_PROVIDER,  # noqa: SLF001
            metrics=metrics,
        )


def _running_context(current: Context, parent: Span | None, finishing: Lock) -> Context:
    """The context of a request: under its span if it has one, and without baggage."""
    running = without_baggage(current)
    if parent is not None:
        running = with_span(running, parent)
    return Context(running, **{RUNNING: finishing})


def _begin(
    route: _Route,
    current: Context,
    attributes: Mapping[str, AttributeValue],
    started_ns: int,
    sample_rate: float,
) -> tuple[tuple[Span, ...], Span | None]:
    """The spans of one call, and the one its SDK call runs under."""
    ledger_tracer = route.ledger_tracer
    if ledger_tracer is None:
        if current.get(SUPPRESSED):
            return (), None
        span = _start_span(route.app_tracer, current, attributes, started_ns)
        return (span,), span
    if current.get(SUPPRESSED) or (sample_rate < 1 and not _is_traced(current, sample_rate)):
        recorded = _start_span(ledger_tracer, current, attributes, started_ns)
        return (recorded,), UnsampledSpan(_unsampled(recorded.get_span_context()), recorded)
    span = INVALID_SPAN
    try:
        span = _start_span(route.app_tracer, current, attributes, started_ns)
    except Exception as error:  # noqa: BLE001 - the ledger works without the app's tracing
        report("starting a span in the app's tracing", type(error).__name__)
    if not span.is_recording():
        recorded = _start_span(ledger_tracer, current, attributes, started_ns)
        return (recorded,), UnsampledSpan(span.get_span_context(), recorded)
    if route.reaches_ledger:
        return (span,), span
    # A child of the app's span, so that both belong to one trace.
    child = _start_span(ledger_tracer, with_span(current, span), attributes, started_ns)
    return (span, child), span


def _find_route(
    scope: str,
    provider: TracerProvider,
    ledger: Ledger | None,
    scope_attributes: Mapping[str, AttributeValue] | None,
) -> _Route:
    release = _release("tokenledger-otel")
    app_tracer: Tracer = NoOpTracer()
    with Guard("asking the app's tracing for a tracer"):
        app_tracer = provider.get_tracer(scope, release, None, scope_attributes)
    if ledger is None:
        return _Route(provider, None, app_tracer, None, reaches_ledger=False)
    reaches_ledger = False
    with Guard("attaching the ledger to a tracer provider"):
        reaches_ledger = ledger.attach(provider)
    ledger_tracer = ledger.tracer_provider.get_tracer(scope, release, None, scope_attributes)
    return _Route(provider, ledger, app_tracer, ledger_tracer, reaches_ledger)


def _sdk_version(sdk: str) -> Mapping[str, AttributeValue] | None:
    return {names.SDK_VERSION: f"{sdk} {_release(sdk)}".rstrip()} if sdk else None


@functools.cache
def _release(distribution: str) -> str:
    # Loaded here: it takes half the time of importing this package.
    from importlib.metadata import version

    with Guard("reading a version"):
        return version(distribution)
    return ""


def _start_span(
    tracer: Tracer, parent: Context, attributes: Mapping[str, AttributeValue], started_ns: int
) -> Span:
    get: Any = attributes.get
    return tracer.start_span(
        _name(get(_OPERATION), get(_MODEL)),
        parent,
        SpanKind.CLIENT,
        attributes,
        start_time=started_ns,
    )


@functools.lru_cache(maxsize=1024)
def _name(operation: object, model: object) -> str:
    return f"{operation} {model or ''}".rstrip()


def _is_traced(current: Context, sample_rate: float) -> bool:
    """Whether the app's tracing gets this call.

    The decision of a recording parent is followed. Below any other parent the trace id decides, so
    that services agree. A root is decided at random.
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


class UnsampledSpan(NonRecordingSpan):
    """The current span during a call that the app's tracing does not record.

    It has the scope of the recorded span, so that the ledger recognizes a span that the SDK makes
    of the same call.
    """

    def __init__(self, identity: SpanContext, recorded: Span) -> None:
        super().__init__(identity)
        self.instrumentation_scope: object = getattr(recorded, "instrumentation_scope", None)


def _unsampled(identity: SpanContext) -> SpanContext:
    """The same identity, not sampled, so that its children are not sampled either."""
    return SpanContext(
        identity.trace_id,
        identity.span_id,
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.DEFAULT),
    )
