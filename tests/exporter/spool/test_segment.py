"""A segment file, byte by byte: frames of length, CRC-32 and payload."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tokenledger_exporter.spool import segment
from tokenledger_exporter.spool.open_calls import COPIED_START_MARK, START_MARK, Start
from tokenledger_exporter.spool.segment import (
    ReadResult,
    Segment,
    SegmentFullError,
    abandon_taken_over,
    bytes_in,
    first_payloads,
    read_frames,
    read_payload_ranges,
    take_over,
    try_delete,
)

if TYPE_CHECKING:
    from collections.abc import Generator

HEADER = b"header"
MEBIBYTE = 1_048_576
WINDOW = 262_144
"""How much of a file is read at a time."""


def frame(payload: bytes) -> bytes:
    return struct.pack("<II", len(payload), zlib.crc32(payload)) + payload


@pytest.fixture
def made(tmp_path: Path) -> Generator[Segment]:
    made = Segment(tmp_path / "1.seg", HEADER)
    yield made
    made.abandon()


def read(folder: Path, content: bytes, limit: int = 100) -> ReadResult:
    """What a file of these bytes holds."""
    path = folder / "read.seg"
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        return read_frames(fd, 0, len(content), limit)
    finally:
        os.close(fd)


def descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


# Writing.


def test_a_frame_is_length_checksum_and_payload(made: Segment) -> None:
    made.append(b"one")
    made.append(b"")
    assert made.path.read_bytes() == frame(HEADER) + frame(b"one") + frame(b"")
    assert (made.start, made.size, made.synced) == (14, 33, 0)


def test_several_frames_are_written_with_their_offsets(made: Segment) -> None:
    starts = made.append_all([b"one", b"three"])
    assert made.path.read_bytes() == frame(HEADER) + frame(b"one") + frame(b"three")
    assert starts == [Start(b"one", 22), Start(b"three", 33)]
    assert made.size == 38
    assert made.append_all([b"x"]) == [Start(b"x", 46)]
    assert made.read_at([(22, 3), (33, 5), (46, 1)]) == [b"one", b"three", b"x"]


def test_many_frames_are_one_write(made: Segment) -> None:
    payloads = [b"x" * 500] * 3
    made.append_all(payloads)
    assert made.size == 14 + 3 * 508
    assert made.read(made.start, made.size, 9).payloads == payloads


def test_a_payload_has_at_most_a_mebibyte(made: Segment) -> None:
    made.append(b"x" * MEBIBYTE)
    assert made.size == 14 + 8 + MEBIBYTE
    message = "a record of 1048577 bytes exceeds the limit of 1048576 bytes"
    with pytest.raises(OSError, match=message):
        made.append(b"x" * (MEBIBYTE + 1))
    assert made.path.stat().st_size == made.size
    assert made.read(made.start, made.size, 9).payloads == [b"x" * MEBIBYTE]


def test_a_disk_that_takes_part_of_a_frame_leaves_whole_frames(
    made: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    made.append(b"one")

    def short_write(fd: int, content: bytes) -> int:
        return write(fd, content[:-1])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short_write)
        with pytest.raises(SegmentFullError, match="the disk accepted only part of 11 bytes"):
            made.append(b"two")
        with pytest.raises(SegmentFullError, match="the disk accepted only part of 23 bytes"):
            made.append_all([b"two", b"four"])
        with pytest.raises(SegmentFullError, match="the disk accepted only part of 48 bytes"):
            made.append_all([b"x" * 40])
    assert made.path.read_bytes() == frame(HEADER) + frame(b"one")
    assert made.size == 25
    made.append(b"two")
    assert made.read(made.start, made.size, 9).payloads == [b"one", b"two"]


def test_only_the_owner_may_read_a_segment_and_it_is_new(made: Segment) -> None:
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        Segment(made.path, HEADER)


def test_a_written_segment_is_locked_and_appended_to(made: Segment) -> None:
    with made.path.open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    copy = made.duplicate()
    try:
        os.lseek(copy, 0, os.SEEK_SET)
        made.append(b"one")
        assert made.path.read_bytes() == frame(HEADER) + frame(b"one")
        assert not os.get_inheritable(copy)
    finally:
        os.close(copy)


def test_forgetting_keeps_the_header(made: Segment) -> None:
    made.append(b"one")
    made.forget()
    assert made.path.read_bytes() == frame(HEADER)
    assert made.size == made.start == 14
    made.append(b"two")
    assert made.read(made.start, made.size, 9).payloads == [b"two"]


@pytest.mark.parametrize("delete", [True, False])
def test_closing_deletes_the_file_only_if_requested(tmp_path: Path, delete: bool) -> None:
    made = Segment(tmp_path / "1.seg", HEADER)
    assert not made.is_deleted
    descriptor = made.duplicate()
    made.close(delete=delete)
    os.close(descriptor)
    assert made.path.exists() is not delete
    with pytest.raises(OSError, match="Bad file descriptor"):
        made.append(b"one")


def test_a_segment_that_others_removed_says_so(made: Segment) -> None:
    assert not made.is_deleted
    made.path.unlink()
    assert made.is_deleted


def test_a_file_that_cannot_be_deleted_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "1.seg"
    path.write_bytes(b"")
    assert try_delete(path)
    assert try_delete(path)
    attempts: list[str] = []

    def refuse(self: Path, missing_ok: bool = False) -> None:
        attempts.append(f"{self.name} {missing_ok}")
        raise PermissionError

    made = Segment(path, HEADER)
    with monkeypatch.context() as patch:
        patch.setattr(type(path), "unlink", refuse)
        assert not try_delete(path)
        made.close(delete=True)
    # Once while it is open, and once more after it is closed.
    assert attempts == ["1.seg True"] * 3


# Reading.


def test_frames_are_read_in_order_and_starts_separately(tmp_path: Path) -> None:
    payloads = [b"one", START_MARK + b"two", b"", COPIED_START_MARK + b"four"]
    content = b"".join(map(frame, payloads))
    result = read(tmp_path, content)
    starts = [Start(START_MARK + b"two", 19), Start(COPIED_START_MARK + b"four", 40)]
    assert result == ReadResult([b"one", b""], len(content), 0, torn=False, starts=starts)


@pytest.mark.parametrize("kind", [b"", START_MARK])
def test_reading_stops_after_the_limit_of_ended_calls_or_of_starts(
    tmp_path: Path, kind: bytes
) -> None:
    content = b"".join(frame(kind + b"%d" % number) for number in range(9))
    result = read(tmp_path, content, limit=3)
    assert len(result.payloads) + len(result.starts) == 3
    assert result.end == 3 * len(frame(kind + b"0"))
    assert not result.torn


@pytest.mark.parametrize("kind", [b"", START_MARK])
def test_a_large_limit_holds_as_well(tmp_path: Path, kind: bytes) -> None:
    content = frame(kind + b"x") * 1_001
    result = read(tmp_path, content, limit=1_000)
    assert len(result.payloads) + len(result.starts) == 1_000


def test_reading_begins_at_the_offset_and_ends_at_the_end(made: Segment) -> None:
    made.append_all([b"one", b"two", b"six"])
    assert made.read(14, 36, 9) == ReadResult([b"one", b"two"], 36)
    assert made.read(25, 47, 9) == ReadResult([b"two", b"six"], 47)
    assert made.read(25, 25, 9) == ReadResult([], 25)
    assert made.read(14, 46, 9) == ReadResult([b"one", b"two"], 36, torn=True)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_torn_tail_ends_the_segment(tmp_path: Path, cut: int) -> None:
    content = frame(b"one") + frame(b"two")
    result = read(tmp_path, content[:-cut])
    whole = ReadResult([b"one"], 11, torn=cut != 11)
    assert result == whole


def test_a_file_that_is_shorter_than_it_was_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "1.seg"
    path.write_bytes(frame(b"one") + frame(b"two")[:7])
    fd = os.open(path, os.O_RDONLY)
    try:
        assert read_frames(fd, 0, 99, 9) == ReadResult([b"one"], 11, torn=True)
    finally:
        os.close(fd)


def test_a_frame_with_a_wrong_checksum_is_skipped_and_counted(tmp_path: Path) -> None:
    wrong = bytearray(frame(b"two"))
    wrong[-1] ^= 1
    content = frame(b"one") + bytes(wrong) + bytes(wrong) + frame(b"six")
    assert read(tmp_path, content) == ReadResult([b"one", b"six"], 44, damaged=2)


@pytest.mark.parametrize("checksum", [0, 0xFFFFFFFF])
def test_any_other_checksum_is_wrong(tmp_path: Path, checksum: int) -> None:
    content = struct.pack("<II", 3, checksum) + b"one"
    assert read(tmp_path, content) == ReadResult([], 11, damaged=1)


@pytest.mark.parametrize(("size", "is_read"), [(MEBIBYTE, True), (MEBIBYTE + 1, False)])
def test_a_length_over_a_mebibyte_is_not_trusted(tmp_path: Path, size: int, is_read: bool) -> None:
    payload = b"x" * size
    result = read(tmp_path, frame(b"one") + frame(payload))
    assert result.payloads == [b"one", *([payload] if is_read else [])]
    assert result.torn is not is_read


@pytest.mark.parametrize("size", range(WINDOW - 40, WINDOW + 10))
def test_frames_at_the_edge_of_a_read_are_whole(tmp_path: Path, size: int) -> None:
    first = b"x" * (size - 8)
    content = frame(first) + frame(b"two") + frame(b"four")
    result = read(tmp_path, content)
    assert result == ReadResult([first, b"two", b"four"], len(content))


def test_a_file_is_read_in_pieces_of_256_kib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[tuple[int, int]] = []
    pread = os.pread

    def counted(fd: int, size: int, offset: int) -> bytes:
        reads.append((offset, size))
        return pread(fd, size, offset)

    payloads = [b"x" * 99_992] * 4 + [b"y" * 299_992]
    content = b"".join(map(frame, payloads))
    monkeypatch.setattr(os, "pread", counted)
    assert read(tmp_path, content).payloads == payloads
    # 100,000 bytes a frame: the third does not fit into the first piece, nor the last into any.
    assert reads == [(0, WINDOW), (200_000, WINDOW), (400_000, 300_000)]


def test_places_are_read_without_pread_as_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "1.seg"
    path.write_bytes(b"0123456789")
    monkeypatch.delattr(os, "pread")
    fd = os.open(path, os.O_RDONLY)
    try:
        assert read_payload_ranges(fd, [(7, 2), (0, 3), (8, 9)]) == [b"78", b"012", b"89"]
    finally:
        os.close(fd)


def test_without_pread_reading_does_not_move_the_write_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pread")
    before = descriptors()
    made = Segment(tmp_path / "1.seg", HEADER)
    assert descriptors() == before + 2
    made.append(b"one")
    assert made.read(made.start, made.size, 9).payloads == [b"one"]
    made.append(b"two")
    assert made.read(made.start, made.size, 9).payloads == [b"one", b"two"]
    made.abandon()
    assert descriptors() == before


def test_with_pread_a_segment_has_one_descriptor(tmp_path: Path) -> None:
    before = descriptors()
    made = Segment(tmp_path / "1.seg", HEADER)
    assert descriptors() == before + 1
    made.abandon()
    assert descriptors() == before


# Taking over.


def test_a_locked_segment_is_not_taken_over(made: Segment) -> None:
    with take_over(made.path) as fd:
        assert fd is None


def test_a_segment_that_is_gone_is_not_taken_over(tmp_path: Path) -> None:
    with take_over(tmp_path / "1.seg") as fd:
        assert fd is None


def test_a_dead_segment_is_taken_over_by_one(tmp_path: Path) -> None:
    Segment(tmp_path / "1.seg", HEADER).close(delete=False)
    before = descriptors()
    with take_over(tmp_path / "1.seg") as fd:
        assert fd is not None
        assert read_frames(fd, 0, 14, 9).payloads == [HEADER]
        with take_over(tmp_path / "1.seg") as another:
            assert another is None
        os.ftruncate(fd, 0)
    assert descriptors() == before
    with take_over(tmp_path / "1.seg") as fd:
        assert fd is not None


@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_that_lost_its_name_meanwhile_is_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    path = tmp_path / "1.seg"
    Segment(path, HEADER).close(delete=False)
    lock = fcntl.flock

    def drained_before_the_lock(fd: int, operation: int) -> None:
        path.rename(tmp_path / "drained")
        if replaced:
            path.write_bytes(b"")
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", drained_before_the_lock)
    with take_over(path) as fd:
        assert fd is None


def test_a_forked_child_closes_what_its_parent_takes_over(tmp_path: Path) -> None:
    Segment(tmp_path / "1.seg", HEADER).close(delete=False)
    before = descriptors()
    taken = take_over(tmp_path / "1.seg")
    assert taken.__enter__() is not None
    abandon_taken_over()
    assert descriptors() == before
    # It is closed only once.
    abandon_taken_over()
    with pytest.raises(OSError, match="Bad file descriptor"):
        taken.__exit__(None, None, None)


def test_without_flock_a_file_that_can_be_renamed_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "1.seg"
    monkeypatch.setattr(segment, "fcntl", None)
    made = Segment(path, HEADER)
    with take_over(path) as fd:
        assert fd is not None

    def refuse(_self: Path, _target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(type(path), "rename", refuse)
    with take_over(path) as fd:
        assert fd is None
    made.abandon()


def test_the_first_payloads_are_at_most_1000(tmp_path: Path) -> None:
    path = tmp_path / "1.seg"
    path.write_bytes(frame(b"x") * 1_100)
    fd = os.open(path, os.O_RDONLY)
    assert first_payloads(fd, 0, path.stat().st_size) == [b"x"] * 1_000
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_the_first_payloads_of_a_file_that_cannot_be_read_are_unknown(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "1.seg", os.O_WRONLY | os.O_CREAT, 0o600)
    assert first_payloads(fd, 0, 100) is None


def test_the_bytes_of_a_folder_are_those_of_its_segments(tmp_path: Path) -> None:
    assert bytes_in(tmp_path) == 0
    (tmp_path / "1.seg").write_bytes(b"12345")
    (tmp_path / "2.seg").write_bytes(b"123")
    (tmp_path / "notes.txt").write_bytes(b"1234567")
    assert bytes_in(tmp_path) == 8
