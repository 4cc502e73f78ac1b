"""When the batches were made whose results this process may read."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final

_MOST_REMEMBERED: Final = 1_024


class BatchTimes:
    """Batch, or the file of its results -> when the batch was made; the latest seen are kept."""

    def __init__(self) -> None:
        self._made_ns: OrderedDict[str, int] = OrderedDict()
        self._lock = Lock()

    def note(self, key: str, made_ns: int) -> None:
        """Remember when a batch was made, in nanoseconds since 1970."""
        with self._lock:
            self._made_ns[key] = made_ns
            while len(self._made_ns) > _MOST_REMEMBERED:
                self._made_ns.popitem(last=False)

    def of(self, key: str) -> int | None:
        """When it was made, in nanoseconds since 1970; `None` if it was not seen."""
        return self._made_ns.get(key)
