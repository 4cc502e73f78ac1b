"""Log records as coding agents write them, and the cost of their calls."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from support.otlp_requests import pairs

if TYPE_CHECKING:
    from collections.abc import Mapping

# From codex-rs/otel (read 2026-11-26): counts with `%` are text, optional ones are numbers.
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
# gpt-5-codex, per million tokens: $1.25 input, $0.125 cached input, $10 output.
CODEX_COST = (Decimal("1.25") * 2_000 + Decimal("0.125") * 10_000 + Decimal(10) * 900) / 1_000_000

# Names from public collectors of Claude Code's telemetry (read 2026-11-26).
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
# claude-sonnet-4-5, per million tokens: $3 input, $0.30 cache read, $3.75 cache write (five
# minutes), $15 output.
CLAUDE_COST = (
    Decimal(3) * 1_000 + Decimal("0.30") * 20_000 + Decimal("3.75") * 4_000 + Decimal(15) * 500
) / 1_000_000


def request(
    *records: LogRecord, resource: Mapping[str, str] | None = None
) -> ExportLogsServiceRequest:
    owner = Resource(attributes=pairs({"service.name": "agent", **(resource or {})}))
    logs = ScopeLogs(log_records=records)
    return ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=owner, scope_logs=[logs])])


def log(fields: Mapping[str, str | int], text: str = "", event_name: str = "") -> LogRecord:
    return LogRecord(
        time_unix_nano=time.time_ns() - 60 * 10**9,
        body=AnyValue(string_value=text),
        attributes=pairs(fields),
        event_name=event_name,
    )
