"""Brings what is spooled to the disk itself, so that a power loss takes its last moment only.

A kill of the process takes nothing anyway: the records are the kernel's. The thread sleeps until
there is something new, gathers for a moment, and syncs once for all of it.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SYNC_SECONDS: Final = 0.08
"""How long records are gathered before they are synced."""


class FsyncThread:
    """The background thread; started with the first record.

    Args:
        sync: brings what is new to the disk; must not raise.
    """

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync: Final = sync
        self.due = False
        self._thread: threading.Thread | None = None
        self._asked: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopped = threading.Event()

    def notice(self) -> None:
        """Something new is spooled; need not be said while a sync is `due` anyway."""
        self.due = True
        if self._thread is None:
            self._start()
        # Garbage collection may bring a record at any point: this queue takes it even then.
        self._asked.put(None)

    def stop(self) -> None:
        """End the thread; what is spooled from now on is left to the kernel."""
        self.due = True
        self._stopped.set()
        self._asked.put(None)
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    def after_fork(self) -> None:
        """In a forked child: the thread is the parent's."""
        self._asked = queue.SimpleQueue()
        self._stopped = threading.Event()
        self.due = False
        self._thread = None

    def _start(self) -> None:
        # Made with the thread: where gevent was patched in since, the thread is a greenlet, and
        # waiting for a queue made before would stop every other greenlet.
        self._asked = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="tokenledger-sync", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            # No thread can be started now; the kernel writes the file back by itself.
            self._thread = None

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._asked.get()
            self._stopped.wait(SYNC_SECONDS)
            self.due = self._stopped.is_set()
            self._sync()
