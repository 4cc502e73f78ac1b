"""Recovers the segments that dead processes left, process by process.

All segments of a process are taken over together: a call's START may be in one and its END in the
next. A segment is deleted when its records are committed and none of its calls is open.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Final

import msgspec

from tokenledger_exporter.log import warn
from tokenledger_exporter.spool import permissions
from tokenledger_exporter.spool.codec import KNOWN_VERSIONS, decode_header
from tokenledger_exporter.spool.open_calls import OpenCalls
from tokenledger_exporter.spool.segment import (
    SUFFIX,
    read_frames,
    read_payload_ranges,
    take_over,
    try_delete,
)
from tokenledger_exporter.spool.stats import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from tokenledger_exporter.domain.span_record import SpoolHeader
    from tokenledger_exporter.spool.stats import SpoolStats


def writer_of(path: Path) -> str:
    """The id of the process that wrote a segment: the file name without the segment's number."""
    pid, _, rest = path.name.removesuffix(SUFFIX).partition("-")
    return f"{pid}-{rest.partition('-')[0]}"


def recovered_batches(
    folder: Path,
    own_writer: str,
    state: SpoolStats,
    limit: int,
    recovered: Callable[[str], object] | None,
) -> Generator[Batch]:
    """The records of dead processes; a batch counts as committed when the next one is requested.

    Args:
        folder: the spool of one ledger.
        own_writer: the id of this process.
        state: counts damaged records.
        limit: the most records of a batch.
        recovered: called with the id of each process whose records are all committed.
    """
    if not permissions.is_own(folder):
        return
    paths = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: (writer_of(path), path.name))
    for writer, segments in groupby(paths, writer_of):
        if writer == own_writer:
            continue
        dead_writer = _DeadWriter(state, limit)
        with ExitStack() as descriptors:
            # Runs last, when the files are closed.
            descriptors.callback(dead_writer.finish)
            taken: list[tuple[Path, int]] = []
            for path in segments:
                fd = descriptors.enter_context(take_over(path))
                if fd is None:
                    # Its process lives, or another process is recovering it.
                    break
                taken.append((path, fd))
            else:
                yield from dead_writer.batches(taken)
                if recovered is not None:
                    recovered(writer)


@dataclass(frozen=True, slots=True, eq=False)
class _ReadSegment:
    """A segment that was read to its end; `fd` stays open until its process's segments are done."""

    path: Path
    header: SpoolHeader
    fd: int


class _DeadWriter:
    """The segments of one dead process."""

    def __init__(self, state: SpoolStats, limit: int) -> None:
        self._state: Final = state
        self._limit: Final = limit
        self._open: Final[OpenCalls[_ReadSegment]] = OpenCalls()
        self._read: list[_ReadSegment] = []
        self._deferred: list[Callable[[], object]] = []

    def finish(self) -> None:
        """Delete and rename files that Windows refused to change while they were open."""
        for action in self._deferred:
            action()

    def batches(self, taken: Sequence[tuple[Path, int]]) -> Generator[Batch]:
        """Ended calls in order, then calls that only have a START; drained files are deleted."""
        for path, fd in taken:
            yield from self._segment(path, fd)
            self._delete_committed()
        for segment in self._open.owners():
            places = self._open.places(segment)
            for first in range(0, len(places), self._limit):
                starts = read_payload_ranges(segment.fd, places[first : first + self._limit])
                yield Batch(segment.header, starts, _do_nothing)
        self._open.clear()
        self._delete_committed()

    def _segment(self, path: Path, fd: int) -> Generator[Batch]:
        end = os.fstat(fd).st_size
        head = read_frames(fd, 0, end, 1)
        header = _header(head.payloads)
        if header is None:
            if end:
                self._mark_unreadable(path, "of another format")
            else:
                self._delete(path)
            return
        if not permissions.is_of_ledger(path.parent, header.ledger):
            self._mark_unreadable(path, "of another ledger")
            return
        segment = _ReadSegment(path, header, fd)
        offset = head.end
        while offset < end:
            result = read_frames(fd, offset, end, self._limit)
            self._state.damaged += result.damaged
            overflow = self._open.adopt(result.starts, segment)
            if overflow:
                # If the END comes later, its row replaces the row that is written now.
                yield Batch(header, overflow, _do_nothing)
            if result.payloads:
                yield Batch(header, result.payloads, _do_nothing)
                self._open.end(result.payloads)
            if result.torn:
                self._state.torn += 1
                break
            offset = result.end
        self._read.append(segment)

    def _delete_committed(self) -> None:
        for segment in list(self._read):
            if not self._open.bytes_of(segment):
                self._delete(segment.path)
                self._read.remove(segment)

    def _delete(self, path: Path) -> None:
        if not try_delete(path):
            self._deferred.append(partial(try_delete, path))

    def _mark_unreadable(self, path: Path, why: str) -> None:
        renamed = path.with_name(path.name + ".bad")
        try:
            path.rename(renamed)
        except PermissionError:
            self._deferred.append(partial(path.rename, renamed))
        self._state.unreadable.append(str(renamed))
        warn(
            "spool_unreadable",
            f"a spool file is {why}; it was renamed to {renamed} and not read",
            file=renamed,
        )


def _header(payloads: Sequence[bytes]) -> SpoolHeader | None:
    try:
        header = decode_header(payloads[0])
    except (IndexError, msgspec.MsgspecError):
        return None
    return header if header.format_version in KNOWN_VERSIONS else None


def _do_nothing() -> None:
    """Do nothing: the records of a dead process are dropped by deleting its segment."""
