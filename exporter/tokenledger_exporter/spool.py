"""The crash-safe spool: a call is on disk before its caller goes on, and leaves after COMMIT.

One folder per ledger (`<spool>/<fingerprint>`), segments of one living process each. If the disk
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
from tokenledger_exporter.segment import (
    SUFFIX,
    Segment,
    abandon_taken_over,
    read_frames,
    take_over,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tokenledger_exporter.records import SpoolHeader

_log: Final = logging.getLogger("tokenledger")

MAX_BYTES: Final = 256 * 1024 * 1024
"""Bytes one process may leave waiting; beyond, the newest record is refused and counted."""

MAX_SEGMENT_BYTES: Final = 8 * 1024 * 1024
"""Size at which a segment is left for a new one, so that a busy process still frees its disk."""

MAX_MEMORY_RECORDS: Final = 10_000
"""Records kept in memory while the disk takes none."""

_LONGEST_WAIT_SECONDS: Final = 0.05


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
    """What waits and what was lost, for `health` and `doctor`; `unrecorded` never became bytes."""

    waiting: int = 0
    on_disk: bool = True
    refused: int = 0
    damaged: int = 0
    torn: int = 0
    unrecorded: int = 0
    kept_aside: list[str] = field(default_factory=list[str])

    @property
    def lost(self) -> int:
        """Records known to be gone, whatever the reason."""
        return self.refused + self.damaged + self.torn + self.unrecorded


def spool_folder(spool_dir: str, ledger: str) -> Path:
    """The folder of one ledger's segments: the user's state folder unless told otherwise."""
    if spool_dir:
        return Path(spool_dir) / ledger
    state = os.environ.get("XDG_STATE_HOME")
    try:
        root = Path(state) if state else Path.home() / ".local" / "state"
    except RuntimeError:
        # A user without a home: no folder can be made here, so memory takes over and the warning
        # names the variable to set.
        root = Path("/nonexistent")
    return root / "tokenledger" / "spool" / ledger


class Spool:
    """This process's end of the spool.

    Invariant, under `_lock`: `_segments`, oldest first, hold every record that is not committed,
    the first of them from `_committed` on; the last one, `_written`, is written, and all before it
    hold `_older_bytes`. `_memory` holds what the disk refused. `appended - forgotten - refused` is
    what waits.
    """

    def __init__(self, folder: Path, header: SpoolHeader) -> None:
        self.header: Final = header
        self._folder: Final = folder
        self._lock = threading.Lock()
        self._segments: deque[Segment] = deque()
        self._written: Segment | None = None
        self._older_bytes = 0
        self._committed = 0
        self._memory: deque[bytes] = deque()
        self._late: deque[bytes] = deque()
        self._disk_failed = False
        self.appended = 0
        self.forgotten = 0
        self.state: Final = SpoolState()

    def append(self, payload: bytes) -> int:
        """Keep one record; returns its number, counted from 1, or 0 if it is kept a moment later.

        Never raises. A dropped stream ends its call inside garbage collection, which can run while
        this very thread holds the lock: such a record must not wait for it.
        """
        # First without a wait: asking for one costs more, and nearly always the lock is free.
        if not self._lock.acquire(blocking=False):
            self._late.append(payload)
            if not self._lock.acquire(timeout=_LONGEST_WAIT_SECONDS):
                return 0
            payload = b""
        try:
            if payload:
                self._keep(payload)
            if self._late:
                self._keep_late()
            return self.appended
        finally:
            self._lock.release()

    def leave_deleted(self) -> None:
        """Write on in a new file where somebody deleted ours; what waits there is still read."""
        with self._lock:
            if self._written is not None and self._written.is_deleted:
                _log.warning("spool_deleted: the files below %s are gone", self._folder)
                self._open_segment()

    def own_batches(self, limit: int) -> Generator[Batch]:
        """This process's waiting records, in batches of at most `limit`."""
        while True:
            batch = self._next_own(limit)
            if batch is None:
                return
            yield batch

    def recovered_batches(self, limit: int) -> Generator[Batch]:
        """What dead processes of the same ledger left, in batches; drained segments are deleted."""
        with self._lock:
            own = {segment.path for segment in self._segments}
        for path in sorted(set(self._folder.glob(f"*{SUFFIX}")) - own):
            with take_over(path) as fd:
                if fd is not None:
                    yield from self._recover(path, fd, limit)

    def after_fork(self) -> None:
        """In a forked child: leave the parent's records to the parent and start afresh."""
        abandon_taken_over()
        for segment in self._segments:
            segment.abandon()
        self._segments.clear()
        self._written, self._older_bytes = None, 0
        self._lock = threading.Lock()
        self._memory.clear()
        self._late.clear()
        self._committed = self.appended = self.forgotten = 0

    def close(self) -> None:
        """Let go of the segments; those with waiting records stay for the next process."""
        with self._lock:
            self._keep_late()
            self._written, self._older_bytes = None, 0
            while self._segments:
                segment = self._segments.popleft()
                segment.close(delete=self._committed >= segment.size)
                self._committed = 0

    @property
    def waiting(self) -> int:
        """Records of this process that are not committed."""
        with self._lock:
            return self.appended - self.forgotten - self.state.refused

    def _keep_late(self) -> None:
        """Keep every record handed in; called under the lock."""
        while self._late:
            self._keep(self._late.popleft())

    def _keep(self, payload: bytes) -> None:
        self.appended += 1
        try:
            segment = self._written
            if segment is None or segment.size > MAX_SEGMENT_BYTES:
                segment = self._open_segment()
            if segment.size + self._older_bytes <= MAX_BYTES:
                segment.append(payload)
                self.state.on_disk = True
                return
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
        self._append_to_memory(payload)

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
        segment = Segment(self._folder / name, encode_header(self.header))
        if self._written is None:
            self._committed = segment.start
        else:
            self._older_bytes += self._written.size
        self._segments.append(segment)
        self._written = segment
        return segment

    def _next_own(self, limit: int) -> Batch | None:
        with self._lock:
            self._keep_late()
            if self._segments and self._committed < self._segments[0].size:
                segment = self._segments[0]
                result = segment.read(self._committed, limit)
                self.state.damaged += result.damaged
                self.state.torn += result.torn
                # Behind a torn frame nothing can be found again: the file was changed under us.
                end = segment.size if result.torn else result.end
                records = len(result.payloads) + result.damaged
                return Batch(
                    self.header,
                    result.payloads,
                    lambda: self._forget_on_disk(segment, end, records),
                )
            if self._memory:
                payloads = [self._memory[i] for i in range(min(limit, len(self._memory)))]
                return Batch(self.header, payloads, lambda: self._forget_in_memory(len(payloads)))
        return None

    def _forget_on_disk(self, segment: Segment, end: int, records: int) -> None:
        with self._lock:
            self.forgotten += records
            if not self._segments or self._segments[0] is not segment:
                return
            self._committed = end
            if end < segment.size:
                return
            if len(self._segments) == 1:
                segment.forget()
                self._committed = segment.start
            else:
                self._segments.popleft().close(delete=True)
                self._older_bytes -= end
                self._committed = self._segments[0].start

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
