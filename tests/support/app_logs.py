"""An app's own logs in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

if TYPE_CHECKING:
    from opentelemetry._logs import LogRecord


class AppLogs:
    """An app's own logger provider; its exporter stands for the app's backend."""

    def __init__(self) -> None:
        self._exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        self.provider = LoggerProvider(shutdown_on_exit=False)
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self._exporter))

    @property
    def records(self) -> list[LogRecord]:
        """The emitted records."""
        return [log.log_record for log in self._exporter.get_finished_logs()]
