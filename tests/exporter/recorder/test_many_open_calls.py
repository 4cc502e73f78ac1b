"""Thousands of calls open at once cost their callers nothing, and none of them is lost."""

from __future__ import annotations

import errno
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from support.ledgers import DOWN, call, opened, started
from support.spools import HEADER, recovered, waiting
from tokenledger_exporter.recorder.encode_fast import encode_ended, encode_started
from tokenledger_exporter.spool.codec import decode_record
from tokenledger_exporter.spool.open_calls import is_start
from tokenledger_exporter.spool.segment import Segment
from tokenledger_exporter.spool.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from tokenledger_exporter.recorder.ledger import PostgresLedger


def sent(ledger: PostgresLedger, calls: int, attribution_bytes: int) -> list[tuple[bytes, bytes]]:
    """START and END records of calls whose attribution takes about so many bytes."""
    tracer = ledger.tracer_provider.get_tracer("tokenledger.openai")
    pairs: list[tuple[bytes, bytes]] = []
    for _ in range(calls):
        span = started(tracer, "u" * attribution_bytes)
        start = encode_started(span)
        span.end()
        end = encode_ended(span, ())
        assert start is not None
        assert end is not None
        pairs.append((start, end))
    return pairs


@pytest.fixture(scope="module")
def pairs() -> list[tuple[bytes, bytes]]:
    """START and END of 3,000 calls with 1 KB of attribution each."""
    with opened(DOWN) as ledger:
        return sent(ledger, 3_000, 1_000)


