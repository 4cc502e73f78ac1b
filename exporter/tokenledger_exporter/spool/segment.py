"""One file of the spool: frames of length, CRC-32 and payload, appended by one running process.

The writing process holds a `flock` while it runs, so a free lock means that it has ended,
regardless of its pid. Windows has no `flock` and does not rename or delete open files. There, a
file that can be renamed belongs to an ended process, and a file is deleted after it is closed.
Readers never trust a length: a torn tail ends the segment, a flipped bit skips one frame, and both
are counted.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.spool import permissions
from tokenledger_exporter.spool.open_calls import Start, is_start

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SUFFIX: Final = ".seg"
"""File name suffix of segments; a segment that cannot be read is renamed to `.seg.bad`."""

_FRAME: Final = struct.Struct("<II")
_FRAME_BYTES: Final = _FRAME.size
_pack: Final = _FRAME.pack
_crc32: Final = zlib.crc32
_MAX_PAYLOAD: Final = 1 << 20
_READ_BYTES: Final = 1 << 18
# START records that may come before the oldest waiting record.
_SCAN_LIMIT: Final = 1_000
# No newline translation on Windows, and not inherited by programs that the process starts.
_OPEN_FLAGS: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_taken_over: Final[set[int]] = set()


class SegmentFullError(OSError):
    """The disk took only part of a frame; the segment was truncated to its last whole frame."""


@dataclass(slots=True)
class ReadResult:
    """Frames read from one segment.

    Args:
        payloads: whole payloads with a correct checksum, in order, without STARTs.
        end: offset after the last frame read.
        damaged: frames skipped because of a wrong checksum.
        torn: whether the bytes after `end` are not a whole frame.
        starts: the START records, with their offsets.
    """

    payloads: list[bytes]
    end: int
    damaged: int = 0
    torn: bool = False
    starts: list[Start] = field(default_factory=list[Start])


class Segment:
    """A segment that this process writes."""

    def __init__(self, path: Path, header: bytes) -> None:
        self.path: Final = path
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | _OPEN_FLAGS
        self._fd = os.open(path, flags, 0o600)
        _lock(self._fd)
        # Without pread, reading moves the write position, so it needs a descriptor of its own.
        has_pread = hasattr(os, "pread")
        self._read_fd = self._fd if has_pread else os.open(path, os.O_RDONLY | _OPEN_FLAGS)
        self.size: int = 0
        self.synced: int = 0
        self.append(header)
        self.start: Final = self.size

    def append(self, payload: bytes) -> None:
        """Write one frame with one system call, without waiting for the disk.

        Raises:
            OSError: nothing was written; the segment still ends with a whole frame.
        """
        length = len(payload)
        if length > _MAX_PAYLOAD:
            raise OSError(f"a record of {length} bytes exceeds the limit of {_MAX_PAYLOAD} bytes")
        frame = _pack(length, _crc32(payload)) + payload
        length += _FRAME_BYTES
        if os.write(self._fd, frame) != length:
            self._truncate_and_raise(length)
        self.size += length

    def append_all(self, payloads: Iterable[bytes]) -> list[Start]:
        """Write several frames with one system call; raises as `append`.

        Returns:
            The same payloads, with their offsets.
        """
        frames: list[bytes] = []
        written: list[Start] = []
        end = self.size
        for payload in payloads:
            frames.append(_pack(len(payload), _crc32(payload)) + payload)
            written.append(Start(payload, end + _FRAME_BYTES))
            end += len(frames[-1])
        if os.write(self._fd, b"".join(frames)) != end - self.size:
            self._truncate_and_raise(end - self.size)
        self.size = end
        return written

    def duplicate(self) -> int:
        """Another descriptor of the file; the caller closes it."""
        return os.dup(self._fd)

    def _truncate_and_raise(self, wanted: int) -> None:
        os.ftruncate(self._fd, self.size)
        raise SegmentFullError(f"the disk accepted only part of {wanted} bytes")

    def read(self, offset: int, end: int, limit: int) -> ReadResult:
        """Whole frames between two offsets of this segment; see `read_frames`."""
        return read_frames(self._read_fd, offset, end, limit)

    def read_at(self, places: Iterable[tuple[int, int]]) -> list[bytes]:
        """The payloads at these offsets and lengths."""
        return read_payload_ranges(self._read_fd, places)

    def forget(self) -> None:
        """Drop every record but the header, after all of them are committed."""
        os.ftruncate(self._fd, self.start)
        self.size = self.start

    def close(self, *, delete: bool) -> None:
        """Close the file; with `delete`, remove it because no record in it is needed."""
        is_gone = not delete or try_delete(self.path)
        self.abandon()
        if not is_gone:
            try_delete(self.path)

    @property
    def is_deleted(self) -> bool:
        """Whether the file was removed by others: a kill would then lose its records."""
        return os.fstat(self._fd).st_nlink == 0

    def abandon(self) -> None:
        """Close the descriptors only, as in a forked child: the parent keeps the file and lock."""
        os.close(self._fd)
        if self._read_fd != self._fd:
            os.close(self._read_fd)


def read_frames(fd: int, offset: int, end: int, limit: int) -> ReadResult:
    """Whole frames between two offsets of an open file.

    Stops after `limit` records of ended calls, or as many STARTs.
    """
    result = ReadResult([], offset)
    window, at = b"", offset
    while len(result.payloads) < limit and len(result.starts) < limit and result.end < end:
        head_at = result.end - at
        if head_at + _FRAME.size > len(window):
            window, at, head_at = _window(fd, result.end, end, 0), result.end, 0
        if head_at + _FRAME.size > len(window):
            result.torn = True
            break
        length, checksum = _FRAME.unpack_from(window, head_at)
        after = result.end + _FRAME.size + length
        if length > _MAX_PAYLOAD or after > end:
            result.torn = True
            break
        if after - at > len(window):
            window, at, head_at = _window(fd, result.end, end, length), result.end, 0
        payload = window[head_at + _FRAME.size : after - at]
        if _crc32(payload) != checksum:
            result.damaged += 1
        elif is_start(payload):
            result.starts.append(Start(payload, after - length))
        else:
            result.payloads.append(payload)
        result.end = after
    return result


def first_payloads(fd: int, offset: int, end: int) -> list[bytes] | None:
    """The first payloads between two offsets; None if the disk cannot be read. Closes the file."""
    try:
        return read_frames(fd, offset, end, _SCAN_LIMIT).payloads
    except OSError:
        # The drainer reports that.
        return None
    finally:
        os.close(fd)


def read_payload_ranges(fd: int, places: Iterable[tuple[int, int]]) -> list[bytes]:
    """The payloads at these offsets and lengths of an open file."""
    return [_bytes_at(fd, offset, length) for offset, length in places]


def _window(fd: int, offset: int, end: int, length: int) -> bytes:
    """Part of the file that holds at least one frame with a payload of that length."""
    return _bytes_at(fd, offset, min(end - offset, max(_READ_BYTES, _FRAME.size + length)))


def _bytes_at(fd: int, offset: int, size: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(fd, size, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, size)


def try_delete(path: Path) -> bool:
    """Delete a segment; returns False if Windows refuses because the file is open."""
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        return False
    return True


def bytes_in(folder: Path) -> int:
    """Total size of the segments in a folder, of all processes."""
    used = 0
    for path in folder.glob(f"*{SUFFIX}*"):
        with contextlib.suppress(OSError):
            used += path.stat().st_size
    return used


@contextlib.contextmanager
def take_over(path: Path) -> Generator[int | None]:
    """Open a dead process's segment; yields its descriptor, or None if it is locked or gone."""
    try:
        if fcntl is None:
            path.rename(path)
        fd = permissions.open_own(path, os.O_RDWR | _OPEN_FLAGS)
    except OSError:
        # It is gone, belongs to another user, who recovers it, or is open elsewhere (Windows).
        yield None
        return
    _taken_over.add(fd)
    try:
        yield fd if _lock(fd) and _is_same_file(path, fd) else None
    finally:
        _taken_over.discard(fd)
        os.close(fd)


def abandon_taken_over() -> None:
    """In a forked child: close the segments the parent was recovering, to release their locks."""
    while _taken_over:
        os.close(_taken_over.pop())


def _lock(fd: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same_file(path: Path, fd: int) -> bool:
    """Whether the locked file still has that name: it may have been drained meanwhile."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
