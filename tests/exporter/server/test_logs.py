"""Agents that report usage in logs alone: each completed request is one priced row."""

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
    question = (
        "SELECT cost_usd, reported_cost_usd, input_tokens, cached_tokens, cache_write_tokens, "
        "reasoning_tokens, user_id, session_id, organization_id, app_name, duration_ms "
        f"FROM token_ledger_events WHERE scope = '{scope}'"
    )
    return ask(url, question)


def test_a_completed_response_of_codex_is_one_row(service: Running, ledger_url: str) -> None:
    ended = {"event.name": "codex.sse_event", "event.kind": "response.completed"}
    sent = request(log(CODEX), log(ended), log({"event.name": "codex.user_prompt"}))
    for _ in range(2):
        assert service.ask("/v1/logs", sent.SerializeToString()).body == b""
    told = (12_000, 10_000, None, 300, "account-1", "conversation-1", "", "agent", 0.0)
    assert rows(ledger_url, "codex") == [(CODEX_COST, None, *told)]


def test_a_request_of_claude_code_is_one_row_in_either_format(
    service: Running, ledger_url: str
) -> None:
    sent = request(log(CLAUDE, "claude_code.api_request"))
    told = MessageToDict(sent)
    for data, kind in (
        (sent.SerializeToString(), "application/x-protobuf"),
        (json.dumps(told).encode(), "application/json"),
    ):
        assert service.ask("/v1/logs", data, {"content-type": kind}).status == 200
    (row,) = rows(ledger_url, "claude_code")
    who = ("a@example.com", "session-1", "org-of-anthropic", "agent", 2_500.0)
    assert row == (CLAUDE_COST, Decimal("0.0456"), 25_000, 20_000, 4_000, None, *who)
    everything = ask(ledger_url, "SELECT events::text FROM token_ledger_events AS events")
    assert "never stored" not in str(everything)


def test_the_events_name_may_stand_in_the_record_itself(service: Running, ledger_url: str) -> None:
    nameless = {**CLAUDE, "request_id": "req_012"}
    del nameless["event.name"]
    before = len(rows(ledger_url, "claude_code"))
    named = log(nameless, event_name="claude_code.api_request")
    assert service.ask("/v1/logs", request(named).SerializeToString()).status == 200
    in_body = log({**nameless, "request_id": "req_013"}, "claude_code.api_request")
    assert service.ask("/v1/logs", request(in_body).SerializeToString()).status == 200
    assert len(rows(ledger_url, "claude_code")) == before + 2


def test_what_is_no_logs_request_is_refused(service: Running) -> None:
    assert service.ask("/v1/logs", b"\x0a\xff").status == 400
    assert service.ask("/v1/logs", b"[]", {"content-type": "application/json"}).status == 400
