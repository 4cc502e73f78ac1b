"""When the ledger is tried again after a failure, and when it is left in peace for a while.

The first retries come after growing pauses. After several failures in a row the circuit opens: no
attempt until its time is over, then one, and the circuit closes or stays open by its outcome. Data
is never given up: it waits in the spool.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tokenledger_semconv.settings import Settings

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half-open"

_MAX_DOUBLINGS: Final = 32


@dataclass(slots=True)
class Breaker:
    """Counts failures in a row, and says what follows from them.

    Args:
        settings: `max_retries` and those beside it say how.
        failures: in a row, so far.
        is_trying: whether an attempt is being made now.
    """

    settings: Settings
    failures: int = 0
    is_trying: bool = False
    _pause_seconds: float = 0.0

    @property
    def state(self) -> str:
        """`closed`, `open`, or `half-open` while the attempt that decides is being made."""
        if self.failures < self.settings.circuit_breaker_threshold:
            return CLOSED
        return HALF_OPEN if self.is_trying else OPEN

    @property
    def pause_seconds(self) -> float:
        """How long to wait after the last attempt; 0 if it went well."""
        return self._pause_seconds

    def note_success(self) -> None:
        """An attempt went well."""
        self.failures = 0
        self._pause_seconds = 0.0

    def note_failure(self) -> None:
        """An attempt failed."""
        self.failures += 1
        # Many workers that lost one database must not all return in the same moment.
        self._pause_seconds = self._longest_pause() * random.uniform(0.7, 1.0)  # noqa: S311

    def _longest_pause(self) -> float:
        told = self.settings
        if self.failures >= told.circuit_breaker_threshold:
            return told.circuit_breaker_timeout
        if self.failures > told.max_retries:
            return told.retry_backoff_max
        doublings = min(self.failures - 1, _MAX_DOUBLINGS)
        return min(told.retry_backoff_base * 2.0**doublings, told.retry_backoff_max)
