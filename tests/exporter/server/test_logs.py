"""Coding agents that report usage in logs: each completed request is one priced row."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict

from support.ledger_rows import ask
from support.otlp_agent_logs import CLAUDE, CLAUDE_COST, CODEX, CODEX_COST, log, request

if TYPE_CHECKING:
    from support.otlp_service import Running


def rows(url: str, scope: str) -> list[tuple[Any, ...]]:
    query = (
        "SELECT cost_usd, reported_cost_usd, input_tokens, cached_tokens, cache_write_tokens, "
        "reasoning_tokens, user_id, session_id, organization_id, app_name, duration_ms "
        f"FROM token_ledger_events WHERE scope = '{scope}'"
    )
    return ask(url, query)


def test_a_completed_response_of_codex_is_one_row(service: Running, ledger_url: str) -> None:
    ended = {"event.name": "codex.sse_event", "event.kind": "response.completed"}
    sent = request(log(CODEX), log(ended), log({"event.name": "codex.user_prompt"}))
    for _ in range(2):
        assert service.ask("/v1/logs", sent.SerializeToString()).body == b""
    rest = (12_000, 10_000, None, 300, "account-1", "conversation-1", "", "agent", 0.0)
    assert rows(ledger_url, "codex") == [(CODEX_COST, None, *rest)]


def test_a_request_of_claude_code_is_one_row_in_either_format(
    service: Running, ledger_url: str
) -> None:
    sent = request(log(CLAUDE, "claude_code.api_request"))
    message = MessageToDict(sent)
    for data, kind in (
        (sent.SerializeToString(), "application/x-protobuf"),
        (json.dumps(message).encode(), "application/json"),
    ):
        assert service.ask("/v1/logs", data, {"content-type": kind}).status == 200
    (row,) = rows(ledger_url, "claude_code")
    rest = ("a@example.com", "session-1", "org-of-anthropic", "agent", 2_500.0)
    assert row == (CLAUDE_COST, Decimal("0.0456"), 25_000, 20_000, 4_000, None, *rest)
    stored = ask(ledger_url, "SELECT events::text FROM token_ledger_events AS events")
    assert "never stored" not in str(stored)


def test_the_event_name_may_be_a_field_of_the_record_or_its_body(
    service: Running, ledger_url: str
) -> None:
    nameless = {**CLAUDE, "request_id": "req_012"}
    del nameless["event.name"]
    before = len(rows(ledger_url, "claude_code"))
    named = log(nameless, event_name="claude_code.api_request")
    assert service.ask("/v1/logs", request(named).SerializeToString()).status == 200
    in_body = log({**nameless, "request_id": "req_013"}, "claude_code.api_request")
    assert service.ask("/v1/logs", request(in_body).SerializeToString()).status == 200
    assert len(rows(ledger_url, "claude_code")) == before + 2


def test_a_malformed_logs_request_is_refused(service: Running) -> None:
    assert service.ask("/v1/logs", b"\x0a\xff").status == 400
    assert service.ask("/v1/logs", b"[]", {"content-type": "application/json"}).status == 400


def test_cache_writes_of_unknown_lifetime_make_a_row_of_claude_code_partial(
    service: Running, ledger_url: str
) -> None:
    uncached = {**CLAUDE, "cache_creation_tokens": 0, "request_id": "req_021"}
    written = {**CLAUDE, "request_id": "req_022"}
    sent = request(
        log(uncached, "claude_code.api_request"), log(written, "claude_code.api_request")
    )
    assert service.ask("/v1/logs", sent.SerializeToString()).status == 200
    query = (
        "SELECT cost_status, cost_note, reported_cost_usd FROM token_ledger_events"
        " WHERE scope = 'claude_code' AND cache_write_tokens = {} LIMIT 1"
    )
    reported = Decimal("0.0456")
    note = "how long the 4,000 tokens of cache writes are kept is not known: an hour costs more"
    assert ask(ledger_url, query.format(0)) == [("priced", "", reported)]
    assert ask(ledger_url, query.format(4_000)) == [("partial", note, reported)]


def test_a_cost_of_zero_in_claude_codes_logs_is_not_a_reported_cost(
    service: Running, ledger_url: str
) -> None:
    for zero in ("0", "0.0"):
        unknown = {
            **CLAUDE,
            "model": "no-such-model",
            "cost_usd": zero,
            "request_id": f"req_{zero}",
        }
        sent = request(log(unknown, "claude_code.api_request"))
        assert service.ask("/v1/logs", sent.SerializeToString()).status == 200
    query = (
        "SELECT cost_usd, cost_status, reported_cost_usd FROM token_ledger_events"
        " WHERE model = 'no-such-model'"
    )
    assert ask(ledger_url, query) == [(None, "unpriced", None)] * 2
