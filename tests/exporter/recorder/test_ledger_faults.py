"""What an app, its host or its operator does to a ledger in the middle of its life."""

from __future__ import annotations

import io
import os
import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING

import psycopg
import pytest
from opentelemetry.sdk.trace import TracerProvider

from support.ledger_rows import ask
from support.ledgers import DOWN, call, opened
from tokenledger_exporter.recorder.ledger import install
from tokenledger_exporter.recorder.processor import exit_seconds_left
from tokenledger_semconv.settings import read_settings

if TYPE_CHECKING:
    from pathlib import Path

COUNT = "SELECT count(*) FROM token_ledger_events"


def test_bytes_that_are_no_utf_8_cost_no_call(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell hands them to Python as lone surrogates, which no encoder takes."""
    monkeypatch.setenv("TOKENLEDGER_APP_NAME", "caf\udce9")
    monkeypatch.setenv("TOKENLEDGER_DEFAULT_METADATA", "town=K\udcf6ln")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=1.\udce9")
    with opened(database_url) as ledger:
        call(ledger, **{"tokenledger.metadata.\udce9": "x"})
        assert ledger.flush(timeout=10.0) == 1
    assert ask(database_url, "SELECT app_name FROM token_ledger_events") == [("caf?",)]


def test_a_call_that_never_became_a_record_is_counted_as_lost(database_url: str) -> None:
    with opened(database_url) as ledger:
        ledger.count_unrecorded("ValueError")
        call(ledger)
        ledger.flush(timeout=10.0)
        assert ledger.health()["lost"] == 1
    assert ask(database_url, "SELECT records FROM token_ledger_losses") == [(1,)]


class _NobodyReads(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_debug_output_without_a_reader_does_not_block_rows(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(database_url, debug=True) as ledger:
        monkeypatch.setattr(sys, "stderr", _NobodyReads())
        call(ledger)
        assert ledger.flush(timeout=10.0) == 1
        monkeypatch.undo()


def test_a_flush_writes_what_ended_children_left(database_url: str) -> None:
    with opened(database_url) as ledger:
        call(ledger)
        ledger.flush(timeout=10.0)
        for _ in range(3):
            child = os.fork()
            if not child:
                call(ledger)
                os._exit(0)
            os.waitpid(child, 0)
        ledger.flush(timeout=10.0)
    assert ask(database_url, COUNT) == [(4,)]


def test_a_call_that_ends_after_a_second_configure_is_written(database_url: str) -> None:
    settings = {"database_url": database_url}
    first = install(TracerProvider(), read_settings(settings))
    second = install(TracerProvider(), read_settings({**settings, "app_name": "shop"}))
    call(first)
    assert second.flush(timeout=10.0) == 1
    second.shutdown(timeout=5.0)


def test_a_locked_table_blocks_only_the_first_of_synchronous_calls(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenledger_exporter.recorder.ledger._COMMIT_SECONDS", 0.5)
    with opened(database_url, async_mode=False) as ledger:
        call(ledger)
        with psycopg.connect(database_url) as holder:
            holder.execute("LOCK TABLE token_ledger_events IN ACCESS EXCLUSIVE MODE")
            begun = time.monotonic()
            for _ in range(10):
                call(ledger)
            assert time.monotonic() - begun < 3
        ledger.flush(timeout=10.0)
    assert ask(database_url, COUNT) == [(11,)]


def test_calls_after_the_spool_folder_was_deleted_are_on_disk_again(tmp_path: Path) -> None:
    with opened(DOWN, spool_dir=str(tmp_path)) as ledger:
        call(ledger)
        shutil.rmtree(ledger.folder)
        ledger.flush(timeout=10.0)
        call(ledger)
        assert [path.suffix for path in ledger.folder.iterdir()] == [".seg"]
        assert ledger.waiting == 2


def test_a_system_short_of_threads_loses_no_call(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with opened(database_url) as ledger:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refused)
            call(ledger)
        assert ledger.flush(timeout=10.0) == 1


def test_calls_wait_for_a_price_book_that_is_not_filled_yet(database_url: str) -> None:
    """As while a migration has made the tables: rows without prices would stay unpriced."""
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE kept AS TABLE token_ledger_prices")
        connection.execute("TRUNCATE token_ledger_prices CASCADE")
    with opened(database_url) as ledger:
        call(ledger)
        assert ledger.flush(timeout=10.0) == 0
        assert "price book is empty" in str(ledger.health()["last_error"])
        with psycopg.connect(database_url) as connection:
            connection.execute("INSERT INTO token_ledger_prices TABLE kept")
        ledger.flush(timeout=10.0)
    assert ask(database_url, "SELECT cost_status FROM token_ledger_events") == [("priced",)]


def test_a_call_that_ends_between_the_last_attempt_and_the_end_is_kept(database_url: str) -> None:
    """Its ledger is stopped and still the one in effect: it must not hand the call on to itself."""
    ledger = install(TracerProvider(), read_settings({"database_url": database_url}))
    vars(ledger)["_stopped"] = True
    call(ledger)
    assert ledger.waiting == 1
    ledger.shutdown(timeout=5.0)
    assert ask(database_url, COUNT) == [(1,)]


def test_everything_that_ends_at_exit_shares_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenledger_exporter.installed.PROCESS.exit_began_at", None)
    first = exit_seconds_left()
    assert 0 < exit_seconds_left() <= first <= 2.0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every segment")
def test_a_segment_of_another_user_is_left_to_them(database_url: str) -> None:
    with opened(database_url) as ledger:
        call(ledger)
        ledger.flush(timeout=10.0)
        theirs = ledger.folder / "1-theirs.seg"
        theirs.touch(mode=0o000)
        call(ledger)
        assert ledger.flush(timeout=10.0) == 1
        assert ledger.health()["last_error"] is None
