"""When the batches were made whose results this process may read, and with which model."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final

_MOST_REMEMBERED: Final = 1_024
_UNSEEN: Final = (None, "")


class BatchTimes:
    """Batch, or the file of its results -> when the batch was made; the latest seen are kept."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[int, str]] = OrderedDict()
        self._lock = Lock()

    def note(self, key: str, made_ns: int, model: str = "") -> None:
        """Remember when a batch was made, in nanoseconds since 1970, and its model if told."""
        with self._lock:
            self._seen[key] = (made_ns, model)
            while len(self._seen) > _MOST_REMEMBERED:
                self._seen.popitem(last=False)

    def of(self, key: str) -> int | None:
        """When it was made, in nanoseconds since 1970; `None` if it was not seen."""
        return self._seen.get(key, _UNSEEN)[0]

    def model_of(self, key: str) -> str:
        """Its model; "" if it was not seen or did not tell."""
        return self._seen.get(key, _UNSEEN)[1]
