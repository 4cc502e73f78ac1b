"""The crash-safe spool: a call is on disk before its caller continues, and is freed after COMMIT.

Each ledger has one folder (`<spool>/<fingerprint>`), and each process writes its own segments in
it. If the disk refuses records, they wait in a bounded queue in memory: one warning is logged, and
records that do not fit are counted as lost.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.log import fail, warn
from tokenledger_exporter.spool import permissions
from tokenledger_exporter.spool.codec import encode_header, ended_ns
from tokenledger_exporter.spool.fsync import sync_data
from tokenledger_exporter.spool.lock_wait import LockWait
from tokenledger_exporter.spool.reader import SpoolReader
from tokenledger_exporter.spool.recovery import recovered_batches
from tokenledger_exporter.spool.segment import (
    SUFFIX,
    Segment,
    abandon_taken_over,
    bytes_in,
    first_payloads,
)
from tokenledger_exporter.spool.stats import SpoolStats

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from tokenledger_exporter.domain.span_record import SpoolHeader
    from tokenledger_exporter.spool.stats import Batch

MAX_BYTES: Final = 256 * 1024 * 1024
"""Bytes one ledger's folder may hold, of all processes; records above the limit are refused."""

MAX_SEGMENT_BYTES: Final = 8 * 1024 * 1024
"""Size at which a new segment is started, so that a busy process frees its disk as it commits."""

MAX_MEMORY_RECORDS: Final = 10_000
"""Default number of records that wait in memory while the disk refuses them."""

_HEALTH_WAIT_SECONDS: Final = 0.1
_CLOSE_WAIT_SECONDS: Final = 1.0


