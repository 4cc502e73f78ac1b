"""Remembers when each batch was created, and its model, until its results are read."""

from __future__ import annotations

from typing import Final

from tokenledger_semconv.bounded_cache import BoundedCache

_MAX_BATCHES: Final = 1_024
_UNKNOWN: Final = (None, "")


class BatchTimes:
    """Batch, or the file of its results -> when the batch was created. Keeps the latest."""

    def __init__(self) -> None:
        self._created: BoundedCache[str, tuple[int, str]] = BoundedCache(_MAX_BATCHES)

    def note(self, key: str, created_ns: int, model: str = "") -> None:
        """Remember when a batch was created, in nanoseconds since 1970, and its model."""
        self._created[key] = (created_ns, model)

    def of(self, key: str) -> int | None:
        """When it was created, in nanoseconds since 1970; `None` if unknown."""
        return self._created.get(key, _UNKNOWN)[0]

    def model_of(self, key: str) -> str:
        """Its model; "" if unknown."""
        return self._created.get(key, _UNKNOWN)[1]
