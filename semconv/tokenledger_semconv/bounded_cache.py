"""A dictionary with an upper bound, for what both packages cache in the app's process."""

from __future__ import annotations

from threading import RLock
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(dict[K, V]):
    """Keeps the entries that were set last; setting one more drops the oldest.

    Reading is the dictionary's own, without a lock: hot paths read on every call.

    Args:
        limit: the number of entries to keep.
    """

    __slots__ = ("_limit", "_lock")

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        # Reentrant: a garbage collection inside may end a call that sets an entry too.
        self._lock = RLock()

    def __setitem__(self, key: K, value: V) -> None:
        with self._lock:
            self.pop(key, None)
            super().__setitem__(key, value)
            while len(self) > self._limit:
                del self[next(iter(self))]
