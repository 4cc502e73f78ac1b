"""Counts calls where a kill cannot take the count away: in a file shared with the rig.

A counter belongs to one thread. Its calls carry `<counter>-<number>` as their user id, so that the
ledger can be asked for each of them.
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_COUNTS: Final = struct.Struct("<QQ")


class CallCounter:
    """Counts the calls of one thread of one process.

    Args:
        folder: where the rig looks for counters.
    """

    def __init__(self, folder: Path) -> None:
        self.name: Final = f"{os.getpid()}.{secrets.token_hex(4)}"
        # Whole before the rig can see it.
        path = folder / f".{self.name}"
        path.write_bytes(bytes(_COUNTS.size))
        with path.open("r+b") as file:
            self._memory: Final = mmap.mmap(file.fileno(), _COUNTS.size)
        path.rename(folder / self.name)
        self._opened = self._made = 0

    def next_call(self) -> str:
        """The user id of the call that is made next."""
        return f"{self.name}-{self._opened + 1}"

    def opened(self) -> None:
        """Count a call that was sent."""
        self._opened += 1
        self._store()

    def made(self) -> None:
        """Count a call that was sent and has ended."""
        self._made += 1
        self._store()

    def _store(self) -> None:
        self._memory[:] = _COUNTS.pack(self._opened, self._made)


@dataclass(frozen=True, slots=True)
class Counted:
    """What one thread counted: calls sent, and those of them that ended."""

    name: str
    opened: int
    made: int


def read_counts(folder: Path) -> Iterator[Counted]:
    """Every counter's last word."""
    for path in sorted(folder.glob("[!.]*")):
        opened, made = _COUNTS.unpack(path.read_bytes())
        yield Counted(path.name, opened, made)