class Spool:
    """What this process writes to the spool: callers append, the drainer reads with `reader`.

    Segments are named after `writer`, the id of this process. Invariants, under `_lock`:

    - `_segments`, oldest first, hold every record on disk that is not committed. Records are
      appended to the last one, `_current_segment`; the others hold `_older_bytes` together.
    - Up to a size of `_unchecked_limit`, a record is appended to `_current_segment` without
      further checks. It is 0 after anything changed or failed.
    - `_memory` holds the records that the disk refused.
    - The work under the lock is a few system calls, however many records wait or calls are open.

    A record whose caller found the lock taken goes to `_deferred_records`, which the next owner of
    the lock writes.
    """

    def __init__(
        self, folder: Path, header: SpoolHeader, max_in_memory: int = MAX_MEMORY_RECORDS
    ) -> None:
        self.header: Final = header
        self.state: Final = SpoolStats()
        self._max_in_memory: Final = max_in_memory
        self._folder: Final = folder
        self._disk_failed = False
        self._others_bytes = 0
        self._reset()

    def _reset(self) -> None:
        self.writer = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._lock_wait = LockWait(self._lock, __file__)
        self._segments: deque[Segment] = deque()
        self._current_segment: Segment | None = None
        self._has_new_file = False
        self._older_bytes = self._unchecked_limit = 0
        self._memory: deque[bytes] = deque()
        self._deferred_records: deque[tuple[bytes, bool]] = deque()
        self.reader = SpoolReader(self)
        self.appended = self.committed_records = 0

    def append(self, payload: bytes, *, ended: bool = True) -> int:
        """Append one record. Never raises.

        A dropped stream ends its call inside garbage collection, which can run while this
        thread holds the lock. So such a record must not wait for the lock.

        Args:
            payload: the record.
            ended: whether its call has ended. A START does not count as a waiting record, and is
                written to disk or not at all.

        Returns:
            The record's number, counted from 1; 0 if another thread writes it shortly.
        """
        # Without a timeout, which costs more: the lock is nearly always free.
        lock = self._lock
        if not lock.acquire(False):
            return self._defer_append(payload, ended=ended)
        try:
            segment = self._current_segment
            if segment is not None and segment.size <= self._unchecked_limit:
                segment.append(payload)
                if ended:
                    self.appended += 1
            else:
                self._append(payload, ended)
        except OSError as error:
            self.appended += ended
            self._note_disk_failure(error)
            if ended:
                self._append_to_memory(payload)
        finally:
            lock.release()
        if self._deferred_records:
            self._try_drain_deferred()
        return self.appended

    def sync(self) -> None:
        """Flush appended records from the kernel to the disk. Never raises."""
        copies: list[int] = []
        with self._locked(), contextlib.suppress(OSError):
            for segment in (*self._segments, *self.reader.retained):
                if segment.synced != segment.size:
                    segment.synced = segment.size
                    copies.append(segment.duplicate())
            if self._has_new_file:
                # Without this, a power loss could lose the file's name and all its content.
                self._has_new_file = False
                copies.append(os.open(self._folder, os.O_RDONLY))
        for fd in copies:
            # A disk that cannot sync fails again at the next write, which is reported.
            with contextlib.suppress(OSError):
                sync_data(fd)
            with contextlib.suppress(OSError):
                os.close(fd)

    def refresh_usage(self) -> None:
        """Check how much of the folder's limit others use, and whether our file still exists.

        If it was deleted, a new segment is started; the records in the deleted one are still read.
        """
        used = self.bytes_on_disk()
        with self._locked():
            own = sum(segment.size for segment in (*self._segments, *self.reader.retained))
            self._others_bytes = max(0, used - own)
            self._unchecked_limit = 0
            if self._current_segment is not None and self._current_segment.is_deleted:
                message = f"the spool files in {self._folder} were deleted"
                warn("spool_deleted", message, folder=self._folder)
                self._try_start_segment()

    def bytes_on_disk(self) -> int:
        """Total size of this ledger's segments, of all processes."""
        return bytes_in(self._folder)

    def own_batches(self, limit: int) -> Generator[Batch]:
        """This process's waiting records, in batches of at most `limit`."""
        while True:
            batch = self.reader.next_batch(limit)
            if batch is None:
                return
            yield batch

    def recovered_batches(
        self, limit: int, recovered: Callable[[str], object] | None = None
    ) -> Generator[Batch]:
        """The records of dead processes; `recovered` is called for each that is committed."""
        yield from recovered_batches(self._folder, self.writer, self.state, limit, recovered)

    def after_fork(self) -> None:
        """In a forked child: leave the parent's records to the parent and start empty."""
        abandon_taken_over()
        for segment in (*self._segments, *self.reader.retained):
            # The parent's threads may have changed the lists during the fork: one may be closed.
            with contextlib.suppress(OSError):
                segment.abandon()
        self._reset()

    def close(self) -> None:
        """Close the segments; those with waiting records stay on disk for the next process.

        If another thread holds a lock for a second, nothing is closed; the exit of the process
        closes the files.
        """
        if not self.reader.lock.acquire(timeout=_CLOSE_WAIT_SECONDS):
            return
        try:
            if not self._lock.acquire(timeout=_CLOSE_WAIT_SECONDS):
                return
            try:
                self._drain_deferred()
                segments, self._segments = self._segments, deque()
                self._current_segment, self._older_bytes = None, 0
                self._unchecked_limit = 0
                # Later records belong to another writer id, so that these can be taken over.
                self.writer = f"{os.getpid()}-{secrets.token_hex(8)}"
            finally:
                self._lock.release()
            self.reader.close(segments)
        finally:
            self.reader.lock.release()
        self._try_drain_deferred()

    @property
    def waiting(self) -> int:
        """Records of this process that are not committed; it may lag while calls are made."""
        return max(0, self.appended - self.committed_records - self.state.refused)

    @property
    def waiting_in_memory(self) -> int:
        """Waiting records in memory, which a kill would lose."""
        return len(self._memory) + len(self._deferred_records)

    def oldest_waiting_ns(self) -> int:
        """When the oldest waiting call ended, nanoseconds since 1970; 0 if none waits."""
        payloads: list[bytes] = []
        if not self._lock.acquire(timeout=_HEALTH_WAIT_SECONDS):
            return 0
        at = end = 0
        try:
            if self._memory:
                payloads = [self._memory[0]]
            segment = self._segments[0] if self._segments else None
            at, end = self.reader.committed, segment.size if segment else 0
            copy = segment.duplicate() if segment is not None and at < end else None
        except OSError:
            copy = None
        finally:
            self._lock.release()
        if copy is not None:
            on_disk = first_payloads(copy, at, end)
            payloads = [] if on_disk is None else on_disk or payloads
        return ended_ns(payloads[0]) if payloads else 0

    # Called by `reader`, on the drainer's thread.

    def oldest_segment(self) -> tuple[Segment, int] | None:
        """The oldest segment and its current size in bytes."""
        with self._locked():
            return (self._segments[0], self._segments[0].size) if self._segments else None

    def release(
        self, segment: Segment, end: int, *, is_needed: bool, start_new_segment: bool
    ) -> bool:
        """Release the oldest segment if it is committed to its end.

        Args:
            segment: the oldest one.
            end: how far it is committed.
            is_needed: whether it holds the START of an open call.
            start_new_segment: start a new segment even if this one is being written.

        Returns:
            Whether the reader owns it now; nothing is appended to it any more.
        """
        with self._locked():
            if not self._segments or self._segments[0] is not segment or end < segment.size:
                return False
            if segment is self._current_segment:
                if not is_needed:
                    segment.forget()
                    self.reader.committed = segment.start
                    return False
                if not (start_new_segment and self._try_start_segment()):
                    return False
            self._segments.popleft()
            self.reader.committed = self._segments[0].start
            self._older_bytes -= segment.size
            self._unchecked_limit = 0
            return True

    def new_segment(self) -> Segment:
        """Create another segment of this process; raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        permissions.require_own(self._folder)
        name = f"{self.writer}-{next(self._numbers):06}{SUFFIX}"
        return Segment(self._folder / name, encode_header(self.header))

    def oldest_in_memory(self, limit: int) -> list[bytes]:
        """The oldest records that wait in memory, at most `limit`."""
        with self._locked():
            return list(itertools.islice(self._memory, limit))

    def drop_from_memory(self, records: int) -> None:
        """Drop that many of the oldest records in memory."""
        with self._locked():
            for _ in range(records):
                self._memory.popleft()

    def note_disk_failure(self, error: OSError) -> None:
        """Log once that the disk refuses records."""
        with self._locked():
            self._note_disk_failure(error)

    @contextlib.contextmanager
    def _locked(self) -> Generator[None]:
        with self._lock:
            yield
        if self._deferred_records:
            self._try_drain_deferred()

    def _defer_append(self, payload: bytes, *, ended: bool) -> int:
        self._deferred_records.append((payload, ended))
        # Otherwise the thread that holds the lock writes the record when it has released it.
        if not self._lock_wait.acquire(depth=2):
            return 0
        try:
            self._drain_deferred()
        finally:
            self._lock.release()
        self._try_drain_deferred()
        return self.appended

    def _try_drain_deferred(self) -> None:
        """Write the records whose callers found the lock taken, unless its next holder does."""
        while self._deferred_records and self._lock.acquire(blocking=False):
            try:
                self._drain_deferred()
            finally:
                self._lock.release()

    def _drain_deferred(self) -> None:
        """Write the late records that are there now; call under the lock."""
        for _ in range(len(self._deferred_records)):
            payload, ended = self._deferred_records.popleft()
            self._append(payload, ended)

    def _append(self, payload: bytes, ended: bool) -> None:
        self.appended += ended
        try:
            segment = self._current_segment
            if segment is None or segment.size > MAX_SEGMENT_BYTES:
                segment = self._start_segment()
            room = MAX_BYTES - self._others_bytes - self._older_bytes - self.reader.retained_bytes
            if segment.size <= room:
                segment.append(payload)
                self.state.on_disk = True
                self._unchecked_limit = min(room, MAX_SEGMENT_BYTES)
                return
        except OSError as error:
            self._note_disk_failure(error)
        # A START in memory is useless: it is needed only after a kill, which loses it.
        if ended:
            self._append_to_memory(payload)

    def _note_disk_failure(self, error: OSError) -> None:
        self.state.on_disk = False
        self._unchecked_limit = 0
        if self._disk_failed:
            return
        self._disk_failed = True
        reason = error.strerror or type(error).__name__
        message = (
            f"cannot write to {self._folder} ({reason}); up to {self._max_in_memory} calls are "
            "held in memory. Point TOKENLEDGER_SPOOL_DIR to a writable folder"
        )
        warn("spool_unwritable", message, folder=self._folder, reason=reason)

    def _append_to_memory(self, payload: bytes) -> None:
        if len(self._memory) < self._max_in_memory:
            self._memory.append(payload)
            return
        if not self.state.refused:
            message = "the spool is full: new calls are lost until the database is reachable again"
            fail("spool_full", message, folder=self._folder)
        self.state.refused += 1

    def _start_segment(self) -> Segment:
        segment = self.new_segment()
        if self._current_segment is not None:
            self._older_bytes += self._current_segment.size
        if not self._segments:
            self.reader.committed = segment.start
        self._segments.append(segment)
        self._current_segment = segment
        self._unchecked_limit = 0
        self._has_new_file = True
        return segment

    def _try_start_segment(self) -> bool:
        try:
            self._start_segment()
        except OSError as error:
            self._note_disk_failure(error)
            return False
        return True
