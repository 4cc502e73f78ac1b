"""The health of a ledger, as `health()` and as OpenTelemetry metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from opentelemetry import metrics
from opentelemetry.metrics import Observation

from tokenledger_exporter.db.connection import describe
from tokenledger_exporter.recorder.circuit_breaker import CLOSED
from tokenledger_semconv import metrics as names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from opentelemetry.metrics import CallbackOptions

    from tokenledger_exporter.recorder.drainer import Drainer
    from tokenledger_exporter.spool.spool import Spool

    Read = Callable[["HealthMonitor"], float]


class HealthMonitor:
    """Reads the spool's and the drainer's state; uses neither database nor network.

    Args:
        database_url: the ledger; only its host, port and name are shown.
        folder: the folder of its segments.
        spool: holds the waiting calls.
        drainer: writes them.
    """

    def __init__(self, database_url: str, folder: Path, spool: Spool, drainer: Drainer) -> None:
        self._database: Final = describe(database_url)
        self._folder: Final = folder
        self._spool: Final = spool
        self._drainer: Final = drainer

    @property
    def waiting(self) -> int:
        """Calls of this process that are not committed."""
        return self._spool.waiting

    @property
    def oldest_waiting_seconds(self) -> float:
        """How long the oldest waiting call has waited; 0 if none waits."""
        ended_ns = self._spool.oldest_waiting_ns()
        return max(0.0, (time.time_ns() - ended_ns) / 1e9) if ended_ns else 0.0

    @property
    def lost(self) -> int:
        """Records known to be lost."""
        return self._spool.state.lost

    @property
    def committed(self) -> int:
        """Rows this process committed."""
        return self._drainer.state.committed_rows

    @property
    def failures(self) -> int:
        """Attempts that failed."""
        return self._drainer.state.failures

    @property
    def spool_bytes(self) -> int:
        """Total size of the ledger's segments on this machine."""
        return self._spool.bytes_on_disk()

    @property
    def circuit(self) -> str:
        """State of the circuit breaker."""
        return self._drainer.breaker.state

    def health(self) -> dict[str, object]:
        """Counts of waiting, committed and lost calls, and the last error as a sentence."""
        state = self._drainer.state
        return {
            "database": self._database,
            "waiting": self.waiting,
            "waiting_in_memory": self._spool.waiting_in_memory,
            "oldest_waiting_seconds": round(self.oldest_waiting_seconds, 3),
            "committed": self.committed,
            "lost": self.lost,
            "set_aside": state.quarantined,
            "dropped": state.dropped,
            "dropped_example": state.dropped_example or None,
            "last_commit_at": state.last_commit_at.isoformat() if state.last_commit_at else None,
            "last_error": state.last_error or None,
            "failed_attempts": self.failures,
            "circuit": self.circuit,
            "spool_folder": str(self._folder),
            "spool_bytes": self.spool_bytes,
            "spool_on_disk": self._spool.state.on_disk,
        }


def _circuit_is_open(monitor: HealthMonitor) -> int:
    return int(monitor.circuit != CLOSED)


def register_metrics(current_monitor: Callable[[], HealthMonitor | None]) -> None:
    """Register the metrics with the app's meter provider; without one they are never read.

    Args:
        current_monitor: returns the monitor of the ledger in effect at each reading.
    """
    meter = metrics.get_meter(names.METER)

    def reading(read: Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            monitor = current_monitor()
            return [] if monitor is None else [Observation(read(monitor))]

        return observe

    def gauge(name: str, unit: str, read: Read) -> None:
        meter.create_observable_gauge(name, [reading(read)], unit)

    def counter(name: str, unit: str, read: Read) -> None:
        meter.create_observable_counter(name, [reading(read)], unit)

    gauge(names.WAITING, "{call}", lambda monitor: monitor.waiting)
    gauge(names.OLDEST_WAITING, "s", lambda monitor: monitor.oldest_waiting_seconds)
    gauge(names.SPOOL_SIZE, "By", lambda monitor: monitor.spool_bytes)
    gauge(names.CIRCUIT_OPEN, "1", _circuit_is_open)
    counter(names.COMMITTED, "{row}", lambda monitor: monitor.committed)
    counter(names.LOST, "{call}", lambda monitor: monitor.lost)
    counter(names.FAILURES, "{attempt}", lambda monitor: monitor.failures)
