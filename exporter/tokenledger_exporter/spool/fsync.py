"""Flushes spooled records to the disk in the background, so that a power loss loses little.

A kill of the process loses nothing: the kernel has the records. The thread sleeps until there is a
new record, waits `SYNC_SECONDS` for more, and syncs once for all of them.
"""

from __future__ import annotations

import os
import queue
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SYNC_SECONDS: Final = 0.08
"""How long the thread collects records before it syncs."""

sync_data: Final = getattr(os, "fdatasync", os.fsync)
"""Flushes a file's content to its disk; its timestamps may follow later."""


class FsyncThread:
    """The background thread; started with the first record.

    Args:
        sync: flushes new records to the disk; must not raise.
    """

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync: Final = sync
        self.due = False
        self._thread: threading.Thread | None = None
        self._requests: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopped = threading.Event()

    def notice(self) -> None:
        """Request a sync for a new record; not needed while a sync is `due`."""
        self.due = True
        if self._thread is None:
            self._start()
        # Garbage collection may append a record at any point: SimpleQueue is reentrant.
        self._requests.put(None)

    def stop(self) -> None:
        """End the thread; later records are left to the kernel."""
        self.due = True
        self._stopped.set()
        self._requests.put(None)
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    def after_fork(self) -> None:
        """In a forked child: the thread is the parent's."""
        self._requests = queue.SimpleQueue()
        self._stopped = threading.Event()
        self.due = False
        self._thread = None

    def _start(self) -> None:
        # Created with the thread: if gevent has patched threads since, the thread is a greenlet,
        # and waiting on an older queue would stop every other greenlet.
        self._requests = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="tokenledger-sync", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            # No thread can be started now; the kernel flushes the file by itself.
            self._thread = None

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._requests.get()
            self._stopped.wait(SYNC_SECONDS)
            self.due = self._stopped.is_set()
            self._sync()
