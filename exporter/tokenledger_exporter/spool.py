"""The crash-safe spool: a call is on disk before its caller goes on, and leaves after COMMIT.

One folder per ledger (`<spool>/<fingerprint>`), segments of one living process each. If the disk
refuses, records wait in a bounded memory queue: one warning, and what does not fit is counted.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tokenledger_exporter.events import fail, warn
from tokenledger_exporter.open_calls import OpenCalls, carried
from tokenledger_exporter.records import decode_record, encode_header
from tokenledger_exporter.recovery import recovered_batches
from tokenledger_exporter.segment import SUFFIX, Segment, abandon_taken_over
from tokenledger_exporter.spool_state import Batch, SpoolState

if TYPE_CHECKING:
    from collections.abc import Generator

    from tokenledger_exporter.records import SpoolHeader

MAX_BYTES: Final = 256 * 1024 * 1024
"""Bytes one ledger's folder may hold, dead processes' included; beyond, the newest is refused."""

MAX_SEGMENT_BYTES: Final = 8 * 1024 * 1024
"""Size at which a segment is left for a new one, so that a busy process still frees its disk."""

MAX_MEMORY_RECORDS: Final = 10_000
"""Records kept in memory while the disk takes none, unless told otherwise."""

_LONGEST_WAIT_SECONDS: Final = 0.05
# A committed segment that only open calls keep alive is left once it is this long: after a kill no
# more than that is read, and resent, in vain.
_ROLL_BYTES: Final = 64 * 1024


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
    hold `_older_bytes`. Up to a size of `_plain_until` the last one takes a record without another
    look; that is 0 where anything changed or failed. `_memory` holds what the disk refused.
    `appended - forgotten - refused` is what waits. `_open` holds the calls read from the segments
    that were sent and have no committed END.
    """

    def __init__(
        self, folder: Path, header: SpoolHeader, most_in_memory: int = MAX_MEMORY_RECORDS
    ) -> None:
        self.header: Final = header
        self._most_in_memory: Final = most_in_memory
        self._folder: Final = folder
        self._disk_failed = False
        self._elsewhere_bytes = 0
        self.state: Final = SpoolState()
        self._reset()

    def _reset(self) -> None:
        self._writer = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._opened_segments = 0
        self._lock = threading.Lock()
        self._segments: deque[Segment] = deque()
        self._written: Segment | None = None
        self._has_new_file = False
        self._older_bytes = 0
        self._plain_until = 0
        self._committed = 0
        self._memory: deque[bytes] = deque()
        self._late: deque[tuple[bytes, bool]] = deque()
        self._open: OpenCalls[Segment | None] = OpenCalls()
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
                self.appended += ended
            else:
                self._keep(payload, ended)
            if self._late:
                self._keep_late()
        except OSError as error:
            self.appended += ended
            self._note_disk_failure(error)
            if ended:
                self._append_to_memory(payload)
            return self.appended
        else:
            return self.appended
        finally:
            lock.release()

    def sync(self) -> None:
        """Bring what was appended to the disk itself; never raises."""
        copies: list[int] = []
        with self._lock, contextlib.suppress(OSError):
            for segment in self._segments:
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
        with self._lock:
            own = sum(segment.size for segment in self._segments)
            self._elsewhere_bytes = max(0, used - own)
            self._plain_until = 0
            if self._written is not None and self._written.is_deleted:
                message = f"the files below {self._folder} are gone"
                warn("spool_deleted", message, folder=self._folder)
                self._open_segment()

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
            batch = self._next_own(limit)
            if batch is None:
                return
            yield batch

    def open_calls(self) -> Batch:
        """The calls of this process that were sent and have not ended, for its last moment."""
        with self._lock:
            return Batch(self.header, [payload for payload, _ in self._open.all()], self._end_open)

    def recovered_batches(self, limit: int) -> Generator[Batch]:
        """What dead processes of the same ledger left, in batches; drained segments are deleted."""
        yield from recovered_batches(self._folder, self._writer, self.state, limit)

    def after_fork(self) -> None:
        """In a forked child: leave the parent's records to the parent and start afresh."""
        abandon_taken_over()
        for segment in self._segments:
            segment.abandon()
        self._reset()

    def close(self) -> None:
        """Let go of the segments; those with waiting records stay for the next process."""
        with self._lock:
            self._keep_late()
            while self._segments:
                segment = self._segments.popleft()
                settled = self._committed >= segment.size and not self._open.held_by(segment)
                segment.close(delete=settled)
                self._committed = 0
            self._written, self._older_bytes = None, 0
            self._plain_until = 0
            # What is appended from now on is another writer's: these segments may be taken over.
            self._writer = f"{os.getpid()}-{secrets.token_hex(8)}"
            self._open.clear()

    @property
    def waiting(self) -> int:
        """Records of this process that are not committed."""
        with self._lock:
            return self.appended - self.forgotten - self.state.refused

    @property
    def waiting_in_memory(self) -> int:
        """Those of them that a kill would take."""
        return len(self._memory)

    def oldest_waiting_ns(self) -> int:
        """When the oldest waiting call ended, nanoseconds since 1970; 0 if none waits."""
        with self._lock:
            payloads = list(self._memory)[:1]
            if self._segments and self._committed < self._segments[0].size:
                payloads = self._segments[0].read(self._committed, 1).payloads or payloads
        try:
            return decode_record(payloads[0]).end_ns if payloads else 0
        except msgspec.MsgspecError:
            return 0

    def _keep_later(self, payload: bytes, *, ended: bool) -> int:
        self._late.append((payload, ended))
        if not self._lock.acquire(timeout=_LONGEST_WAIT_SECONDS):
            return 0
        try:
            self._keep_late()
            return self.appended
        finally:
            self._lock.release()

    def _keep_late(self) -> None:
        """Keep every record handed in; called under the lock."""
        while self._late:
            payload, ended = self._late.popleft()
            self._keep(payload, ended)

    def _keep(self, payload: bytes, ended: bool) -> None:
        self.appended += ended
        try:
            segment = self._written
            if segment is None or segment.size > MAX_SEGMENT_BYTES:
                segment = self._open_segment()
            room = MAX_BYTES - self._elsewhere_bytes - self._older_bytes
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

    def _open_segment(self) -> Segment:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = f"{self._writer}-{self._opened_segments:06}{SUFFIX}"
        segment = Segment(self._folder / name, encode_header(self.header))
        self._opened_segments += 1
        if self._written is None:
            self._committed = segment.start
        else:
            self._older_bytes += self._written.size
        self._segments.append(segment)
        self._written = segment
        self._plain_until = 0
        self._has_new_file = True
        return segment

    def _next_own(self, limit: int) -> Batch | None:
        with self._lock:
            self._keep_late()
            while self._segments and self._committed < self._segments[0].size:
                segment = self._segments[0]
                result = segment.read(self._committed, limit)
                self._open.note(result.starts, segment)
                self.state.damaged += result.damaged
                self.state.torn += result.torn
                # Behind a torn frame nothing can be found again: the file was changed under us.
                end = segment.size if result.torn else result.end
                payloads, records = result.payloads, len(result.payloads) + result.damaged
                if records or result.torn:
                    forget = partial(self._forget_on_disk, segment, end, records, payloads)
                    return Batch(self.header, payloads, forget)
                self._advance(segment, end)
            if self._memory:
                payloads = [self._memory[i] for i in range(min(limit, len(self._memory)))]
                return Batch(self.header, payloads, partial(self._forget_in_memory, payloads))
        return None

    def _forget_on_disk(
        self, segment: Segment, end: int, records: int, payloads: list[bytes]
    ) -> None:
        with self._lock:
            self._forget(records, payloads)
            if self._segments and self._segments[0] is segment:
                self._advance(segment, end)

    def _forget_in_memory(self, payloads: list[bytes]) -> None:
        with self._lock:
            self._forget(len(payloads), payloads)
            for _ in payloads:
                self._memory.popleft()

    def _forget(self, records: int, payloads: list[bytes]) -> None:
        self.forgotten += records
        self._open.end(payloads)

    def _advance(self, segment: Segment, end: int) -> None:
        """Note how far the first segment is committed; free its disk where it is so to its end."""
        self._committed = end
        if end < segment.size:
            return
        starts = self._open.held_by(segment)
        if len(self._segments) == 1:
            if not starts:
                segment.forget()
                self._committed = segment.start
                return
            if segment.size <= _ROLL_BYTES or not self._try_open_segment():
                return
        self._carry(starts)
        self._segments.popleft().close(delete=True)
        self._older_bytes -= end
        self._committed = self._segments[0].start

    def _try_open_segment(self) -> bool:
        try:
            self._open_segment()
        except OSError as error:
            self._note_disk_failure(error)
            return False
        return True

    def _carry(self, starts: list[bytes]) -> None:
        """Copy open calls into the segment that is written, before theirs is deleted."""
        if not starts:
            return
        copies = [carried(start) for start in starts]
        target = self._segments[-1]
        try:
            target.append_all(copies)
        except OSError as error:
            # The disk is full, and deleting frees it: these calls are known to this process only.
            self._note_disk_failure(error)
            self._open.note(copies, None)
            return
        self._open.note(copies, target)

    def _end_open(self) -> None:
        with self._lock:
            self._open.clear()


sync_data: Final = getattr(os, "fdatasync", os.fsync)
"""Brings a file's content to its disk; what only dates it may come later."""
