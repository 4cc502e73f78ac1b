"""Gives every sender a fair share of a worker.

`Budget` divides a fixed amount, such as memory or queue slots. A sender never uses more than what
is still free, so a single sender gets half and a new one always finds room (Choudhury and Hahne,
"Dynamic queue length thresholds for shared-memory packet switches", 1998). `WorkMeter` divides the
time: while a worker is busy, a sender that causes most of the work is asked to retry later.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from typing import Final

BUSY: Final = 0.25
"""A worker with more seconds of work per second than this is busy."""

_MIN_OVERUSE: Final = 0.125
_WINDOW_SECONDS: Final = 2.0
_NEGLIGIBLE: Final = 1e-4
_MAX_SENDERS: Final = 1_024


class Budget:
    """A fixed amount that senders acquire and release. It is thread-safe.

    Args:
        total: the whole amount.
        is_shared: whether a sender may hold no more than is still free.
    """

    def __init__(self, total: int, *, is_shared: bool) -> None:
        self.total: Final = total
        self._is_shared: Final = is_shared
        # A larger amount counts as this much, or one large request would leave nothing to others.
        self._max_amount: Final = max(1, total // 2) if is_shared else sys.maxsize
        self._lock: Final = threading.Lock()
        self._by_sender: Final[dict[str, int]] = {}
        self._used = 0

    @property
    def used(self) -> int:
        """The amount in use."""
        return self._used

    def has_room(self, sender: str) -> bool:
        """Whether a sender may acquire anything at the moment."""
        with self._lock:
            return self._free_amount(sender) > 0

    def acquire(self, sender: str, amount: int) -> bool:
        """Acquire an amount; returns whether there was room. Any amount fits an unused budget."""
        amount = min(amount, self._max_amount)
        with self._lock:
            if self._used and amount > self._free_amount(sender):
                return False
            self._by_sender[sender] = self._by_sender.get(sender, 0) + amount
            self._used += amount
            return True

    def release(self, sender: str, amount: int) -> None:
        """Release an amount that was acquired."""
        amount = min(amount, self._max_amount)
        with self._lock:
            left = self._by_sender.get(sender, 0) - amount
            self._used -= amount
            if left > 0:
                self._by_sender[sender] = left
            else:
                self._by_sender.pop(sender, None)

    def _free_amount(self, sender: str) -> int:
        free = self.total - self._used
        return free - self._by_sender.get(sender, 0) if self._is_shared else free


class _DecayingSum:
    """Seconds of work; older work counts exponentially less."""

    __slots__ = ("at", "seconds")

    def __init__(self, now: float) -> None:
        self.at = now
        self.seconds = 0.0

    def value_at(self, now: float) -> float:
        """The sum with the decay up to now."""
        self.seconds *= math.exp((self.at - now) / _WINDOW_SECONDS)
        self.at = now
        return self.seconds


class WorkMeter:
    """Recent work by sender, in seconds. It is thread-safe."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._by_sender: Final[dict[str, _DecayingSum]] = {}
        self._total: Final = _DecayingSum(time.monotonic())

    def charge(self, sender: str, seconds: float) -> None:
        """Add work done for a sender."""
        now = time.monotonic()
        with self._lock:
            by_sender = self._by_sender.get(sender)
            if by_sender is None:
                if len(self._by_sender) >= _MAX_SENDERS:
                    self._forget(now)
                by_sender = self._by_sender[sender] = _DecayingSum(now)
            for work in (by_sender, self._total):
                work.seconds = work.value_at(now) + seconds

    def is_over(self, sender: str) -> bool:
        """Whether the worker is busy, mostly for this sender, while others send as well.

        Always false for senders without an organization, which the operator runs.
        """
        now = time.monotonic()
        with self._lock:
            work = self._by_sender.get(sender)
            if not sender or work is None:
                return False
            load = work.value_at(now) / _WINDOW_SECONDS
            total = self._total.value_at(now) / _WINDOW_SECONDS
        return total > BUSY and load > max(_MIN_OVERUSE, total / 2) and total - load > _NEGLIGIBLE

    def _forget(self, now: float) -> None:
        idle = [name for name, work in self._by_sender.items() if work.value_at(now) < _NEGLIGIBLE]
        for sender in idle:
            del self._by_sender[sender]
