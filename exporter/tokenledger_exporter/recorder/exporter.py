"""The span exporter for plain OpenTelemetry SDK users, and for `--traces_exporter tokenledger`.

A BatchSpanProcessor loses its queue when the process is killed. So where our own span processor
already feeds the same ledger (the launcher, `configure()`), this exporter does nothing.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tokenledger_exporter.recorder.encode import encode_span, is_model_call
from tokenledger_exporter.recorder.inherited import inherited_in
from tokenledger_exporter.recorder.ledger import PostgresLedger, feeds_installed_ledger
from tokenledger_exporter.recorder.processor import exit_seconds_left
from tokenledger_semconv import attributes
from tokenledger_semconv.settings import SettingsError, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from tokenledger_semconv.settings import Settings

_log: Final = logging.getLogger("tokenledger")

_WAIT_SECONDS: Final = 5.0


class LedgerSpanExporter(SpanExporter):
    """Prices GenAI spans into the Postgres ledger.

    Args:
        database_url: connection string; by default TOKENLEDGER_DATABASE_URL, else DATABASE_URL.
            Other options come from their TOKENLEDGER_* variables.
    """

    def __init__(self, database_url: str | None = None) -> None:
        self._database_url: Final = database_url
        self._ledger: PostgresLedger | None = None
        self._failed = False
        self._undecided: dict[int, tuple[float, bytes]] = {}

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Spool the model calls among the spans; they are in the ledger after the next commit."""
        calls = [span for span in spans if is_model_call(span)]
        if not calls:
            return SpanExportResult.SUCCESS
        settings = self._settings()
        if settings is None:
            return SpanExportResult.FAILURE
        url = settings.database_url
        attribution_above = inherited_in(spans)
        for span in calls:
            if not feeds_installed_ledger(span.resource, url):
                self._take(span, settings, attribution_above(span))
        self._release(older_than_seconds=_WAIT_SECONDS)
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Commit the waiting records; False if some still wait at the timeout."""
        self._release(older_than_seconds=0)
        if self._ledger is None:
            return True
        self._ledger.flush(timeout_millis / 1000)
        return self._ledger.waiting == 0

    def shutdown(self) -> None:
        """Try to commit the last rows and close; the rest stays in the spool."""
        self._release(older_than_seconds=0)
        if self._ledger is not None:
            self._ledger.shutdown(exit_seconds_left())

    def _take(
        self, span: ReadableSpan, settings: Settings, inherited: Mapping[str, str] | None
    ) -> None:
        """Spool a span, but delay one that the anthropic SDK made: its parent may be our own span.

        A child ends before its parent, so whether both report one call is known a moment later.
        """
        if self._ledger is None:
            self._ledger = PostgresLedger(settings)
        scope = span.instrumentation_scope.name if span.instrumentation_scope else ""
        context, parent = span.get_span_context(), span.parent
        if scope.startswith(attributes.ANTHROPIC_SDK_SCOPE) and parent and not parent.is_remote:
            self._undecided[parent.span_id] = (time.monotonic(), encode_span(span, inherited))
            return
        if context is not None and scope.startswith(attributes.SCOPE_PREFIX):
            self._undecided.pop(context.span_id, None)
        self._ledger.append(encode_span(span, inherited))

    def _release(self, *, older_than_seconds: float) -> None:
        """Spool the delayed spans without a parent of ours: nothing else reports their calls."""
        due = time.monotonic() - older_than_seconds
        for parent_id, (received_at, payload) in list(self._undecided.items()):
            if received_at <= due and self._ledger is not None:
                del self._undecided[parent_id]
                self._ledger.append(payload)

    def _settings(self) -> Settings | None:
        if self._ledger is not None:
            return self._ledger.settings
        if self._failed:
            return None
        try:
            settings = read_settings({"database_url": self._database_url})
            if not settings.database_url:
                raise SettingsError("no database URL: set TOKENLEDGER_DATABASE_URL")  # noqa: TRY301
        except SettingsError as error:
            self._failed = True
            _log.error("ledger_closed: %s", error)
            return None
        return settings
