"""Ends a command that must clean up: one signal unwinds it, and no second one interrupts that."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def unwound_by_signals() -> Generator[None]:
    """Raise KeyboardInterrupt on Ctrl-C, SIGTERM and a closed terminal; for the main thread."""
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    for name in _NAMES:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    raise KeyboardInterrupt
