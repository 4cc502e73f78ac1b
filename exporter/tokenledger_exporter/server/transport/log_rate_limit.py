"""Limits log lines per minute and kind, so that a client cannot fill the log."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import logging

_PERIOD_SECONDS: Final = 60.0
_MAX_LINES: Final = 10
_MAX_KINDS: Final = 256


class LogRateLimit:
    """A logging filter; the kind of a line is its text before values are filled in."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._kinds: Final[dict[str, tuple[float, int]]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the line; the first of a new period says how many were omitted."""
        kind = f"{record.name} {record.msg} {getattr(record, 'event', '')}"
        now = time.monotonic()
        with self._lock:
            since, lines = self._kinds.get(kind, (now, 0))
            if now - since >= _PERIOD_SECONDS:
                if lines > _MAX_LINES:
                    record.msg = f"{record.msg} ({lines - _MAX_LINES} such lines omitted)"
                since, lines = now, 0
            if kind not in self._kinds and len(self._kinds) >= _MAX_KINDS:
                self._kinds.clear()
            self._kinds[kind] = since, lines + 1
        return lines < _MAX_LINES
