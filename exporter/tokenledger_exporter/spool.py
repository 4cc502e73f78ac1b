"""The crash-safe spool: a call is on disk before its caller goes on, and leaves after COMMIT.

One folder per ledger (`<spool>/<fingerprint>`), one segment per living process. If the disk
refuses, records wait in a bounded memory queue: one warning, and what does not fit is counted.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tokenledger_exporter.records import FORMAT_VERSION, decode_header, encode_header
from tokenledger_exporter.segment import SUFFIX, Segment, read_frames, take_over

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tokenledger_exporter.records import SpoolHeader

_log: Final = logging.getLogger("tokenledger")

MAX_BYTES: Final = 256 * 1024 * 1024
"""Bytes one process may leave waiting; beyond, the newest record is refused and counted."""

MAX_MEMORY_RECORDS: Final = 10_000
"""Records kept in memory while the disk takes none."""

_ALL: Final = 1 << 62


@dataclass(slots=True)
class Batch:
    """Records handed out for writing, with what it takes to forget them.

    Args:
        header: whose records these are.
        payloads: records in the order they were made.
        forget: call after COMMIT.
    """

    header: SpoolHeader
    payloads: list[bytes]
    forget: Callable[[], None]


@dataclass(slots=True)
class SpoolState:
    """What waits and what was lost, for `health` and `doctor`."""

    waiting: int = 0
    on_disk: bool = True
    refused: int = 0
    damaged: int = 0
    torn: int = 0
    kept_aside: list[str] = field(default_factory=list[str])


def spool_folder(spool_dir: str, ledger: str) -> Path:
    """The folder of one ledger's segments: the user's state folder unless told otherwise."""
    if spool_dir:
        return Path(spool_dir) / ledger
    state = os.environ.get("XDG_STATE_HOME")
    root = Path(state) if state else Path.home() / ".local" / "state"
    return root / "tokenledger" / "spool" / ledger


class Spool:
    """This process's end of the spool.

    Invariant, under `_lock`: `_segment` holds every record from `_committed` to its end that is
    not committed, `_memory` those the disk refused; `appended - forgotten` is what waits.
    """

    def __init__(self, folder: Path, header: SpoolHeader) -> None:
        self.header: Final = header
        self._folder: Final = folder
        self._lock = threading.Lock()
        self._segment: Segment | None = None
        self._committed = 0
        self._memory: deque[bytes] = deque()
        self._disk_failed = False
        self.appended = 0
        self.forgotten = 0
        self.state: Final = SpoolState()

    def append(self, payload: bytes) -> int:
        """Keep one record; returns its number, counted from 1. Never raises, never waits."""
        with self._lock:
            self.appended += 1
            if not self._append_to_disk(payload):
                self._append_to_memory(payload)
            return self.appended

    def own_batches(self, limit: int) -> Generator[Batch]:
        """This process's waiting records, in batches of at most `limit`."""
        while True:
            batch = self._next_own(limit)
            if batch is None:
                return
            yield batch

    def recovered_batches(self, limit: int) -> Generator[Batch]:
        """What dead processes of the same ledger left, in batches; drained segments are deleted."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            if self._segment is not None and path == self._segment.path:
                continue
            with take_over(path) as fd:
                if fd is not None:
                    yield from self._recover(path, fd, limit)

    def after_fork(self) -> None:
        """In a forked child: leave the parent's records to the parent and start afresh."""
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.abandon()
        self._lock = threading.Lock()
        self._memory.clear()
        self._committed = self.appended = self.forgotten = 0

    def close(self) -> None:
        """Let go of the segment; one with waiting records stays for the next process."""
        with self._lock:
            segment, self._segment = self._segment, None
            if segment is not None:
                segment.close(delete=self._committed >= segment.size)
                self._committed = 0

    @property
    def waiting(self) -> int:
        """Records of this process that are not committed."""
        with self._lock:
            return self.appended - self.forgotten - self.state.refused

    def _append_to_disk(self, payload: bytes) -> bool:
        try:
            if self._segment is None:
                self._segment = self._open_segment()
                self._committed = self._segment.start
            if self._segment.size + len(payload) > MAX_BYTES:
                return False
            self._segment.append(payload)
        except OSError as error:
            if not self._disk_failed:
                self._disk_failed = True
                _log.warning(
                    "spool_unwritable: %s takes no record (%s); up to %d calls wait in memory, "
                    "point TOKENLEDGER_SPOOL_DIR at a writable folder",
                    self._folder,
                    error.strerror or type(error).__name__,
                    MAX_MEMORY_RECORDS,
                )
            self.state.on_disk = False
            return False
        self.state.on_disk = True
        return True

    def _append_to_memory(self, payload: bytes) -> None:
        if len(self._memory) < MAX_MEMORY_RECORDS:
            self._memory.append(payload)
            return
        if not self.state.refused:
            _log.error("spool_full: further calls are counted as lost until the ledger is back")
        self.state.refused += 1

    def _open_segment(self) -> Segment:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = f"{os.getpid()}-{secrets.token_hex(8)}{SUFFIX}"
        return Segment(self._folder / name, encode_header(self.header))

    def _next_own(self, limit: int) -> Batch | None:
        with self._lock:
            segment = self._segment
            if segment is not None and self._committed < segment.size:
                result = segment.read(self._committed, limit)
                self.state.damaged += result.damaged
                records = len(result.payloads) + result.damaged
                return Batch(
                    self.header,
                    result.payloads,
                    lambda: self._forget_on_disk(segment, result.end, records),
                )
            if self._memory:
                payloads = [self._memory[i] for i in range(min(limit, len(self._memory)))]
                return Batch(self.header, payloads, lambda: self._forget_in_memory(len(payloads)))
        return None

    def _forget_on_disk(self, segment: Segment, end: int, records: int) -> None:
        with self._lock:
            self.forgotten += records
            self._committed = end
            if end >= segment.size and segment is self._segment:
                segment.forget()
                self._committed = segment.start

    def _forget_in_memory(self, records: int) -> None:
        with self._lock:
            self.forgotten += records
            for _ in range(records):
                self._memory.popleft()

    def _recover(self, path: Path, fd: int, limit: int) -> Generator[Batch]:
        end = os.fstat(fd).st_size
        head = read_frames(fd, 0, end, 1)
        try:
            header = decode_header(head.payloads[0])
        except (IndexError, msgspec.MsgspecError):
            header = None
        if header is None or header.format_version != FORMAT_VERSION:
            if end:
                self._keep_aside(path)
            else:
                path.unlink()
            return
        offset = head.end
        while offset < end:
            result = read_frames(fd, offset, end, limit)
            self.state.damaged += result.damaged
            if result.payloads:
                yield Batch(header, result.payloads, _nothing)
            if result.torn:
                self.state.torn += 1
                break
            offset = result.end
        path.unlink()

    def _keep_aside(self, path: Path) -> None:
        aside = path.with_name(path.name + ".bad")
        path.rename(aside)
        self.state.kept_aside.append(str(aside))
        _log.warning("spool_unreadable: %s is of another format and was kept aside", aside)


def _nothing() -> None:
    """A dead writer's segment is forgotten as a whole, by deleting it."""
