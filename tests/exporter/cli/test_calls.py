"""`tokenledger calls` lists single calls, and `explain` finds one by the start of its id."""

from __future__ import annotations

import csv
import io
import json
from importlib.metadata import version

import pytest

from support.command_line import fill_ledger, run

ROWS = """
INSERT INTO token_ledger_events
    (event_id, timestamp, provider, model, user_id, feature, cost_status, cost_usd, total_tokens,
     duration_ms)
VALUES
    ('01a20298-6851-8751-abf9-e437e2b87e95', now() - interval '2 minutes', 'openai', 'gpt-4o', 'u1',
     'chat', 'priced', 0.0021, 12345, 1500),
    ('01a20298-6851-8752-abf9-e437e2b87e95', now() - interval '1 minute', 'openai', 'acme-7b', 'u2',
     'search', 'unpriced', NULL, 7, 64250),
    ('0aa20298-0000-8752-abf9-e437e2b87e95', now() - interval '3 minutes', 'openai', 'gpt-4o', 'u1',
     'search', 'partial', 0.5, 8, NULL)
"""


@pytest.fixture(autouse=True)
def ledger_url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    return fill_ledger(database_url, ROWS, monkeypatch)


def test_calls_are_listed_newest_first_with_what_identifies_and_costs_them() -> None:
    lines = run("calls").stdout.splitlines()
    rows = [line.split() for line in lines[-3:]]
    assert [row[0] for row in rows] == ["01a20298-6851", "01a20298-6851", "0aa20298-0000"]
    assert rows[0][3:] == ["acme-7b", "u2", "search", "7", "unknown", "unpriced"]
    assert rows[1][3:] == ["gpt-4o", "u1", "chat", "12,345", "0.002100", "-"]
    assert max(map(len, lines)) <= 80


def test_a_wide_terminal_shows_whole_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    assert "01a20298-6851-8751-abf9-e437e2b87e95" in run("calls").stdout


def test_calls_are_filtered_like_a_report() -> None:
    document = json.loads(run("calls", "--where", "user=u1", "--format", "json").stdout)
    assert [row["cost_usd"] for row in document["rows"]] == ["0.0021", "0.5"]
    result = run("calls", "--limit", "1", "--format", "csv")
    [row] = csv.DictReader(io.StringIO(result.stdout))
    assert (row["event_id"], row["cost_usd"], row["cost_status"]) == (
        "01a20298-6851-8752-abf9-e437e2b87e95",
        "",
        "unpriced",
    )
    assert result.stderr == "tokenledger: this is the newest call; --limit shows more\n"
    assert run("calls", "--where", "user=x").stderr == "tokenledger: no calls match\n"
    assert run("calls", "--where", "nonsense=x").exit_code == 2


def test_the_slowest_or_costliest_calls_come_first_and_unknown_ones_last() -> None:
    lines = run("calls", "--sort", "duration").stdout.splitlines()
    [slowest, *_] = [line for line in lines if line.startswith("01a20298")]
    assert slowest.split()[3:] == ["acme-7b", "search", "64.2", "s", "7", "unknown", "unpriced"]
    assert max(map(len, lines)) <= 80
    document = json.loads(run("calls", "--sort", "duration", "--format", "json").stdout)
    assert [row["duration_ms"] for row in document["rows"]] == [64250, 1500, None]
    result = run("calls", "--sort", "cost", "--format", "json", "--limit", "2")
    assert [row["cost_usd"] for row in json.loads(result.stdout)["rows"]] == ["0.5", "0.0021"]
    assert result.stderr == "tokenledger: these are the costliest 2; --limit shows more\n"
    assert run("calls", "--limit", "3").stderr == ""
    wrong = run("calls", "--sort", "size")
    assert (wrong.exit_code, "'time', 'cost', 'duration'" in wrong.stderr) == (2, True)


def test_the_start_of_an_id_names_a_call_if_no_other_begins_so() -> None:
    assert run("explain", "0aa20298").stdout.startswith("0aa20298-0000-8752-abf9-e437e2b87e95")
    several = run("explain", "01a20298-6851")
    assert several.exit_code == 2
    assert several.stderr == (
        "tokenledger: several event ids begin with '01a20298-6851'; use one of "
        "01a20298-6851-8751-abf9-e437e2b87e95, 01a20298-6851-8752-abf9-e437e2b87e95\n"
    )
    assert "no event id begins with '99999999'" in run("explain", "99999999").stderr
    assert "invalid event id '01a2'" in run("explain", "01a2").stderr


def test_the_version_is_that_of_the_installed_release() -> None:
    assert run("version").stdout == f"tokenledger {version('tokenledger-otel')}\n"
