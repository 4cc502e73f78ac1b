"""The base class of all instrumentors, for OpenTelemetry's launcher and for `patch_openai()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from tokenledger._attribution.baggage import note_remote_baggage
from tokenledger._calls.call import Call
from tokenledger._calls.tracer import CallTracer
from tokenledger._otel_loading import load_propagators
from tokenledger._state import RUNTIME
from tokenledger.instrumentors._base.message_content import requested_capture
from tokenledger_semconv.attributes import SCOPE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from tokenledger.instrumentors._base.api import Api
    from tokenledger.instrumentors._base.patch_table import Patches

    class BaseInstrumentor:
        """The part of OpenTelemetry's class that we use; its package has no type information."""

        @property
        def is_instrumented_by_opentelemetry(self) -> bool:
            """Whether `instrument` ran and `uninstrument` did not."""
            ...

        def instrument(self, **kwargs: object) -> None:
            """Start recording."""

        def uninstrument(self, **kwargs: object) -> None:
            """Stop recording."""

else:
    load_propagators()
    from opentelemetry.instrumentation.instrumentor import BaseInstrumentor


class TableInstrumentor(BaseInstrumentor):
    """An instrumentor that consists of its table of patches and the name of its SDK."""

    scope: ClassVar[str]
    patches: ClassVar[Patches]
    api: ClassVar[Api]
    _tracer: CallTracer | None = None

    @property
    def tracer(self) -> CallTracer | None:
        """Starts the calls; `None` while nothing is recorded."""
        return self._tracer if RUNTIME.setup.recording else None

    def apply(self) -> None:
        """Apply the patches that are not in effect yet, unless TokenLedger is disabled."""
        if self.tracer is not None:
            note_remote_baggage()
            self.patches.apply(self)

    def _instrument(self, **kwargs: object) -> None:
        provider = kwargs.get("tracer_provider")
        capture = requested_capture()
        self.api.capture_content(enabled=capture.is_on)
        make_call: Callable[..., Call] = Call
        if capture.as_events:
            # Loaded here: nothing else needs OpenTelemetry's logs.
            from tokenledger._calls.details_event import calls_with_events

            loggers = cast("LoggerProvider | None", kwargs.get("logger_provider"))
            make_call = calls_with_events(
                SCOPE_PREFIX + self.scope, loggers, on_spans=capture.on_spans
            )
        self._tracer = CallTracer(
            self.scope,
            cast("TracerProvider | None", provider),
            sdk=self.scope,
            meter_provider=cast("MeterProvider | None", kwargs.get("meter_provider")),
            make_call=make_call,
        )
        RUNTIME.note_instrumented(self.scope, is_instrumented=True)
        self.apply()

    def _uninstrument(self, **_kwargs: object) -> None:
        self._tracer = None
        RUNTIME.note_instrumented(self.scope, is_instrumented=False)
        self.patches.remove()
