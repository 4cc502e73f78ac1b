"""The drainer's end of this process's spool: reads what waits, and frees the disk after COMMIT.

Reading, counting and copying happen here without the lock that callers need. A segment that open
calls still need is set apart when it is committed; once most of it is no longer needed, what is
needed is copied and the segment is deleted. So each START is copied at most a few times, however
many calls are open and for however long.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.spool.open_calls import OpenCalls, carried, span_of
from tokenledger_exporter.spool.stats import Batch

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from tokenledger_exporter.spool.segment import Segment
    from tokenledger_exporter.spool.spool import Spool

# Committed bytes a written segment may hold for the sake of open calls: after a kill no more than
# that, or than the open calls themselves take, is read and resent in vain.
_IDLE_BYTES: Final = 64 * 1024
_COPIED_AT_ONCE: Final = 512
_CARRIER_BYTES: Final = 8 * 1024 * 1024


class SpoolReader:
    """Which records are committed, which calls are open, and the segments kept for those.

    Invariant, under `lock`: the oldest segment is committed up to `committed`; `kept` are
    committed segments in which nothing is written but copies of STARTs, each with an open call.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool: Final = spool
        self.lock: Final = threading.Lock()
        self.committed = 0
        self.kept: tuple[Segment, ...] = ()
        self.kept_bytes = 0
        self._open: Final[OpenCalls[Segment]] = OpenCalls()
        self._carrier: Segment | None = None

    def next_batch(self, limit: int) -> Batch | None:
        """The oldest waiting records, at most `limit`; None if none waits."""
        spool = self._spool
        with self.lock:
            while (found := spool.first()) is not None and self.committed < found[1]:
                segment, size = found
                result = segment.read(self.committed, size, limit)
                self._open.note(result.starts, segment)
                spool.state.damaged += result.damaged
                spool.state.torn += result.torn
                # Behind a torn frame nothing can be found again: the file was changed under us.
                end = size if result.torn else result.end
                payloads, records = result.payloads, len(result.payloads) + result.damaged
                if records or result.torn:
                    forget = partial(self._forget_on_disk, segment, end, records, payloads)
                    return Batch(spool.header, payloads, forget)
                self._advance(segment, end)
            payloads = spool.memory(limit)
            if payloads:
                return Batch(spool.header, payloads, partial(self._forget_in_memory, payloads))
        return None

    def open_batches(self, limit: int) -> Generator[Batch]:
        """The calls that were sent and have not ended, for the last moment of this process."""
        with self.lock:
            held = [(segment, self._open.places(segment)) for segment in self._open.owners()]
        for segment, places in held:
            for first in range(0, len(places), limit):
                with self.lock:
                    if not self._open.bytes_of(segment):
                        break
                    starts = segment.read_at(places[first : first + limit])
                yield Batch(self._spool.header, starts, partial(self._forget_open, starts))

    def close(self, segments: Iterable[Segment]) -> None:
        """Close this process's segments, and delete those nothing of which is wanted; under `lock`.

        Args:
            segments: the spool's own, oldest first.
        """
        committed = self.committed
        for segment in segments:
            is_wanted = committed < segment.size or self._open.bytes_of(segment)
            segment.close(delete=not is_wanted)
            committed = 0
        for segment in self.kept:
            segment.close(delete=not self._open.bytes_of(segment))
        self.kept, self.kept_bytes, self.committed = (), 0, 0
        self._carrier = None
        self._open.clear()

    def _forget_on_disk(
        self, segment: Segment, end: int, records: int, payloads: list[bytes]
    ) -> None:
        with self.lock:
            self._spool.forgotten += records
            self._open.end(payloads)
            found = self._spool.first()
            if found is not None and found[0] is segment:
                self._advance(segment, end)
            self._tidy()

    def _forget_in_memory(self, payloads: list[bytes]) -> None:
        with self.lock:
            self._spool.forgotten += len(payloads)
            self._open.end(payloads)
            self._spool.forget_memory(len(payloads))

    def _forget_open(self, starts: list[bytes]) -> None:
        with self.lock:
            self._open.end(map(span_of, starts))

    def _advance(self, segment: Segment, end: int) -> None:
        """Note how far the oldest segment is committed; give it up where that is to its end."""
        self.committed = end
        needed = self._open.bytes_of(segment)
        idle = end - segment.start - needed
        if self._spool.release(
            segment, end, is_needed=needed > 0, starts_afresh=idle > max(_IDLE_BYTES, needed)
        ):
            self._keep((*self.kept, segment))
            self._tidy()

    def _tidy(self) -> None:
        """Delete the segments kept for open calls that are mostly, or wholly, no longer needed."""
        for segment in self.kept:
            needed = self._open.bytes_of(segment)
            idle = segment.size - segment.start - needed
            if needed and idle <= max(needed, _IDLE_BYTES if segment is self._carrier else 0):
                continue
            if segment is self._carrier:
                self._carrier = None
            if needed and not self._has_carried(segment):
                continue
            self._keep(one for one in self.kept if one is not segment)
            segment.close(delete=True)

    def _has_carried(self, segment: Segment) -> bool:
        """Copy the STARTs a segment still holds into the one kept for copies; False if it cannot.

        Then the segment stays as it is, and the next batch tries again.
        """
        places = self._open.places(segment)
        for first in range(0, len(places), _COPIED_AT_ONCE):
            starts = segment.read_at(places[first : first + _COPIED_AT_ONCE])
            copies = [carried(start) for start in starts]
            try:
                carrier = self._carrier
                if carrier is None or carrier.size > _CARRIER_BYTES:
                    carrier = self._carrier = self._spool.new_segment()
                    self._keep((*self.kept, carrier))
                self._open.note(carrier.append_all(copies), carrier)
            except OSError as error:
                self._spool.note_disk_failure(error)
                return False
        return True

    def _keep(self, segments: Iterable[Segment]) -> None:
        self.kept = tuple(segments)
        self.kept_bytes = sum(segment.size for segment in self.kept)
