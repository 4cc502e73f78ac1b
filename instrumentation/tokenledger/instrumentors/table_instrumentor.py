"""An instrumentor that is its table, as OpenTelemetry's launcher and `patch_openai()` use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from tokenledger.instrumentors.content import is_content_asked_for
from tokenledger.propagators import load_propagators
from tokenledger.runtime import RUNTIME
from tokenledger.tracing import CallTracer
from tokenledger.trust import note_remote_baggage

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from tokenledger.instrumentors.exchange import Api
    from tokenledger.instrumentors.patching import Patches

    class BaseInstrumentor:
        """What is used of OpenTelemetry's class, which its package keeps from type checkers."""

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
    """An instrumentor that is its table and the name of its scope."""

    scope: ClassVar[str]
    patches: ClassVar[Patches]
    api: ClassVar[Api]
    _tracer: CallTracer | None = None

    @property
    def tracer(self) -> CallTracer | None:
        """Starts the calls; `None` while nothing is to be recorded."""
        return self._tracer if RUNTIME.setup.recording else None

    def apply(self) -> None:
        """Wrap what is not wrapped yet, unless TokenLedger was told to do nothing."""
        if self.tracer is not None:
            note_remote_baggage()
            self.patches.apply(self)

    def _instrument(self, **kwargs: object) -> None:
        provider = kwargs.get("tracer_provider")
        self.api.tell_content(asked_for=is_content_asked_for())
        self._tracer = CallTracer(
            self.scope, cast("TracerProvider | None", provider), sdk=self.scope
        )
        self.api.is_recorded = True
        self.apply()

    def _uninstrument(self, **_kwargs: object) -> None:
        self._tracer = None
        self.api.is_recorded = False
        self.patches.remove()
