"""A call that was sent is known from then on, and becomes a row only if its end never comes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import TracerProvider

from support.ledger_rows import ask
from support.ledgers import DOWN, opened, started
from support.spools import HEADER, recovered, waiting
from tokenledger_exporter.recorder.encode import encode_span, encode_started
from tokenledger_exporter.spool.codec import decode_record
from tokenledger_exporter.spool.open_calls import is_start
from tokenledger_exporter.spool.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from opentelemetry.sdk.trace import Span

    from tokenledger_exporter.recorder.ledger import PostgresLedger

UNFINISHED = "the call was sent, but no response was recorded"
CHILD = """
import os, sys
from support.ledgers import started
from tokenledger_exporter.recorder.ledger import PostgresLedger
from tokenledger_semconv.settings import read_settings
ledger = PostgresLedger(read_settings({"flush_interval_seconds": 60.0}))
tracer = ledger.tracer_provider.get_tracer("tokenledger.openai")
finished, abandoned = started(tracer, "finished"), started(tracer, "abandoned")
finished.set_attributes({"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100})
finished.end()
os.kill(os.getpid(), 9)
"""
ROWS = (
    "SELECT user_id, cost_status, cost_usd IS NULL, cost_note, duration_ms::int"
    " FROM token_ledger_events ORDER BY user_id"
)


def made(number: int = 1) -> list[tuple[bytes, bytes]]:
    """START and END records of calls."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("tokenledger.openai")
    pairs: list[tuple[bytes, bytes]] = []
    for _ in range(number):
        span = started(tracer)
        start = encode_started(span)
        assert start is not None
        span.end()
        pairs.append((start, encode_span(span)))
    return pairs


def test_a_start_says_who_sent_what_and_no_end() -> None:
    [(start, end)] = made()
    assert (is_start(start), is_start(end)) == (True, False)
    sent, ended = decode_record(start), decode_record(end)
    assert (sent.trace_id, sent.span_id, sent.start_ns) == (
        ended.trace_id,
        ended.span_id,
        ended.start_ns,
    )
    assert sent.end_ns == sent.start_ns
    assert sent.attributes["user.id"] == "u"


def test_a_killed_process_leaves_one_unmeasured_row_for_a_call_in_flight(database_url: str) -> None:
    environment = {**os.environ, "TOKENLEDGER_DATABASE_URL": database_url}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", CHILD], env=environment, check=False)
    with opened(database_url) as ledger:
        ledger.flush(timeout=10.0)
    assert ask(database_url, ROWS) == [
        ("abandoned", "unmeasured", True, UNFINISHED, 0),
        ("finished", "priced", False, "", ask(database_url, ROWS)[1][4]),
    ]


def test_a_living_process_writes_nothing_of_a_call_in_flight(database_url: str) -> None:
    with opened(database_url) as ledger:
        span = _start(ledger)
        assert ledger.flush(timeout=10.0) == 0
        assert ask(database_url, ROWS) == []
        span.end()
        assert ledger.flush(timeout=10.0) == 1


def test_a_call_in_flight_at_exit_is_reported_and_gives_way_to_its_end(database_url: str) -> None:
    with opened(database_url) as ledger:
        span = _start(ledger)
        _start(ledger).end()
        ledger.flush(timeout=10.0)
        ledger.shutdown(timeout=5.0, ends_process=True)
        assert [row[1] for row in ask(database_url, ROWS)] == ["unmeasured", "unmeasured"]
        span.set_attribute("gen_ai.usage.input_tokens", 1_000)
        span.set_attribute("gen_ai.usage.output_tokens", 100)
        span.end()
    with opened(database_url) as other:
        other.flush(timeout=10.0)
    # What ended within the ledger's life says nothing of its usage, and stays what it is.
    assert sorted(row[1] for row in ask(database_url, ROWS)) == ["priced", "unmeasured"]


def test_a_call_in_flight_outlives_the_segment_it_was_sent_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenledger_exporter.spool.spool.MAX_SEGMENT_BYTES", 2_000)
    monkeypatch.setattr("tokenledger_exporter.spool.reader._IDLE_BYTES", 1_000)
    spool = Spool(tmp_path, HEADER)
    [(start, end)] = made()
    spool.append(start, ended=False)
    for pair in made(50):
        spool.append(pair[0], ended=False)
        spool.append(pair[1])
        waiting(spool)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3_000
    spool.close()
    heir = Spool(tmp_path, HEADER)
    # A few that are committed come again with it, and the ledger knows them.
    open_calls = [decode_record(payload) for payload in recovered(heir) if is_start(payload)]
    assert [call.span_id for call in open_calls] == [decode_record(end).span_id]


def test_the_end_in_a_later_segment_of_the_same_writer_cancels_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenledger_exporter.spool.spool.MAX_SEGMENT_BYTES", 200)
    spool = Spool(tmp_path, HEADER)
    pairs = made(5)
    for start, _ in pairs:
        spool.append(start, ended=False)
    for _, end in pairs:
        spool.append(end)
    spool.close()
    assert len(list(tmp_path.iterdir())) > 3
    assert recovered(Spool(tmp_path, HEADER)) == [end for _, end in pairs]
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_cannot_be_stored_does_not_affect_its_caller(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    spool = Spool(blocked / "spool", HEADER)
    [(start, end)] = made()
    spool.append(start, ended=False)
    spool.append(end)
    assert waiting(spool) == [end]
    assert spool.state.lost == 0


def test_a_call_in_flight_is_on_disk_while_the_database_is_away(tmp_path: Path) -> None:
    with opened(DOWN, spool_dir=str(tmp_path)) as ledger:
        span = _start(ledger)
        assert ledger.waiting == 0
        [segment] = ledger.folder.iterdir()
        assert span.get_span_context().trace_id.to_bytes(16, "big") in segment.read_bytes()


def _start(ledger: PostgresLedger) -> Span:
    return started(ledger.tracer_provider.get_tracer("tokenledger.openai"))
