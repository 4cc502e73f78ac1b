"""Reads a process's waiting records for the drainer, and frees disk space after COMMIT.

It reads, counts and copies without the lock that callers need. When a segment is committed and open
calls still need it, it is retained. When most of a retained segment is no longer needed, its STARTs
are copied and the segment is deleted. So each START is copied a few times at most, however many
calls are open and however long they last.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from tokenledger_exporter.spool.open_calls import OpenCalls, as_copied_start, span_of
from tokenledger_exporter.spool.stats import Batch

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from tokenledger_exporter.domain.span_record import SpoolHeader
    from tokenledger_exporter.spool.segment import Segment
    from tokenledger_exporter.spool.stats import SpoolStats

# Committed bytes that a segment may keep because it also holds open calls. After a kill, no more
# than this, or than the open calls themselves take, is read and sent again for nothing.
_IDLE_BYTES: Final = 64 * 1024
_COPY_BATCH_SIZE: Final = 512
_MAX_COPY_SEGMENT_BYTES: Final = 8 * 1024 * 1024


class SegmentOwner(Protocol):
    """What the reader needs of the spool that it reads."""

    committed_records: int

    @property
    def header(self) -> SpoolHeader:
        """The header of its segments."""
        ...

    @property
    def state(self) -> SpoolStats:
        """Counts what was lost."""
        ...

    def oldest_segment(self) -> tuple[Segment, int] | None:
        """The oldest segment and its current size in bytes."""
        ...

    def release(
        self, segment: Segment, end: int, *, is_needed: bool, start_new_segment: bool
    ) -> bool:
        """Release the oldest segment if it is committed to its end."""
        ...

    def new_segment(self) -> Segment:
        """Create another segment of this process; raises OSError."""
        ...

    def oldest_in_memory(self, limit: int) -> list[bytes]:
        """The oldest records that wait in memory, at most `limit`."""
        ...

    def drop_from_memory(self, records: int) -> None:
        """Drop that many of the oldest records in memory."""
        ...

    def note_disk_failure(self, error: OSError) -> None:
        """Log once that the disk refuses records."""
        ...


class SpoolReader:
    """Which records are committed, which calls are open, and the segments retained for those.

    Invariant, under `lock`: the oldest segment is committed up to `committed`. `retained` are
    committed segments that hold at least one open call; only copies of STARTs are appended to them.
    """

    def __init__(self, spool: SegmentOwner) -> None:
        self._spool: Final = spool
        self.lock: Final = threading.Lock()
        self.committed = 0
        self.retained: tuple[Segment, ...] = ()
        self.retained_bytes = 0
        self._open: Final[OpenCalls[Segment]] = OpenCalls()
        self._copy_segment: Segment | None = None

    def next_batch(self, limit: int) -> Batch | None:
        """The oldest waiting records, at most `limit`; None if none waits."""
        spool = self._spool
        with self.lock:
            while (oldest := spool.oldest_segment()) is not None and self.committed < oldest[1]:
                segment, size = oldest
                result = segment.read(self.committed, size, limit)
                self._open.note(result.starts, segment)
                spool.state.damaged += result.damaged
                spool.state.torn += result.torn
                # After a torn frame no frame can be located: the file was changed by others.
                end = size if result.torn else result.end
                payloads, records = result.payloads, len(result.payloads) + result.damaged
                if records or result.torn:
                    forget = partial(self._forget_on_disk, segment, end, records, payloads)
                    return Batch(spool.header, payloads, forget)
                self._advance(segment, end)
            payloads = spool.oldest_in_memory(limit)
            if payloads:
                return Batch(spool.header, payloads, partial(self._forget_in_memory, payloads))
        return None

    def open_batches(self, limit: int) -> Generator[Batch]:
        """The open calls, to be written when this process ends."""
        with self.lock:
            segments = [(segment, self._open.places(segment)) for segment in self._open.owners()]
        for segment, places in segments:
            for first in range(0, len(places), limit):
                with self.lock:
                    if not self._open.bytes_of(segment):
                        break
                    starts = segment.read_at(places[first : first + limit])
                yield Batch(self._spool.header, starts, partial(self._forget_open, starts))

    def close(self, segments: Iterable[Segment]) -> None:
        """Close this process's segments and delete those without needed records; call under `lock`.

        Args:
            segments: the spool's own, oldest first.
        """
        committed = self.committed
        for segment in segments:
            is_needed = committed < segment.size or self._open.bytes_of(segment)
            segment.close(delete=not is_needed)
            committed = 0
        for segment in self.retained:
            segment.close(delete=not self._open.bytes_of(segment))
        self.retained, self.retained_bytes, self.committed = (), 0, 0
        self._copy_segment = None
        self._open.clear()

    def _forget_on_disk(
        self, segment: Segment, end: int, records: int, payloads: list[bytes]
    ) -> None:
        with self.lock:
            self._spool.committed_records += records
            self._open.end(payloads)
            oldest = self._spool.oldest_segment()
            if oldest is not None and oldest[0] is segment:
                self._advance(segment, end)
            self._delete_unneeded_segments()

    def _forget_in_memory(self, payloads: list[bytes]) -> None:
        with self.lock:
            self._spool.committed_records += len(payloads)
            self._open.end(payloads)
            self._spool.drop_from_memory(len(payloads))

    def _forget_open(self, starts: list[bytes]) -> None:
        with self.lock:
            self._open.end(map(span_of, starts))

    def _advance(self, segment: Segment, end: int) -> None:
        """Note how far the oldest segment is committed, and release it when that is its end."""
        self.committed = end
        needed = self._open.bytes_of(segment)
        idle = end - segment.start - needed
        if self._spool.release(
            segment, end, is_needed=needed > 0, start_new_segment=idle > max(_IDLE_BYTES, needed)
        ):
            self._retain((*self.retained, segment))
            self._delete_unneeded_segments()

    def _delete_unneeded_segments(self) -> None:
        """Delete the retained segments that open calls mostly, or entirely, no longer need."""
        for segment in self.retained:
            needed = self._open.bytes_of(segment)
            idle = segment.size - segment.start - needed
            if needed and idle <= max(needed, _IDLE_BYTES if segment is self._copy_segment else 0):
                continue
            if segment is self._copy_segment:
                self._copy_segment = None
            if needed and not self._copy_starts(segment):
                continue
            self._retain(other for other in self.retained if other is not segment)
            segment.close(delete=True)

    def _copy_starts(self, segment: Segment) -> bool:
        """Copy the STARTs of a segment into the carrier segment; False if the disk refused.

        The segment then stays in place, and the next batch tries again.
        """
        places = self._open.places(segment)
        for first in range(0, len(places), _COPY_BATCH_SIZE):
            starts = segment.read_at(places[first : first + _COPY_BATCH_SIZE])
            copies = [as_copied_start(start) for start in starts]
            try:
                carrier = self._copy_segment
                if carrier is None or carrier.size > _MAX_COPY_SEGMENT_BYTES:
                    carrier = self._copy_segment = self._spool.new_segment()
                    self._retain((*self.retained, carrier))
                self._open.note(carrier.append_all(copies), carrier)
            except OSError as error:
                self._spool.note_disk_failure(error)
                return False
        return True

    def _retain(self, segments: Iterable[Segment]) -> None:
        self.retained = tuple(segments)
        self.retained_bytes = sum(segment.size for segment in self.retained)