@pytest.mark.parametrize("open_calls", [75, 550, 3_000])
def test_open_calls_end_the_drainers_round_and_keep_their_segments(
    tmp_path: Path, pairs: list[tuple[bytes, bytes]], open_calls: int
) -> None:
    spool = Spool(tmp_path, HEADER)
    for start, _ in pairs[:open_calls]:
        spool.append(start, ended=False)
    assert waiting(spool) == []
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    for _ in range(20):
        spool.append(b"another call")
        assert waiting(spool) == [b"another call"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < written + 1_000
    spool.close()
    left = [payload for payload in recovered(Spool(tmp_path, HEADER)) if is_start(payload)]
    assert len(left) == open_calls


def test_the_ends_of_thousands_of_open_calls_free_the_disk(
    tmp_path: Path, pairs: list[tuple[bytes, bytes]]
) -> None:
    spool = Spool(tmp_path, HEADER)
    for start, _ in pairs:
        spool.append(start, ended=False)
    assert waiting(spool) == []
    for _, end in pairs:
        spool.append(end)
    assert waiting(spool, 500) == [end for _, end in pairs]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1_000
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_few_calls_that_stay_open_are_copied_and_their_segments_deleted(
    tmp_path: Path, pairs: list[tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenledger_exporter.spool.spool.MAX_SEGMENT_BYTES", 100_000)
    monkeypatch.setattr("tokenledger_exporter.spool.reader._MAX_COPY_SEGMENT_BYTES", 20_000)
    spool = Spool(tmp_path, HEADER)
    stay = pairs[::100]
    for number, (start, end) in enumerate(pairs):
        spool.append(start, ended=False)
        if number % 100:
            spool.append(end)
        if not number % 50:
            waiting(spool, 500)
    waiting(spool, 500)
    # 30 calls of 1.2 KB stay: they, as much again, and a segment that is written.
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 300_000
    spool.close()
    found = [decode_record(payload) for payload in recovered(Spool(tmp_path, HEADER))]
    open_ids = {record.span_id for record in found}
    assert open_ids >= {decode_record(end).span_id for _, end in stay}


def test_a_disk_that_takes_no_copy_keeps_the_segment_of_the_open_call(
    tmp_path: Path, pairs: list[tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenledger_exporter.spool.spool.MAX_SEGMENT_BYTES", 10_000)
    spool = Spool(tmp_path, HEADER)
    spool.append(pairs[0][0], ended=False)
    with monkeypatch.context() as disk:
        disk.setattr(Segment, "append_all", _full)
        for start, end in pairs[1:100]:
            spool.append(start, ended=False)
            spool.append(end)
        waiting(spool)
    spool.append(b"after")
    waiting(spool)
    assert len(list(tmp_path.iterdir())) == 2
    spool.close()
    [left] = [one for one in recovered(Spool(tmp_path, HEADER)) if is_start(one)]
    assert decode_record(left).span_id == decode_record(pairs[0][1]).span_id


def _full(_segment: Segment, _payloads: object) -> None:
    raise OSError(errno.ENOSPC, "no space left")


def test_what_is_done_under_the_callers_lock_does_not_grow_with_the_calls_open(
    tmp_path: Path, pairs: list[tuple[bytes, bytes]]
) -> None:
    few, many = (
        _work_under_the_lock(Spool(tmp_path / str(count), HEADER), pairs, count)
        for count in (10, 2_900)
    )
    assert few == many


def _work_under_the_lock(spool: Spool, pairs: list[tuple[bytes, bytes]], count: int) -> list[int]:
    """Bytecodes of every holding of the lock, while one more call is made and drained."""
    for start, _ in pairs[:count]:
        spool.append(start, ended=False)
    waiting(spool)
    lock = _TracedLock()
    vars(spool)["_lock"] = lock
    start, end = pairs[-1]
    before = sys.gettrace()
    sys.settrace(lock.trace)
    try:
        spool.append(start, ended=False)
        spool.append(end)
        waiting(spool)
        spool.sync()
        spool.refresh_usage()
    finally:
        sys.settrace(before)
    return lock.holdings


class _TracedLock:
    """A lock that counts the bytecodes executed while it is held, one number a holding."""

    def __init__(self) -> None:
        self.holdings: list[int] = []
        self._lock = threading.Lock()

    def acquire(self, *arguments: Any, **named: Any) -> bool:  # noqa: ANN401 - as Lock's own
        taken = self._lock.acquire(*arguments, **named)
        self.holdings.append(0)
        return taken

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def trace(self, frame: FrameType, event: str, _argument: Any) -> Any:  # noqa: ANN401 - of sys
        frame.f_trace_opcodes = "tokenledger_exporter" in frame.f_code.co_filename
        if event == "opcode" and self._lock.locked():
            self.holdings[-1] += 1
        return self.trace


def test_a_held_lock_does_not_block_health_or_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenledger_exporter.spool.spool._CLOSE_WAIT_SECONDS", 0.05)
    with opened(DOWN, spool_dir=str(tmp_path)) as ledger:
        call(ledger)
        spool: Spool = vars(ledger)["_spool"]
        for lock in (vars(spool)["_lock"], spool.reader.lock):
            with lock:
                assert ledger.health()["waiting"] == 1
                spool.close()
        assert len(list(ledger.folder.iterdir())) == 1


def test_a_record_is_written_by_the_lock_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, HEADER)
    spool.append(b"first")

    def duplicate(_segment: Segment) -> int:
        late = threading.Thread(target=spool.append, args=(b"late",))
        late.start()
        late.join()
        return os.open(os.devnull, os.O_RDONLY)

    with monkeypatch.context() as busy:
        busy.setattr(Segment, "duplicate", duplicate)
        spool.sync()
    [segment] = tmp_path.iterdir()
    assert b"late" in segment.read_bytes()
    assert waiting(spool) == [b"first", b"late"]


def test_open_calls_above_the_limit_are_written_immediately(
    tmp_path: Path, pairs: list[tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, HEADER)
    for start, _ in pairs[:20]:
        spool.append(start, ended=False)
    spool.close()
    monkeypatch.setattr("tokenledger_exporter.spool.open_calls.MAX_OPEN", 5)
    found = [decode_record(payload).span_id for payload in recovered(Spool(tmp_path, HEADER))]
    assert sorted(found) == sorted(decode_record(end).span_id for _, end in pairs[:20])
