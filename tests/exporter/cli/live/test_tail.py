"""`tokenledger tail` prints the newest calls, and with -f each new one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import psycopg
import pytest

from support.command_line import fill_ledger, run

ROWS = """
INSERT INTO token_ledger_events
    (event_id, timestamp, provider, model, user_id, feature, team, cost_status, cost_usd,
     total_tokens, status, error_type)
VALUES
    ('01a20298-6851-8751-abf9-e437e2b87e95', now() - interval '3 minutes', 'openai', 'gpt-4o', 'u1',
     'chat', 'ml', 'priced', 0.0021, 12345, 'success', ''),
    ('01a20298-6851-8752-abf9-e437e2b87e95', now() - interval '2 minutes', 'openai', 'acme-7b', '',
     '', '', 'unpriced', NULL, 7, 'error', 'RateLimitError'),
    ('01a20298-6851-8753-abf9-e437e2b87e95', now() - interval '1 minute', 'openai', 'gpt-4o', 'u2',
     'chat', 'ml', 'partial', 0.5, NULL, 'success', '')
"""


@pytest.fixture(autouse=True)
def ledger_url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    return fill_ledger(database_url, ROWS, monkeypatch)


def test_the_newest_calls_are_printed_oldest_first_one_line_each() -> None:
    lines = [line.split() for line in run("tail").stdout.splitlines()]
    assert [line[1:] for line in lines] == [
        ["gpt-4o", "12,345", "tokens", "$0.002100", "user=u1", "feature=chat", "team=ml"],
        ["acme-7b", "7", "tokens", "unknown", "[error:", "RateLimitError]", "[unpriced]"],
        ["gpt-4o", "-", "tokens", "$0.500000+", "user=u2", "feature=chat", "team=ml", "[partial]"],
    ]
    assert len(run("tail", "-n", "1").stdout.splitlines()) == 1
    assert run("tail", "-n", "0").stdout == ""


def test_json_is_one_object_for_each_call() -> None:
    result = run("tail", "--format", "json", "--where", "user=u1")
    [call] = [json.loads(line) for line in result.stdout.splitlines()]
    assert call["event_id"] == "01a20298-6851-8751-abf9-e437e2b87e95"
    assert (call["cost_usd"], call["cost_status"], call["settled"]) == ("0.0021", "priced", True)


def test_an_unknown_filter_is_refused() -> None:
    result = run("tail", "--where", "nonsense=1")
    assert result.exit_code == 2
    assert "unknown dimension 'nonsense'" in result.stderr


def test_following_prints_new_calls_until_it_is_interrupted(ledger_url: str) -> None:
    words = [
        sys.executable,
        "-m",
        "tokenledger_exporter",
        "tail",
        "-f",
        "-n",
        "1",
        "--every",
        "0.1",
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tail:
        assert tail.stdout
        assert tail.stderr
        assert "user=u2" in tail.stdout.readline()
        with psycopg.connect(ledger_url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO token_ledger_events (provider, model, timestamp, settled) "
                "VALUES ('openai', 'new-model', now() - interval '2 hours', false)"
            )
            line = tail.stdout.readline()
            assert "new-model" in line
            assert line.rstrip().endswith("[unpriced]  [not settled]")
            # Its connection is lost, as when the database restarts.
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert "trying again" in tail.stderr.readline()
            connection.execute(
                "INSERT INTO token_ledger_events (provider, model) VALUES ('openai', 'after')"
            )
            assert "after" in tail.stdout.readline()
        tail.send_signal(signal.SIGINT)
        assert tail.wait(30) == 0
        assert tail.stdout.read() == ""
        assert tail.stderr.read() == "tokenledger: the database is back\n"
