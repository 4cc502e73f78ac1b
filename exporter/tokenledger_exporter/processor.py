"""The span processor that makes the ledger complete: every ended model call goes to the spool.

It runs on the caller's thread, so it does one thing: one compact record, one `os.write`. A span
that tells of a call our own instrumentor is telling of already (the anthropic SDK traces itself)
is marked as covered when it starts and left out; it still goes to every other exporter.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor

from tokenledger_exporter.records import encode_span, is_model_call
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

EXIT_SECONDS: Final = 2.0
"""How long interpreter exit or a provider's shutdown may wait for the last rows."""


_exit_began: Final[list[float]] = []


def exit_seconds_left() -> float:
    """What is left of EXIT_SECONDS: providers, exporters and ledgers end one after another."""
    now = time.monotonic()
    # A provider shut down in the middle of an app's life begins no exit.
    if not _exit_began or now - _exit_began[0] > 2 * EXIT_SECONDS:
        _exit_began[:] = [now]
    return max(0.0, _exit_began[0] + EXIT_SECONDS - now)


class RecordSink(Protocol):
    """Where the processor's records go."""

    def append(self, payload: bytes) -> None:
        """Keep one record."""
        ...

    def count_unrecorded(self, kind: str) -> None:
        """Count a call that could not be turned into a record, and the error it failed with."""
        ...

    def flush(self, timeout: float) -> int:
        """Try to commit what waits; returns the rows committed."""
        ...

    @property
    def waiting(self) -> int:
        """Records that are not committed."""
        ...


class LedgerProcessor(SpanProcessor):
    """Feeds ended model-call spans of one provider to a ledger, which may be exchanged."""

    def __init__(self, sink: RecordSink) -> None:
        self.sink = sink
        self._covered: set[int] = set()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Note spans that start below a call our own instrumentor tells of."""
        parent = trace.get_current_span(parent_context)
        # A call of ours inside another (made by a hook of the HTTP client) is a call of its own.
        if _is_ours(parent) and not _is_ours(span):
            self._covered.add(span.get_span_context().span_id)

    def on_end(self, span: ReadableSpan) -> None:
        """Spool a model call; never raises into the app."""
        try:
            context = span.get_span_context()
            if context is not None and context.span_id in self._covered:
                self._covered.discard(context.span_id)
            elif is_model_call(span):
                self.sink.append(encode_span(span))
        except Exception as error:  # noqa: BLE001 - a failure of ours must not reach the app
            self.sink.count_unrecorded(type(error).__name__)

    def shutdown(self) -> None:
        """Try for the last rows; what is left stays in the spool for the next process."""
        self.sink.flush(exit_seconds_left())

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Commit what waits; False if something is still waiting at the time-out."""
        self.sink.flush(timeout_millis / 1000)
        return self.sink.waiting == 0


def _is_ours(span: trace.Span) -> bool:
    scope = getattr(span, "instrumentation_scope", None)
    return scope is not None and scope.name.startswith(attributes.SCOPE_PREFIX)
