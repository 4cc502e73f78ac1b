"""The exporter for plain OpenTelemetry SDK users, and behind `--traces_exporter tokenledger`.

A BatchSpanProcessor loses what it queues when a process is killed, so where our own processor
feeds the ledger already (the launcher, `configure()`) this exporter keeps quiet: one writer path.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tokenledger_exporter.ledger import PostgresLedger, feeds_installed_ledger
from tokenledger_exporter.processor import EXIT_SECONDS
from tokenledger_exporter.records import encode_span, is_model_call
from tokenledger_semconv.settings import SettingsError, read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

_log: Final = logging.getLogger("tokenledger")


class LedgerSpanExporter(SpanExporter):
    """Prices GenAI spans into the Postgres ledger.

    Args:
        database_url: connection string; else TOKENLEDGER_DATABASE_URL, else DATABASE_URL. The
            other options come from their TOKENLEDGER_* variables.
    """

    def __init__(self, database_url: str | None = None) -> None:
        self._database_url: Final = database_url
        self._ledger: PostgresLedger | None = None
        self._failed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Spool the model calls among the spans; they are in the ledger after the next commit."""
        calls = [
            span
            for span in spans
            if is_model_call(span) and not feeds_installed_ledger(span.resource)
        ]
        if not calls:
            return SpanExportResult.SUCCESS
        ledger = self._open()
        if ledger is None:
            return SpanExportResult.FAILURE
        for span in calls:
            ledger.append(encode_span(span))
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Commit what waits; False if something is still waiting at the time-out."""
        if self._ledger is None:
            return True
        self._ledger.flush(timeout_millis / 1000)
        return self._ledger.waiting == 0

    def shutdown(self) -> None:
        """Try for the last rows and close; what is left stays in the spool."""
        if self._ledger is not None:
            self._ledger.shutdown(EXIT_SECONDS)

    def _open(self) -> PostgresLedger | None:
        if self._ledger is None and not self._failed:
            try:
                self._ledger = PostgresLedger(read_settings({"database_url": self._database_url}))
            except SettingsError as error:
                self._failed = True
                _log.error("ledger_closed: %s", error)
        return self._ledger
