"""Circuit breaker: retry with growing pauses, then stop for a while.

The first retries come after growing pauses. After several consecutive failures the circuit opens:
no attempt is made until its timeout is over, and the outcome of the next attempt closes the circuit
or keeps it open. No data is lost: it waits in the spool.
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
class CircuitBreaker:
    """Counts consecutive failures and decides how long to pause.

    Args:
        settings: `max_retries`, `retry_backoff_*` and `circuit_breaker_*` apply.
        failures: consecutive failures so far.
        is_attempting: whether an attempt is running now.
    """

    settings: Settings
    failures: int = 0
    is_attempting: bool = False
    _pause_seconds: float = 0.0

    @property
    def state(self) -> str:
        """`closed`, `open`, or `half-open` while the deciding attempt runs."""
        if self.failures < self.settings.circuit_breaker_threshold:
            return CLOSED
        return HALF_OPEN if self.is_attempting else OPEN

    @property
    def pause_seconds(self) -> float:
        """How long to wait after the last attempt; 0 if it succeeded."""
        return self._pause_seconds

    def note_success(self) -> None:
        """Record that an attempt succeeded."""
        self.failures = 0
        self._pause_seconds = 0.0

    def note_failure(self) -> None:
        """Record that an attempt failed."""
        self.failures += 1
        # Many workers that lost the same database must not all retry at the same time.
        self._pause_seconds = self._longest_pause() * random.uniform(0.7, 1.0)  # noqa: S311

    def _longest_pause(self) -> float:
        settings = self.settings
        if self.failures >= settings.circuit_breaker_threshold:
            return settings.circuit_breaker_timeout
        if self.failures > settings.max_retries:
            return settings.retry_backoff_max
        doublings = min(self.failures - 1, _MAX_DOUBLINGS)
        return min(settings.retry_backoff_base * 2.0**doublings, settings.retry_backoff_max)
