"""Other emitters put prompts and answers on their spans: none of it gets past the exporter."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import psycopg

from support.recorded_spans import EMITTERS, calls, rows
from tokenledger_exporter import LedgerSpanExporter

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

# What `exporter/dialects/record` and its loopback providers said, and the key they were called by.
SAID = ("canary-prompt", "canary-answer", "canary-instructions", "Thank you", "sk-canary")
REFUSAL = "Rate limit reached"
TABLES = (
    *("token_ledger_events", "token_ledger_duplicates", "token_ledger_conflicts"),
    *("token_ledger_rejected", "token_ledger_losses"),
)


def test_no_prompt_or_answer_reaches_spool_ledger_or_log(
    database_url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG, "tokenledger")
    monkeypatch.setenv("TOKENLEDGER_FLUSH_INTERVAL_SECONDS", "3600")
    spans = [
        span
        for emitter in EMITTERS
        for call_spans in calls(emitter).values()
        for span in call_spans
    ]
    exporter = LedgerSpanExporter(database_url=database_url)
    exporter.export(spans)
    spooled = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(spooled) > 100 * len(EMITTERS), "the spool was not looked at"
    exporter.force_flush()
    exporter.shutdown()
    with psycopg.connect(database_url) as connection:
        stored = "".join(
            str(connection.execute(f"SELECT t::text FROM {table} t".encode()).fetchall())
            for table in TABLES
        )
        count = connection.execute("SELECT count(*) FROM token_ledger_events").fetchone()
    assert count == (len(rows(spans)),)
    logged = "\n".join(record.getMessage() for record in caplog.records)
    for word in (*SAID, REFUSAL):
        assert word.encode() not in spooled
        assert word not in stored
        assert word not in logged
