"""`tokenledger trace` and `session` show what one run cost, call by call."""

from __future__ import annotations

import json

import pytest

from support.command_line import fill_ledger, run

TRACE = "0af7651916cd43dd8448eb211c80319c"
# A call with two rows: a part of it is billed at the rates of another model.
ROWS = f"""
INSERT INTO token_ledger_events
    (event_id, timestamp, ended_at, provider, model, session_id, trace_id, span_id, agent_id,
     cost_status, cost_usd, total_tokens, duration_ms, status, error_type, ancestors)
VALUES
    ('01a20298-6851-8751-abf9-e437e2b87e91', now() - interval '60 seconds',
     now() - interval '58 seconds', 'anthropic', 'claude-opus-5', 's-1', '{TRACE}',
     '1111111111111111', 'planner', 'priced', 0.5, 1000, 2000, 'success', '', '{{}}'),
    ('01a20298-6851-8751-abf9-e437e2b87e92', now() - interval '60 seconds',
     now() - interval '58 seconds', 'anthropic', 'claude-haiku-4-5', 's-1', '{TRACE}',
     '1111111111111111', 'planner', 'priced', 0.25, 5000, NULL, 'success', '', '{{}}'),
    ('01a20298-6851-8751-abf9-e437e2b87e93', now() - interval '30 seconds', NULL, 'openai',
     'gpt-4o', 's-1', '{TRACE}', '2222222222222222', '', 'priced', 0.125, 10, 500, 'error',
     'RateLimitError',
     '{{01a20298-6851-8751-abf9-e437e2b87e91}}'),
    ('01a20298-6851-8751-abf9-e437e2b87e94', now() - interval '20 seconds', NULL, 'openai',
     'acme-7b', 's-10', '0af76519ffffffffffffffffffffffff', '3333333333333333', '', 'unpriced',
     NULL, 7, NULL, 'success', '', '{{}}'),
    ('01a20298-6851-8751-abf9-e437e2b87e95', now() - interval '10 seconds', NULL, 'openai',
     'gpt-4o', 's-10', '0af76519ffffffffffffffffffffffff', '4444444444444444', '', 'priced', 2, 9,
     NULL, 'success', '', '{{}}')
"""


@pytest.fixture(autouse=True)
def ledger_url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    return fill_ledger(database_url, ROWS, monkeypatch)


def test_a_trace_lists_its_calls_by_time_with_their_parts_and_the_sum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    lines = run("trace", TRACE[:10].upper()).stdout.splitlines()
    assert lines[0] == f"trace {TRACE}"
    assert lines[1].startswith("2 calls in 3 rows, ")
    cells = [line.split() for line in lines]
    # 0.5 + 0.25 = 0.75, and 0.75 + 0.125 = 0.875
    assert ["1", "0.0", "s", "claude-opus-5", "planner", "2.0", "s", "6,000", "0.750000"] in cells
    assert ["+", "claude-opus-5", "(1,000)", "(0.500000)"] in cells
    assert ["+", "claude-haiku-4-5", "(5,000)", "(0.250000)"] in cells
    assert ["2", "30.0", "s", "gpt-4o", "0.5", "s", "10", "0.125000", "RateLimitError"] in cells
    assert ["total", "6,010", "0.875000"] in cells
    assert lines[-1] == "coverage: 3 of 3 calls priced (100.0%)"
    monkeypatch.setenv("COLUMNS", "80")
    narrow = run("trace", TRACE).stdout.splitlines()
    assert max(map(len, narrow)) <= 80
    assert "no room for took: use a wider terminal or --format json" in narrow


def test_a_session_costs_what_a_report_of_it_says() -> None:
    document = json.loads(run("session", "s-10", "--format", "json").stdout)
    words = ("report", "--by", "", "--where", "session=s-10", "--format", "json")
    report = json.loads(run(*words).stdout)
    assert document["cost_usd"] == report["totals"]["cost_usd"] == "2"
    assert document["coverage"] == report["coverage"]
    assert [call["total_cost_usd"] for call in document["calls"]] == [None, "2"]
    text = run("session", "s-10").stdout
    assert "2.000000+" in text
    assert "+ the cost is higher: some of these calls have no known cost" in text


def test_an_id_that_is_the_beginning_of_another_names_its_own_run() -> None:
    assert json.loads(run("session", "s-1", "--format", "json").stdout)["session_id"] == "s-1"


def test_a_call_within_another_says_so() -> None:
    document = json.loads(run("trace", TRACE, "--format", "json").stdout)
    assert [(call["depth"], len(call["parts"])) for call in document["calls"]] == [(0, 1), (1, 0)]


def test_more_calls_than_the_limit_are_in_the_total() -> None:
    text = run("trace", TRACE, "--limit", "1").stdout
    assert "1 later call is in the total; --limit shows more" in text
    assert "0.875000" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("trace", "0af76519"), "several trace ids begin with '0af76519'; use one of 0af76519fff"),
        (("trace", "9999"), "no trace id begins with '9999' since "),
        (("session", "s-9"), "no session id begins with 's-9' since "),
        (("session", ""), "invalid session id ''"),
        (("session", "a\0b"), "invalid session id 'a\\x00b'"),
    ],
)
def test_an_id_that_names_no_run_is_refused(words: tuple[str, ...], message: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"tokenledger: {message}")
