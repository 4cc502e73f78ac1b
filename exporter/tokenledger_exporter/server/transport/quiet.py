"""Keeps a stranger from filling the log: so many lines a minute of each kind, then their number."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import logging

_SECONDS: Final = 60.0
_MAX_LINES: Final = 10
_MAX_KINDS: Final = 256


class RateLimit:
    """A filter of a logger; a kind of line is its text before any value is filled in."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._kinds: Final[dict[str, tuple[float, int]]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written; the first of a new minute says how many were not."""
        kind = f"{record.name} {record.msg} {getattr(record, 'event', '')}"
        now = time.monotonic()
        with self._lock:
            since, lines = self._kinds.get(kind, (now, 0))
            if now - since >= _SECONDS:
                if lines > _MAX_LINES:
                    record.msg = f"{record.msg} ({lines - _MAX_LINES} such lines left out)"
                since, lines = now, 0
            if kind not in self._kinds and len(self._kinds) >= _MAX_KINDS:
                self._kinds.clear()
            self._kinds[kind] = since, lines + 1
        return lines < _MAX_LINES
