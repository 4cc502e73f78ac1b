"""Shows the progress of work that takes more than two seconds, on a terminal only."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

_SILENT_SECONDS: Final = 2.0
_REDRAW_SECONDS: Final = 0.5
_MINUTE: Final = 60
_CLEAR_LINE: Final = "\r\x1b[2K"


class Progress:
    """A line on standard error: how much is done, how fast, and how long the rest takes.

    It is drawn by a thread, so that it moves while one statement runs. Nothing is written if
    standard error is not a terminal, or if the work is done within two seconds.

    Args:
        title: what is done, such as `repricing`.
        noun: what is counted, in the plural; "" if only the time is shown.
        stream: where to write; standard error by default.
        silent_seconds: how long nothing is shown.
    """

    def __init__(
        self,
        title: str,
        noun: str = "",
        stream: TextIO | None = None,
        silent_seconds: float = _SILENT_SECONDS,
    ) -> None:
        self._title: Final = title
        self._noun: Final = noun
        self._stream: Final = stream or sys.stderr
        self._silent_seconds: Final = silent_seconds
        self._done = 0
        self._total: int | None = None
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_shown(self) -> bool:
        """Whether a person can see it; a total that takes time to count is only for a person."""
        return self._stream.isatty()

    def __enter__(self) -> Self:
        """Start to draw."""
        self._began = time.monotonic()
        if self.is_shown:
            self._thread = threading.Thread(
                target=self._draw, name="tokenledger-progress", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the line."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def update(self, done: int, total: int | None) -> None:
        """Set how much is done, and how much there is."""
        self._done, self._total = done, total

    def line(self, seconds: float) -> str:
        """The line after so many seconds."""
        if not self._noun or not self._done:
            return f"{self._title}: {_duration(seconds)}"
        rate = self._done / seconds
        if self._total is None:
            return f"{self._title}: {self._done:,} {self._noun}, {_rate(rate)}"
        left = max(self._total - self._done, 0) / rate
        return (
            f"{self._title}: {self._done:,} of {self._total:,} {self._noun}, {_rate(rate)}, "
            f"{_duration(left)} left"
        )

    def _draw(self) -> None:
        if self._ended.wait(self._silent_seconds):
            return
        while True:
            self._write(_CLEAR_LINE + self.line(time.monotonic() - self._began))
            if self._ended.wait(_REDRAW_SECONDS):
                break
        self._write(_CLEAR_LINE)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _rate(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"  # noqa: PLR2004 - digits that matter


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < _MINUTE else f"{whole // _MINUTE} min {whole % _MINUTE} s"
