"""A caller waits for the spool's lock, within bounds, so that a kill after a call loses nothing."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from support.spools import HEADER, waiting
from tokenledger_exporter.spool.segment import Segment
from tokenledger_exporter.spool.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_record_is_on_disk_when_its_caller_continues_although_the_lock_was_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a kill right after the call loses it: busy threads hold the lock for milliseconds."""
    spool = Spool(tmp_path, HEADER)
    spool.append(b"before")
    holds_lock = threading.Event()
    really = Segment.append

    def holds_the_lock_for_a_while(segment: Segment, payload: bytes) -> None:
        if payload == b"first":
            holds_lock.set()
            deadline = time.monotonic() + 10
            while not spool.waiting_in_memory and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.05)
        really(segment, payload)

    monkeypatch.setattr(Segment, "append", holds_the_lock_for_a_while)
    holder = threading.Thread(target=spool.append, args=[b"first"])
    holder.start()
    assert holds_lock.wait(10)
    spool.append(b"second")
    (segment,) = tmp_path.iterdir()
    assert b"second" in segment.read_bytes()
    holder.join(10)
    assert waiting(spool) == [b"before", b"first", b"second"]


def test_a_caller_waits_once_for_a_thread_whose_disk_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, HEADER)
    spool.append(b"before")
    holds_lock, disk_answers = threading.Event(), threading.Event()
    really = Segment.append

    def hangs(segment: Segment, payload: bytes) -> None:
        if payload == b"first":
            holds_lock.set()
            assert disk_answers.wait(60)
        really(segment, payload)

    monkeypatch.setattr(Segment, "append", hangs)
    holder = threading.Thread(target=spool.append, args=[b"first"])
    holder.start()
    assert holds_lock.wait(10)
    begun = time.monotonic()
    for number in range(100):
        assert spool.append(b"%d" % number) == 0
    # A quarter of a second for the first, 2 ms for each of the others; 25 s without the difference.
    assert 0.25 + 99 * 0.002 <= time.monotonic() - begun < 5
    assert spool.waiting_in_memory == 100
    disk_answers.set()
    holder.join(10)
    assert spool.waiting_in_memory == 0
    assert waiting(spool) == [b"before", b"first", *(b"%d" % number for number in range(100))]


def test_a_signal_handler_that_ends_a_call_never_waits_for_the_lock_of_its_own_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, HEADER)
    spool.append(b"before")
    waited: list[float] = []
    really = Segment.append

    def interrupted(segment: Segment, payload: bytes) -> None:
        if payload == b"first":
            begun = time.monotonic()
            assert spool.append(b"handler") == 0
            waited.append(time.monotonic() - begun)
        really(segment, payload)

    monkeypatch.setattr(Segment, "append", interrupted)
    spool.append(b"first")
    assert waited[0] < 0.1
    assert waiting(spool) == [b"before", b"first", b"handler"]
