"""The span processor that makes the ledger complete: every ended model call goes to the spool.

It runs on the caller's thread, so it does little: it writes one compact record with one `os.write`
when a call is sent, and one when it ends.

The anthropic SDK traces itself, so one of its spans may report a call that our instrumentor reports
too. Such a span is marked as a duplicate of ours when it starts and is not recorded; it still goes
to every other exporter. A call below another emitter's span records that span as an ancestor, so
that the ledger can find out whether both report the same call.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from tokenledger_exporter.installed import PROCESS
from tokenledger_exporter.recorder.encode import is_model_call
from tokenledger_exporter.recorder.encode_fast import encode_ended, encode_started
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

    from tokenledger_exporter.domain.span_record import Ancestors

EXIT_SECONDS: Final = 1.6
"""How long interpreter exit or a provider's shutdown may wait for the last rows.

The documented limit for the whole exit is two seconds, and the interpreter needs part of them.
"""

# Agents call agents; only the nearest spans above a call can report the same call.
_MAX_ANCESTORS: Final = 8


def exit_seconds_left() -> float:
    """The rest of EXIT_SECONDS, which providers, exporters and ledgers share at exit."""
    now = time.monotonic()
    # A provider that is shut down while the app runs does not begin an exit.
    began = PROCESS.exit_began_at
    if began is None or now - began > 2 * EXIT_SECONDS:
        began = PROCESS.exit_began_at = now
    return max(0.0, began + EXIT_SECONDS - now)


class RecordSink(Protocol):
    """Takes the processor's records."""

    def append(self, payload: bytes) -> None:
        """Record one ended call."""
        ...

    def append_start(self, payload: bytes) -> None:
        """Record that a call was sent, until its end is recorded."""
        ...

    def count_unrecorded(self, kind: str) -> None:
        """Count a call that could not be turned into a record, and the error it failed with."""
        ...

    def flush(self, timeout: float) -> int:
        """Try to commit the waiting records; returns the rows committed."""
        ...

    @property
    def waiting(self) -> int:
        """Records that are not committed."""
        ...


class LedgerProcessor(SpanProcessor):
    """Feeds ended model-call spans of one provider to a ledger, which may be replaced."""

    # Open spans that are below a call of ours, and open spans below another emitter's call. All
    # processors share them: a span on the app's provider may be the parent of one on ours.
    _covered: Final[set[int]] = set()
    _below: Final[dict[int, Ancestors]] = {}

    def __init__(self, sink: RecordSink) -> None:
        self.sink = sink

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Spool that a call of ours was sent; note spans below a call that is reported already."""
        try:
            if span.parent is not None:
                self._note(span, trace.get_current_span(parent_context))
            if (payload := encode_started(span)) is not None:
                self.sink.append_start(payload)
        except Exception as error:  # noqa: BLE001 - a failure of ours must not reach the app
            self.sink.count_unrecorded(type(error).__name__)

    def on_end(self, span: ReadableSpan) -> None:
        """Spool a model call; never raises into the app."""
        try:
            ancestors: Ancestors = ()
            if self._below or self._covered:
                context = span.get_span_context()
                span_id = context.span_id if context is not None else 0
                ancestors = self._below.pop(span_id, ())
                if span_id in self._covered:
                    self._covered.discard(span_id)
                    return
            if (payload := encode_ended(span, ancestors)) is not None:
                self.sink.append(payload)
        except Exception as error:  # noqa: BLE001 - a failure of ours must not reach the app
            self.sink.count_unrecorded(type(error).__name__)

    def _note(self, span: Span, parent: trace.Span) -> None:
        above = parent.get_span_context().span_id
        # A call of ours inside another one (made by a hook of the HTTP client) is a separate call.
        call = parent if isinstance(parent, ReadableSpan) and is_model_call(parent) else None
        if not _is_ours(span) and (_is_ours(parent) or (call and above in self._covered)):
            self._covered.add(span.get_span_context().span_id)
            return
        ancestors = self._below.get(above, ()) if self._below else ()
        if call is not None:
            ancestors = ((above, call.start_time or 0), *ancestors)[:_MAX_ANCESTORS]
        if ancestors:
            self._below[span.get_span_context().span_id] = ancestors

    def shutdown(self) -> None:
        """Try to commit the last rows; the rest stays in the spool for the next process."""
        self.sink.flush(exit_seconds_left())

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Commit the waiting records; False if some still wait at the timeout."""
        self.sink.flush(timeout_millis / 1000)
        return self.sink.waiting == 0


class OthersProcessor(LedgerProcessor):
    """A `LedgerProcessor` for a provider whose limits may cut our spans, which it does not record.

    Our calls then have spans on the ledger's own provider. Ancestors are noted nevertheless.
    """

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Note spans below a call that is reported already."""
        try:
            if span.parent is not None:
                self._note(span, trace.get_current_span(parent_context))
        except Exception as error:  # noqa: BLE001 - a failure of ours must not reach the app
            self.sink.count_unrecorded(type(error).__name__)

    def on_end(self, span: ReadableSpan) -> None:
        """Spool another emitter's model call."""
        if not _is_ours(span):
            super().on_end(span)
        elif (context := span.get_span_context()) is not None:
            self._below.pop(context.span_id, None)


def _is_ours(span: trace.Span | ReadableSpan) -> bool:
    scope = getattr(span, "instrumentation_scope", None)
    return scope is not None and scope.name.startswith(attributes.SCOPE_PREFIX)
