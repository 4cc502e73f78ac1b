"""One file of the spool: frames of length, CRC-32 and payload, appended by one living process.

The writer holds a `flock` for as long as it lives, so a free lock means a dead writer, whatever
its pid says. Windows has none, and neither renames nor deletes a file that somebody has open: there
a file that can be renamed is a dead writer's, and one is deleted once it is closed. Reading never
trusts a length: a torn tail ends the segment, a flipped bit skips one frame, and both are counted.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.spool import access
from tokenledger_exporter.spool.open_calls import Start, is_start

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SUFFIX: Final = ".seg"
"""Segments end with this; what cannot be read is renamed to `.seg.bad` and kept."""

_FRAME: Final = struct.Struct("<II")
_FRAME_BYTES: Final = _FRAME.size
_pack: Final = _FRAME.pack
_crc32: Final = zlib.crc32
_MAX_PAYLOAD: Final = 1 << 20
_READ_BYTES: Final = 1 << 18
# As it is, on Windows too, and not for the programs that a process starts.
_AS_IT_IS: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_taken_over: Final[set[int]] = set()


class SegmentFullError(OSError):
    """The disk took only part of a frame; the segment was cut back to its last whole one."""


@dataclass(slots=True)
class ReadResult:
    """Frames read from one segment.

    Args:
        payloads: whole, checked payloads in order, without those of calls that were only sent.
        end: offset after the last frame read.
        damaged: frames skipped because their checksum does not match.
        torn: whether bytes are left that make no whole frame.
        starts: the records of calls that were sent, with their places.
    """

    payloads: list[bytes]
    end: int
    damaged: int = 0
    torn: bool = False
    starts: list[Start] = field(default_factory=list[Start])


class Segment:
    """A segment this process writes."""

    def __init__(self, path: Path, header: bytes) -> None:
        self.path: Final = path
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | _AS_IT_IS
        self._fd = os.open(path, flags, 0o600)
        _lock(self._fd)
        # Where reading moves the place that is written to, it has a descriptor of its own.
        has_pread = hasattr(os, "pread")
        self._read_fd = self._fd if has_pread else os.open(path, os.O_RDONLY | _AS_IT_IS)
        self.size = self.synced = 0
        self.append(header)
        self.start: Final = self.size

    def append(self, payload: bytes) -> None:
        """Write one frame with one system call, and no wait for the disk.

        Raises:
            OSError: nothing was written; the segment still ends with a whole frame.
        """
        length = len(payload)
        if length > _MAX_PAYLOAD:
            raise OSError(f"a record of {length} bytes is over the {_MAX_PAYLOAD} a frame takes")
        frame = _pack(length, _crc32(payload)) + payload
        length += _FRAME_BYTES
        if os.write(self._fd, frame) != length:
            self._cut_back(length)
        self.size += length

    def append_all(self, payloads: Iterable[bytes]) -> list[Start]:
        """Write several frames with one system call; raises as `append`.

        Returns:
            The same payloads, with their places.
        """
        frames: list[bytes] = []
        written: list[Start] = []
        end = self.size
        for payload in payloads:
            frames.append(_pack(len(payload), _crc32(payload)) + payload)
            written.append(Start(payload, end + _FRAME_BYTES))
            end += len(frames[-1])
        if os.write(self._fd, b"".join(frames)) != end - self.size:
            self._cut_back(end - self.size)
        self.size = end
        return written

    def duplicate(self) -> int:
        """Another descriptor of the file, for the caller to close."""
        return os.dup(self._fd)

    def _cut_back(self, wanted: int) -> None:
        os.ftruncate(self._fd, self.size)
        raise SegmentFullError(f"the disk took only a part of {wanted} bytes")

    def read(self, offset: int, end: int, limit: int) -> ReadResult:
        """Whole frames between two offsets, as `read_frames`, from the file itself."""
        return read_frames(self._read_fd, offset, end, limit)

    def read_at(self, places: Iterable[tuple[int, int]]) -> list[bytes]:
        """The payloads at these offsets and of these lengths."""
        return read_places(self._read_fd, places)

    def forget(self) -> None:
        """Drop every record, keep the header: all of them are committed."""
        os.ftruncate(self._fd, self.start)
        self.size = self.start

    def close(self, *, delete: bool) -> None:
        """Let go of the file; with `delete`, remove it: nothing in it is still wanted."""
        is_gone = not delete or was_deleted(self.path)
        self.abandon()
        if not is_gone:
            was_deleted(self.path)

    @property
    def is_deleted(self) -> bool:
        """Whether somebody removed the file: a kill would then lose what is in it."""
        return os.fstat(self._fd).st_nlink == 0

    def abandon(self) -> None:
        """Close the descriptors, as in a forked child, whose parent keeps file and lock."""
        os.close(self._fd)
        if self._read_fd != self._fd:
            os.close(self._read_fd)


def read_frames(fd: int, offset: int, end: int, limit: int) -> ReadResult:
    """Whole frames between two offsets of an open file.

    Stops at `limit` calls that ended, or as many that were sent.
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


def read_places(fd: int, places: Iterable[tuple[int, int]]) -> list[bytes]:
    """The payloads at these offsets and of these lengths of an open file."""
    return [_bytes_at(fd, offset, length) for offset, length in places]


def _window(fd: int, offset: int, end: int, length: int) -> bytes:
    """Some of the file, at least one frame with a payload of that length."""
    return _bytes_at(fd, offset, min(end - offset, max(_READ_BYTES, _FRAME.size + length)))


def _bytes_at(fd: int, offset: int, size: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(fd, size, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, size)


def was_deleted(path: Path) -> bool:
    """Delete a segment; whether it is gone now: Windows keeps what somebody has open."""
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        return False
    return True


@contextlib.contextmanager
def take_over(path: Path) -> Generator[int | None]:
    """Open a dead writer's segment; yields its descriptor, or None if somebody holds or took it."""
    try:
        if fcntl is None:
            path.rename(path)
        fd = access.open_own(path, os.O_RDWR | _AS_IT_IS)
    except OSError:
        # Gone meanwhile, or another user's: theirs to recover. Or somebody has it open (Windows).
        yield None
        return
    _taken_over.add(fd)
    try:
        yield fd if _lock(fd) and _is_still(path, fd) else None
    finally:
        _taken_over.discard(fd)
        os.close(fd)


def abandon_taken_over() -> None:
    """In a forked child: close what the parent was recovering, or its lock would outlive it."""
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


def _is_still(path: Path, fd: int) -> bool:
    """Whether the locked file is still the one of that name: it may have been drained meanwhile."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
