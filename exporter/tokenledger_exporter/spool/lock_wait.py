"""How long a caller waits for the spool's lock when another thread holds it.

The caller waits so that its record is on disk when it continues: a kill would lose the record that
is still in memory. A thread must not wait for a
lock it holds, nor long for a thread whose disk hangs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import threading
    from types import FrameType

# The holder's work takes microseconds. Then it waits for the interpreter: 5 ms for each other busy
# thread. If it takes longer than this, its disk hangs, and callers stop waiting for it.
_MAX_WAIT_SECONDS: Final = 0.25
_HUNG_WAIT_SECONDS: Final = 0.002


class LockWait:
    """Waits for a lock that only the functions of one file hold.

    Args:
        lock: the lock.
        file: path of that file.
    """

    def __init__(self, lock: threading.Lock, file: str) -> None:
        self._lock: Final = lock
        self._file: Final = file
        self._holder_hangs = False

    def acquire(self, depth: int) -> bool:
        """Whether this thread has the lock now.

        Args:
            depth: how many functions of the file called this one. If another function of the file
                is among their callers, this thread may hold the lock, so it does not wait. A signal
                handler can run there, and garbage collection, which ends the calls of lost streams.
        """
        frame: FrameType | None
        frame = sys._getframe(depth + 1)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        while frame is not None:
            if frame.f_code.co_filename == self._file:
                return False
            frame = frame.f_back
        seconds = _HUNG_WAIT_SECONDS if self._holder_hangs else _MAX_WAIT_SECONDS
        is_acquired = self._lock.acquire(timeout=seconds)
        self._holder_hangs = not is_acquired
        return is_acquired
