"""Counts the calls that finished processes left in a spool and that no process has written yet."""

from __future__ import annotations

import os
from contextlib import ExitStack
from itertools import groupby
from typing import TYPE_CHECKING, Final

import msgspec

from tokenledger_exporter.spool import permissions
from tokenledger_exporter.spool.codec import KNOWN_VERSIONS, decode_header
from tokenledger_exporter.spool.open_calls import OpenCalls
from tokenledger_exporter.spool.recovery import writer_of
from tokenledger_exporter.spool.segment import SUFFIX, read_frames, take_over

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tokenledger_exporter.spool.segment import ReadResult

_READ_RECORDS: Final = 1_000


def waiting_calls(folder: Path) -> int:
    """How many calls wait in a folder's segments, without those of running processes.

    A running process writes its own calls within seconds. Nothing is changed.
    """
    if permissions.folder_fault(folder):
        return 0
    paths = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: (writer_of(path), path.name))
    return sum(_calls_of(segments) for _, segments in groupby(paths, writer_of))


def _calls_of(segments: Iterable[Path]) -> int:
    """The calls of one process; 0 if it runs, or if another process is writing them now."""
    ended = 0
    open_calls: OpenCalls[int] = OpenCalls()
    with ExitStack() as descriptors:
        for path in segments:
            fd = descriptors.enter_context(take_over(path))
            if fd is None:
                return 0
            ended += _ended_calls(fd, open_calls)
        return ended + len(open_calls)


def _ended_calls(fd: int, open_calls: OpenCalls[int]) -> int:
    end = os.fstat(fd).st_size
    head = read_frames(fd, 0, end, 1)
    if not _is_readable(head):
        return 0
    ended, offset = 0, head.end
    while offset < end:
        result = read_frames(fd, offset, end, _READ_RECORDS)
        open_calls.adopt(result.starts, fd)
        open_calls.end(result.payloads)
        ended += len(result.payloads)
        if result.torn:
            break
        offset = result.end
    return ended


def _is_readable(head: ReadResult) -> bool:
    try:
        return decode_header(head.payloads[0]).format_version in KNOWN_VERSIONS
    except (IndexError, msgspec.MsgspecError):
        return False
