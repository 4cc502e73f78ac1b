"""The crash-safe spool: a call is on disk before its caller goes on, and leaves after COMMIT.

One folder per ledger (`<spool>/<fingerprint>`), segments of one living process each. If the disk
refuses, records wait in a bounded memory queue: one warning, and what does not fit is counted.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from tokenledger_exporter.log import fail, warn
from tokenledger_exporter.spool import access
from tokenledger_exporter.spool.codec import decode_record, encode_header
from tokenledger_exporter.spool.reader import SpoolReader
from tokenledger_exporter.spool.recovery import recovered_batches
from tokenledger_exporter.spool.segment import SUFFIX, Segment, abandon_taken_over, read_frames
from tokenledger_exporter.spool.stats import SpoolStats

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tokenledger_exporter.domain.span_record import SpoolHeader
    from tokenledger_exporter.spool.stats import Batch

MAX_BYTES: Final = 256 * 1024 * 1024
"""Bytes one ledger's folder may hold, dead processes' included; beyond, the newest is refused."""

MAX_SEGMENT_BYTES: Final = 8 * 1024 * 1024
"""Size at which a segment is left for a new one, so that a busy process still frees its disk."""

MAX_MEMORY_RECORDS: Final = 10_000
"""Records kept in memory while the disk takes none, unless told otherwise."""

# How long a caller waits for the thread that holds the lock. Whoever holds it keeps the record
# anyway; the wait only makes it likely that the record is on disk when its caller goes on.
_LONGEST_WAIT_SECONDS: Final = 0.002
_HEALTH_WAIT_SECONDS: Final = 0.1
_CLOSE_WAIT_SECONDS: Final = 1.0
# Records of open calls that may stand before the oldest one that waits.
_LOOKED_THROUGH: Final = 1_000


class Spool:
    """This process's end of the spool: callers append here, the drainer reads with `reader`.

    Invariant, under `_lock`: `_segments`, oldest first, hold every record on disk that is not
    committed; the last one, `_written`, is written, and all before it hold `_older_bytes`. Up to a
    size of `_plain_until` the last one takes a record without another look; that is 0 where
    anything changed or failed. `_memory` holds what the disk refused. `appended - forgotten -
    refused` is what waits. Work under the lock is a few system calls, whatever waits or is open.
    Whoever releases the lock keeps the records of `_late` then: those that found it taken.
    """

    def __init__(
        self, folder: Path, header: SpoolHeader, most_in_memory: int = MAX_MEMORY_RECORDS
    ) -> None:
        self.header: Final = header
        self.state: Final = SpoolStats()
        self._most_in_memory: Final = most_in_memory
        self._folder: Final = folder
        self._disk_failed = False
        self._elsewhere_bytes = 0
        self._reset()

    def _reset(self) -> None:
        self._writer = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._segments: deque[Segment] = deque()
        self._written: Segment | None = None
        self._has_new_file = False
        self._older_bytes = 0
        self._plain_until = 0
        self._memory: deque[bytes] = deque()
        self._late: deque[tuple[bytes, bool]] = deque()
        self.reader = SpoolReader(self)
        self.appended = self.forgotten = 0

    def append(self, payload: bytes, *, ended: bool = True) -> int:
        """Keep one record; returns its number, counted from 1, or 0 if it is kept a moment later.

        Never raises. A dropped stream ends its call inside garbage collection, which can run while
        this very thread holds the lock: such a record must not wait for it.

        Args:
            payload: the record.
            ended: whether its call has ended; one that was only sent is no call that waits, and is
                kept only where a kill does not take it.
        """
        # First without a wait: asking for one costs more, and nearly always the lock is free.
        lock = self._lock
        if not lock.acquire(False):
            return self._keep_later(payload, ended=ended)
        try:
            segment = self._written
            if segment is not None and segment.size <= self._plain_until:
                segment.append(payload)
                if ended:
                    self.appended += 1
            else:
                self._keep(payload, ended)
        except OSError as error:
            self.appended += ended
            self._note_disk_failure(error)
            if ended:
                self._append_to_memory(payload)
        finally:
            lock.release()
        if self._late:
            self._keep_late()
        return self.appended

    def sync(self) -> None:
        """Bring what was appended to the disk itself; never raises."""
        copies: list[int] = []
        with self._locked(), contextlib.suppress(OSError):
            for segment in (*self._segments, *self.reader.kept):
                if segment.synced != segment.size:
                    segment.synced = segment.size
                    copies.append(segment.duplicate())
            if self._has_new_file:
                # Else a power loss could take the file's name, and with it all that is in it.
                self._has_new_file = False
                copies.append(os.open(self._folder, os.O_RDONLY))
        for fd in copies:
            # A disk that cannot sync says so again at the next write.
            with contextlib.suppress(OSError):
                sync_data(fd)
            with contextlib.suppress(OSError):
                os.close(fd)

    def measure(self) -> None:
        """Look at the folder: what others hold of its limit, and whether our file is still there.

        Where somebody deleted it, writing goes on in a new one; what waits there is still read.
        """
        used = self.bytes_on_disk()
        with self._locked():
            own = sum(segment.size for segment in (*self._segments, *self.reader.kept))
            self._elsewhere_bytes = max(0, used - own)
            self._plain_until = 0
            if self._written is not None and self._written.is_deleted:
                message = f"the files below {self._folder} are gone"
                warn("spool_deleted", message, folder=self._folder)
                self._try_start_segment()

    def bytes_on_disk(self) -> int:
        """What the segments of this ledger take, of every process."""
        used = 0
        for path in self._folder.glob(f"*{SUFFIX}*"):
            with contextlib.suppress(OSError):
                used += path.stat().st_size
        return used

    def own_batches(self, limit: int) -> Generator[Batch]:
        """This process's waiting records, in batches of at most `limit`."""
        while True:
            batch = self.reader.next_batch(limit)
            if batch is None:
                return
            yield batch

    def recovered_batches(self, limit: int) -> Generator[Batch]:
        """What dead processes of the same ledger left, in batches; drained segments are deleted."""
        yield from recovered_batches(self._folder, self._writer, self.state, limit)

    def after_fork(self) -> None:
        """In a forked child: leave the parent's records to the parent and start afresh."""
        abandon_taken_over()
        for segment in (*self._segments, *self.reader.kept):
            # Two lists are copied while the parent's threads change them: one may be closed.
            with contextlib.suppress(OSError):
                segment.abandon()
        self._reset()

    def close(self) -> None:
        """Let go of the segments; those with waiting records stay for the next process.

        Where another thread holds a lock for a second, nothing is closed: the process's end does.
        """
        if not self.reader.lock.acquire(timeout=_CLOSE_WAIT_SECONDS):
            return
        try:
            if not self._lock.acquire(timeout=_CLOSE_WAIT_SECONDS):
                return
            try:
                self._keep_waiting_late()
                segments, self._segments = self._segments, deque()
                self._written, self._older_bytes = None, 0
                self._plain_until = 0
                # What is appended from now on is another writer's: these may be taken over.
                self._writer = f"{os.getpid()}-{secrets.token_hex(8)}"
            finally:
                self._lock.release()
            self.reader.close(segments)
        finally:
            self.reader.lock.release()
        self._keep_late()

    @property
    def waiting(self) -> int:
        """Records of this process that are not committed; a moment old while calls are made."""
        return max(0, self.appended - self.forgotten - self.state.refused)

    @property
    def waiting_in_memory(self) -> int:
        """Those of them that a kill would take."""
        return len(self._memory)

    def oldest_waiting_ns(self) -> int:
        """When the oldest waiting call ended, nanoseconds since 1970; 0 if none is seen waiting."""
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
            try:
                payloads = read_frames(copy, at, end, _LOOKED_THROUGH).payloads or payloads
            except OSError:
                # The disk does not give it back now; the drainer says so.
                payloads = []
            finally:
                os.close(copy)
        try:
            return decode_record(payloads[0]).end_ns if payloads else 0
        except msgspec.MsgspecError:
            return 0

    # What `reader` asks, on the drainer's thread.

    def first(self) -> tuple[Segment, int] | None:
        """The oldest segment, and how many bytes of it are whole records now."""
        with self._locked():
            return (self._segments[0], self._segments[0].size) if self._segments else None

    def release(self, segment: Segment, end: int, *, is_needed: bool, starts_afresh: bool) -> bool:
        """Give up the oldest segment where it is committed to its end.

        Args:
            segment: the oldest one.
            end: how far it is committed.
            is_needed: an open call's START is in it.
            starts_afresh: leave it for a new one even while it is the one that is written.

        Returns:
            Whether it is the reader's now: nothing is written into it any more.
        """
        with self._locked():
            if not self._segments or self._segments[0] is not segment or end < segment.size:
                return False
            if segment is self._written:
                if not is_needed:
                    segment.forget()
                    self.reader.committed = segment.start
                    return False
                if not (starts_afresh and self._try_start_segment()):
                    return False
            self._segments.popleft()
            self.reader.committed = self._segments[0].start
            self._older_bytes -= segment.size
            self._plain_until = 0
            return True

    def new_segment(self) -> Segment:
        """A further segment of this process; raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        access.require_own(self._folder)
        name = f"{self._writer}-{next(self._numbers):06}{SUFFIX}"
        return Segment(self._folder / name, encode_header(self.header))

    def memory(self, limit: int) -> list[bytes]:
        """The oldest records that wait in memory."""
        with self._locked():
            return list(itertools.islice(self._memory, limit))

    def forget_memory(self, records: int) -> None:
        """Drop as many of them."""
        with self._locked():
            for _ in range(records):
                self._memory.popleft()

    def note_disk_failure(self, error: OSError) -> None:
        """Say once that the disk takes no record."""
        with self._locked():
            self._note_disk_failure(error)

    @contextlib.contextmanager
    def _locked(self) -> Generator[None]:
        with self._lock:
            yield
        if self._late:
            self._keep_late()

    def _keep_later(self, payload: bytes, *, ended: bool) -> int:
        self._late.append((payload, ended))
        if not self._lock.acquire(timeout=_LONGEST_WAIT_SECONDS):
            # Its holder looks at `_late` after it has released it.
            return 0
        self._lock.release()
        self._keep_late()
        return self.appended

    def _keep_late(self) -> None:
        """Keep the records that found the lock taken, unless its next holder will."""
        while self._late and self._lock.acquire(blocking=False):
            try:
                self._keep_waiting_late()
            finally:
                self._lock.release()

    def _keep_waiting_late(self) -> None:
        """Keep those that are there now; called under the lock."""
        for _ in range(len(self._late)):
            payload, ended = self._late.popleft()
            self._keep(payload, ended)

    def _keep(self, payload: bytes, ended: bool) -> None:
        self.appended += ended
        try:
            segment = self._written
            if segment is None or segment.size > MAX_SEGMENT_BYTES:
                segment = self._start_segment()
            room = MAX_BYTES - self._elsewhere_bytes - self._older_bytes - self.reader.kept_bytes
            if segment.size <= room:
                segment.append(payload)
                self.state.on_disk = True
                self._plain_until = min(room, MAX_SEGMENT_BYTES)
                return
        except OSError as error:
            self._note_disk_failure(error)
        # A call that was sent is worth keeping only where a kill does not take it.
        if ended:
            self._append_to_memory(payload)

    def _note_disk_failure(self, error: OSError) -> None:
        self.state.on_disk = False
        self._plain_until = 0
        if self._disk_failed:
            return
        self._disk_failed = True
        reason = error.strerror or type(error).__name__
        message = (
            f"{self._folder} takes no record ({reason}); up to {self._most_in_memory} calls wait "
            "in memory, point TOKENLEDGER_SPOOL_DIR at a writable folder"
        )
        warn("spool_unwritable", message, folder=self._folder, reason=reason)

    def _append_to_memory(self, payload: bytes) -> None:
        if len(self._memory) < self._most_in_memory:
            self._memory.append(payload)
            return
        if not self.state.refused:
            message = "further calls are counted as lost until the ledger is back"
            fail("spool_full", message, folder=self._folder)
        self.state.refused += 1

    def _start_segment(self) -> Segment:
        segment = self.new_segment()
        if self._written is not None:
            self._older_bytes += self._written.size
        if not self._segments:
            self.reader.committed = segment.start
        self._segments.append(segment)
        self._written = segment
        self._plain_until = 0
        self._has_new_file = True
        return segment

    def _try_start_segment(self) -> bool:
        try:
            self._start_segment()
        except OSError as error:
            self._note_disk_failure(error)
            return False
        return True


sync_data: Final = getattr(os, "fdatasync", os.fsync)
"""Brings a file's content to its disk; what only dates it may come later."""
