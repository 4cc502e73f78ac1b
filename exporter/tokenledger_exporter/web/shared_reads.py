"""Lets requests for the same thing share one reading of the ledger, without an old answer.

A request never gets what was read before it came: while one reading runs, every request that comes
waits for the next one, and shares that. Many viewers of one page cost as much as one viewer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

T = TypeVar("T")


class SharedReads(Generic[T]):
    """Readings by their key; to be used by the tasks of one event loop."""

    def __init__(self) -> None:
        self._running: Final[dict[Hashable, asyncio.Task[T]]] = {}
        self._next: Final[dict[Hashable, asyncio.Task[T]]] = {}

    @property
    def readings(self) -> int:
        """How many keys are being read, or wait for it."""
        return len(self._running.keys() | self._next.keys())

    async def read(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """What `read` gives, read after this call by this or by another request of the key.

        Raises:
            Exception: what `read` raises.
        """
        task = self._next.get(key)
        if task is None:
            task = asyncio.create_task(self._run(key, read, self._running.get(key)))
            slot = self._next if key in self._running else self._running
            slot[key] = task
            task.add_done_callback(_note_error)
        # A viewer that leaves does not end the reading of the others.
        return await asyncio.shield(task)

    async def _run(
        self, key: Hashable, read: Callable[[], Awaitable[T]], before: asyncio.Task[T] | None
    ) -> T:
        if before is not None:
            await asyncio.wait([before])
            self._running[key] = self._next.pop(key)
        try:
            return await read()
        finally:
            # Requests that came meanwhile are in the next reading, which takes this one's place.
            if key not in self._next:
                del self._running[key]


def _note_error(task: asyncio.Task[T]) -> None:
    """Mark the error as seen: no viewer may be left who sees it."""
    if not task.cancelled():
        task.exception()
