"""Which calls are open, and which segment holds the START of each; no file is involved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tokenledger_exporter.spool import open_calls
from tokenledger_exporter.spool.open_calls import (
    OpenCalls,
    Start,
    as_copied_start,
    is_start,
    span_of,
)

if TYPE_CHECKING:
    import pytest

START = b"\xc1S"
CARRIED = b"\xc1C"


def span(number: int) -> bytes:
    """The record of an ended call; only its first two fields matter."""
    return msgspec.msgpack.encode([b"t" * 16, number, "rest"])


def start(number: int, at: int = 0, mark: bytes = START) -> Start:
    return Start(mark + span(number), at)


LENGTH = len(START + span(1))


def test_a_mark_distinguishes_a_start_from_an_ended_call() -> None:
    assert is_start(START + span(1))
    assert is_start(CARRIED + span(1))
    assert not is_start(span(1))
    assert not is_start(b"\xc1")
    assert not is_start(b"")
    assert span_of(START + span(1)) == span(1)
    assert as_copied_start(START + span(1)) == CARRIED + span(1)
    assert as_copied_start(CARRIED + span(1)) == CARRIED + span(1)


def test_a_start_is_open_until_its_end() -> None:
    calls: OpenCalls[str] = OpenCalls()
    calls.note([start(1, 10), start(2, 50)], "a")
    calls.note([start(3, 90)], "b")
    assert len(calls) == 3
    assert calls.owners() == ["a", "b"]
    assert calls.places("a") == [(10, LENGTH), (50, LENGTH)]
    assert calls.bytes_of("a") == 2 * LENGTH
    assert calls.bytes_of("b") == LENGTH
    calls.end([span(1), span(99), b"no record", span(3)])
    assert len(calls) == 1
    assert calls.places("a") == [(50, LENGTH)]
    assert calls.bytes_of("a") == LENGTH
    assert calls.owners() == ["a"]
    assert (calls.places("b"), calls.bytes_of("b")) == ([], 0)
    calls.end([span(2)])
    calls.end([span(2)])
    assert (len(calls), calls.owners()) == (0, [])


def test_an_end_of_another_trace_ends_nothing() -> None:
    calls: OpenCalls[str] = OpenCalls()
    calls.note([start(1)], "a")
    calls.end([msgspec.msgpack.encode([b"u" * 16, 1, "rest"])])
    assert len(calls) == 1


def test_a_copied_start_moves_its_call_to_the_new_segment() -> None:
    calls: OpenCalls[str] = OpenCalls()
    calls.note([start(1, 10)], "a")
    calls.note([start(1, 70, CARRIED), start(2, 99, CARRIED), start(3, 200)], "b")
    # The call 2 has ended meanwhile; the one after it is still noted.
    assert len(calls) == 2
    assert calls.owners() == ["b"]
    assert calls.places("b") == [(70, LENGTH), (200, LENGTH)]


def test_a_dead_process_leaves_copied_starts_as_well() -> None:
    calls: OpenCalls[str] = OpenCalls()
    assert calls.adopt([start(1, 10, CARRIED), start(2, 50)], "a") == []
    assert calls.adopt([start(1, 70), start(3, 90)], "b") == []
    assert calls.places("a") == [(50, LENGTH)]
    assert calls.places("b") == [(70, LENGTH), (90, LENGTH)]


def test_what_is_no_record_is_ignored_and_the_rest_is_taken() -> None:
    calls: OpenCalls[str] = OpenCalls()
    wrong = Start(START + b"\xc1", 0)
    calls.note([wrong, start(1)], "a")
    assert calls.adopt([wrong, start(2)], "b") == []
    assert len(calls) == 2


def test_calls_above_the_limit_are_not_tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_calls.MAX_OPEN == 200_000
    monkeypatch.setattr(open_calls, "MAX_OPEN", 2)
    calls: OpenCalls[str] = OpenCalls()
    calls.note([start(1), start(2), start(3)], "a")
    assert len(calls) == 2
    # A call that is known already needs no further place.
    calls.note([start(3), start(2, 70)], "b")
    assert (len(calls), calls.places("b")) == (2, [(70, LENGTH)])
    overflow = calls.adopt([start(4), start(1, 80), start(5)], "c")
    assert overflow == [START + span(4), START + span(5)]
    assert (len(calls), calls.places("c")) == (2, [(80, LENGTH)])


def test_a_large_limit_holds_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_calls, "MAX_OPEN", int("1000"))
    calls: OpenCalls[str] = OpenCalls()
    calls.note([start(number) for number in range(1_001)], "a")
    assert len(calls) == 1_000
    assert calls.adopt([start(5_000)], "b") == [START + span(5_000)]


def test_clearing_removes_every_call() -> None:
    calls: OpenCalls[str] = OpenCalls()
    calls.note([start(1)], "a")
    calls.clear()
    assert (len(calls), calls.owners(), calls.places("a")) == (0, [], [])
    calls.end([span(1)])
