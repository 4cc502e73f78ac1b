"""A fair share of a worker for every sender.

`Budget` divides what a worker has a fixed amount of: memory, places in a queue. A sender never
holds more than what is then still free, so one sender alone gets half and a newcomer always finds
room (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches",
1998).
`Meter` divides its time: while a worker is busy, a sender that causes most of the work is asked to
come back later.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from typing import Final

BUSY: Final = 0.25
"""Seconds of work a second from which on a worker counts as busy."""

_OWN_MOST: Final = 0.125
_WINDOW_SECONDS: Final = 2.0
_FORGOTTEN: Final = 1e-4
_MAX_SENDERS: Final = 1_024


class Budget:
    """An amount that senders take of and give back; used by several threads.

    Args:
        total: the whole.
        is_shared: whether a sender leaves as much free as it holds.
    """

    def __init__(self, total: int, *, is_shared: bool) -> None:
        self.total: Final = total
        self._is_shared: Final = is_shared
        # More than that counts as so much, or one large request would leave nothing to others.
        self._most: Final = max(1, total // 2) if is_shared else sys.maxsize
        self._lock: Final = threading.Lock()
        self._of: Final[dict[str, int]] = {}
        self._used = 0

    @property
    def used(self) -> int:
        """How much is taken."""
        return self._used

    def has_room(self, sender: str) -> bool:
        """Whether a sender may take anything at all now."""
        with self._lock:
            return self._room(sender) > 0

    def take(self, sender: str, amount: int) -> bool:
        """Take an amount; False if it is too much. What is alone is never too much."""
        amount = min(amount, self._most)
        with self._lock:
            if self._used and amount > self._room(sender):
                return False
            self._of[sender] = self._of.get(sender, 0) + amount
            self._used += amount
            return True

    def give_back(self, sender: str, amount: int) -> None:
        """Give back what was taken."""
        amount = min(amount, self._most)
        with self._lock:
            left = self._of.get(sender, 0) - amount
            self._used -= amount
            if left > 0:
                self._of[sender] = left
            else:
                self._of.pop(sender, None)

    def _room(self, sender: str) -> int:
        free = self.total - self._used
        return free - self._of.get(sender, 0) if self._is_shared else free


class _Work:
    """Seconds of work, of which those long ago count less and less."""

    __slots__ = ("at", "seconds")

    def __init__(self, now: float) -> None:
        self.at = now
        self.seconds = 0.0

    def faded(self, now: float) -> float:
        """What still counts of it."""
        self.seconds *= math.exp((self.at - now) / _WINDOW_SECONDS)
        self.at = now
        return self.seconds


class Meter:
    """Work by sender, in seconds of the last few; used by several threads."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._of: Final[dict[str, _Work]] = {}
        self._every: Final = _Work(time.monotonic())

    def charge(self, sender: str, seconds: float) -> None:
        """Add work that was done for a sender."""
        now = time.monotonic()
        with self._lock:
            own = self._of.get(sender)
            if own is None:
                if len(self._of) >= _MAX_SENDERS:
                    self._forget(now)
                own = self._of[sender] = _Work(now)
            for work in (own, self._every):
                work.seconds = work.faded(now) + seconds

    def is_over(self, sender: str) -> bool:
        """Whether the worker is busy, and a sender's is most of it while others send as well.

        Never of who is bound to no organization: those are the operator's own.
        """
        now = time.monotonic()
        with self._lock:
            work = self._of.get(sender)
            if not sender or work is None:
                return False
            own, every = work.faded(now) / _WINDOW_SECONDS, self._every.faded(now) / _WINDOW_SECONDS
        return every > BUSY and own > max(_OWN_MOST, every / 2) and every - own > _FORGOTTEN

    def _forget(self, now: float) -> None:
        for sender in [each for each, work in self._of.items() if work.faded(now) < _FORGOTTEN]:
            del self._of[sender]
