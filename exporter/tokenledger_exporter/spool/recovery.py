"""What dead processes left: their segments, writer by writer, under the locks they let go.

All segments of a writer are taken together, since the END of a call that was sent in one may be in
the next. A segment is deleted when its records are committed and none of its calls is open.
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
from tokenledger_exporter.spool import access
from tokenledger_exporter.spool.codec import KNOWN_VERSIONS, decode_header
from tokenledger_exporter.spool.open_calls import OpenCalls
from tokenledger_exporter.spool.segment import (
    SUFFIX,
    read_frames,
    read_places,
    take_over,
    was_deleted,
)
from tokenledger_exporter.spool.stats import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from tokenledger_exporter.domain.span_record import SpoolHeader
    from tokenledger_exporter.spool.stats import SpoolStats


def writer_of(path: Path) -> str:
    """Whose segment a file is: its name without the number of the segment."""
    pid, _, rest = path.name.removesuffix(SUFFIX).partition("-")
    return f"{pid}-{rest.partition('-')[0]}"


def recovered_batches(
    folder: Path, own_writer: str, state: SpoolStats, limit: int
) -> Generator[Batch]:
    """The records of dead writers; a batch counts as committed once the next one is asked for."""
    if not access.is_own(folder):
        return
    paths = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: (writer_of(path), path.name))
    for writer, segments in groupby(paths, writer_of):
        if writer == own_writer:
            continue
        writing = _Writer(state, limit)
        with ExitStack() as held:
            # Last of all, when nobody has them open any more.
            held.callback(writing.finish)
            taken: list[tuple[Path, int]] = []
            for path in segments:
                fd = held.enter_context(take_over(path))
                if fd is None:
                    # Its writer lives, or somebody else is at it.
                    break
                taken.append((path, fd))
            else:
                yield from writing.batches(taken)


@dataclass(frozen=True, slots=True, eq=False)
class _Left:
    """A segment that was read to its end; `fd` is open until all of its writer's are done."""

    path: Path
    header: SpoolHeader
    fd: int


class _Writer:
    """The segments of one dead writer."""

    def __init__(self, state: SpoolStats, limit: int) -> None:
        self._state: Final = state
        self._limit: Final = limit
        self._open: Final[OpenCalls[_Left]] = OpenCalls()
        self._read: list[_Left] = []
        self._at_last: list[Callable[[], object]] = []

    def finish(self) -> None:
        """Do what Windows does only to files that nobody has open."""
        for do in self._at_last:
            do()

    def batches(self, taken: Sequence[tuple[Path, int]]) -> Generator[Batch]:
        """ENDs in the order they were made, then what only has a START; drained files are gone."""
        for path, fd in taken:
            yield from self._segment(path, fd)
            self._delete_settled()
        for left in self._open.owners():
            places = self._open.places(left)
            for first in range(0, len(places), self._limit):
                starts = read_places(left.fd, places[first : first + self._limit])
                yield Batch(left.header, starts, _nothing)
        self._open.clear()
        self._delete_settled()

    def _segment(self, path: Path, fd: int) -> Generator[Batch]:
        end = os.fstat(fd).st_size
        head = read_frames(fd, 0, end, 1)
        header = _header(head.payloads)
        if header is None:
            if end:
                self._keep_aside(path, "of another format")
            else:
                self._delete(path)
            return
        if not access.is_of_ledger(path.parent, header.ledger):
            self._keep_aside(path, "of another ledger")
            return
        left = _Left(path, header, fd)
        offset = head.end
        while offset < end:
            result = read_frames(fd, offset, end, self._limit)
            self._state.damaged += result.damaged
            beyond = self._open.adopt(result.starts, left)
            if beyond:
                # Should the END come after all, it takes the place of the row written now.
                yield Batch(header, beyond, _nothing)
            if result.payloads:
                yield Batch(header, result.payloads, _nothing)
                self._open.end(result.payloads)
            if result.torn:
                self._state.torn += 1
                break
            offset = result.end
        self._read.append(left)

    def _delete_settled(self) -> None:
        for left in list(self._read):
            if not self._open.bytes_of(left):
                self._delete(left.path)
                self._read.remove(left)

    def _delete(self, path: Path) -> None:
        if not was_deleted(path):
            self._at_last.append(partial(was_deleted, path))

    def _keep_aside(self, path: Path, why: str) -> None:
        aside = path.with_name(path.name + ".bad")
        try:
            path.rename(aside)
        except PermissionError:
            self._at_last.append(partial(path.rename, aside))
        self._state.kept_aside.append(str(aside))
        warn("spool_unreadable", f"{aside} is {why} and was kept aside", file=aside)


def _header(payloads: Sequence[bytes]) -> SpoolHeader | None:
    try:
        header = decode_header(payloads[0])
    except (IndexError, msgspec.MsgspecError):
        return None
    return header if header.format_version in KNOWN_VERSIONS else None


def _nothing() -> None:
    """A dead writer's segment is forgotten as a whole, by deleting it."""
