"""Ends a command that must clean up: one signal unwinds it, and no second one interrupts that."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP")


class Interruption:
    """What the signals do: raise KeyboardInterrupt, now or once a resource is registered."""

    def __init__(self) -> None:
        self._is_deferred = False
        self._came = False

    @contextmanager
    def deferred(self) -> Generator[None]:
        """Let a signal wait for the end of the block, so that what it makes can be deleted."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False
            if self._came:
                raise KeyboardInterrupt

    def handle(self, _signal: int, _frame: FrameType | None) -> None:
        """Handle the first signal, and ignore all others."""
        for number in _numbers():
            signal.signal(number, signal.SIG_IGN)
        self._came = True
        if not self._is_deferred:
            raise KeyboardInterrupt


@contextmanager
def unwound_by_signals() -> Generator[Interruption]:
    """Raise KeyboardInterrupt on Ctrl-C, SIGTERM and a closed terminal; for the main thread."""
    interruption = Interruption()
    before = {number: signal.signal(number, interruption.handle) for number in _numbers()}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _numbers() -> list[signal.Signals]:
    # Windows has no SIGHUP.
    return [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
