"""Agents that report usage in logs alone: each completed request is one priced row."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from exporter.made import ask
from exporter.server.requests import pairs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.server.serving import Running

# As codex-rs/otel writes it (read 2026-11-26): counts with `%` are text, optional ones numbers.
CODEX: dict[str, str | int] = {
    "event.name": "codex.sse_event",
    "event.kind": "response.completed",
    "conversation.id": "conversation-1",
    "model": "gpt-5-codex",
    "input_token_count": "12000",
    "output_token_count": "900",
    "cached_token_count": 10_000,
    "reasoning_token_count": 300,
    "tool_token_count": "12900",
    "user.account_id": "account-1",
    "originator": "codex_cli_rs",
}
# gpt-5-codex: $1.25 a million in, $0.125 cached, $10 out; 10,000 of 12,000 come from the cache.
CODEX_COST = (Decimal("1.25") * 2_000 + Decimal("0.125") * 10_000 + Decimal(10) * 900) / 1_000_000

# Claude Code's documentation, "Monitoring" (read 2026-11-26).
CLAUDE: dict[str, str | int] = {
    "event.name": "api_request",
    "session.id": "session-1",
    "user.email": "a@example.com",
    "organization.id": "org-of-anthropic",
    "model": "claude-sonnet-4-5",
    "cost_usd": "0.0456",
    "duration_ms": "2500",
    "input_tokens": "1000",
    "output_tokens": 500,
    "cache_read_tokens": 20_000,
    "cache_creation_tokens": "4000",
    "request_id": "req_011",
    "prompt": "never stored",
}
# claude-sonnet-4-5: $3 in, $0.30 read, $3.75 written for five minutes, $15 out.
CLAUDE_COST = (
    Decimal(3) * 1_000 + Decimal("0.30") * 20_000 + Decimal("3.75") * 4_000 + Decimal(15) * 500
) / 1_000_000


def request(*records: LogRecord) -> ExportLogsServiceRequest:
    resource = Resource(attributes=pairs({"service.name": "agent"}))
    logs = ScopeLogs(log_records=records)
    return ExportLogsServiceRequest(
        resource_logs=[ResourceLogs(resource=resource, scope_logs=[logs])]
    )


def log(told: Mapping[str, str | int], text: str = "", event_name: str = "") -> LogRecord:
    return LogRecord(
        time_unix_nano=time.time_ns() - 60 * 10**9,
        body=AnyValue(string_value=text),
        attributes=pairs(told),
        event_name=event_name,
    )


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
