"""What was said, keys and error texts: in no spool file, no row, no log line, no span."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

import anthropic
import openai
import psycopg
import pytest

import tokenledger
from support.sdk_calls import ALL, CHAT_STREAM, MESSAGE_STREAM, Clients, run, send
from tokenledger_exporter.demo.scripts import Recorded

if TYPE_CHECKING:
    from pathlib import Path

    from tokenledger_exporter.demo.provider import DemoProvider

pytestmark = pytest.mark.usefixtures("unpatched")

KEY = "sk-canary-key"
# The prompts of `calls`, the answers of the demo provider, the key, the words of an error.
CANARIES = ("canary", "Thank you", "writing to us", "invoice")
REFUSAL = Recorded({"error": {"message": "canary-error", "type": "canary"}}, status=400)
TABLES = (
    *("token_ledger_events", "token_ledger_duplicates", "token_ledger_conflicts"),
    *("token_ledger_rejected", "token_ledger_losses"),
)


@pytest.fixture
def clients(provider: DemoProvider) -> Clients:
    return Clients(
        openai.OpenAI(base_url=provider.openai_base_url, api_key=KEY, max_retries=0),
        anthropic.Anthropic(base_url=provider.anthropic_base_url, api_key=KEY, max_retries=0),
    )


def make_every_call(clients: Clients, provider: DemoProvider) -> int:
    """Every shape, answered, refused and broken off; how many calls that were."""
    calls = 0
    for shape in ALL:
        run(clients, shape)
        provider.script(REFUSAL)
        with contextlib.suppress(openai.APIStatusError, anthropic.APIStatusError):
            run(clients, shape)
        calls += 2
    for shape in (CHAT_STREAM, MESSAGE_STREAM):
        stream = send(clients, shape)
        next(stream)
        next(stream)
        stream.close()
        calls += 1
    return calls


def test_no_prompt_or_answer_is_stored_anywhere(
    provider: DemoProvider,
    clients: Clients,
    database_url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "tokenledger")
    tokenledger.configure(
        database_url=database_url, spool_dir=str(tmp_path), flush_interval_seconds=3_600.0
    )
    tokenledger.patch_openai()
    tokenledger.patch_anthropic()
    calls = make_every_call(clients, provider)
    spooled = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(spooled) > 100 * calls, "the spool was not looked at"
    tokenledger.flush(timeout=30.0)
    with psycopg.connect(database_url) as connection:
        rows = [
            str(connection.execute(f"SELECT t::text FROM {table} t".encode()).fetchall())
            for table in TABLES
        ]
        stored = connection.execute("SELECT count(*) FROM token_ledger_events").fetchone()
    assert stored == (calls,)
    for canary in CANARIES:
        assert canary.encode() not in spooled
        assert canary not in "".join(rows)
        assert canary not in "\n".join(
            record.getMessage() for record in caplog.records if "tokenledger" in record.name
        )
