"""Names in the log records of coding agents, which do not report their usage in spans.

Codex CLI: openai/codex, codex-rs/otel/src/events/session_telemetry.rs. Claude Code: public
collectors of its telemetry and repositories that quote its "Monitoring" page. Read 2026-11-26.
Each line explains what the agent writes there.
"""

from typing import Final

EVENT_NAME: Final = "event.name"
"""The event that a log record describes. String. Both agents."""

MODEL: Final = "model"
"""The model that answered. String. Both agents."""

DURATION_MS: Final = "duration_ms"
"""How long the request took; the record's time is its end. Number or text, milliseconds. Both."""

USER_EMAIL: Final = "user.email"
"""The signed-in user. String. Both agents, if known."""

# --- Codex CLI

CODEX_SCOPE: Final = "codex"
"""The ledger's name for the emitter."""

CODEX_EVENT: Final = "codex.sse_event"
"""An event of a response's stream."""

CODEX_KIND: Final = "event.kind"
"""The kind of event in the stream. String."""

CODEX_COMPLETED: Final = "response.completed"
"""The kind that has the counts."""

CODEX_INPUT: Final = "input_token_count"
"""Input tokens, including cached ones. Text, tokens."""

CODEX_OUTPUT: Final = "output_token_count"
"""Output tokens, including reasoning. Text, tokens."""

CODEX_CACHED: Final = "cached_token_count"
"""Input tokens read from a cache. Integer, tokens."""

CODEX_CACHE_WRITTEN: Final = "cache_write_token_count"
"""Input tokens written to a cache, in releases that report it. Integer, tokens."""

CODEX_REASONING: Final = "reasoning_token_count"
"""Reasoning in the output. Integer, tokens."""

CODEX_CONVERSATION: Final = "conversation.id"
"""The conversation; read as a session. String."""

CODEX_ACCOUNT: Final = "user.account_id"
"""The signed-in account. String."""

# --- Claude Code

CLAUDE_CODE_SCOPE: Final = "claude_code"
"""The ledger's name for the emitter."""

CLAUDE_CODE_EVENT: Final = "api_request"
"""A request to the model's API, in `event.name`."""

CLAUDE_CODE_BODY: Final = "claude_code.api_request"
"""The same as the record's body, or as the name of the event."""

CLAUDE_INPUT: Final = "input_tokens"
"""Input tokens, **without** what a cache read or wrote. Number or text, tokens."""

CLAUDE_OUTPUT: Final = "output_tokens"
"""Output tokens. Number or text, tokens."""

CLAUDE_CACHE_READ: Final = "cache_read_tokens"
"""Input tokens read from a cache. Number or text, tokens."""

CLAUDE_CACHE_WRITTEN: Final = "cache_creation_tokens"
"""Input tokens written to a cache. Number or text, tokens."""

CLAUDE_COST: Final = "cost_usd"
"""The agent's own estimate, by list price. Number or text, US dollars."""

CLAUDE_REQUEST_ID: Final = "request_id"
"""The API's id of the request. String."""

CLAUDE_SPEED: Final = "speed"
"""`fast` or `normal`. String."""

CLAUDE_ACCOUNT: Final = "user.account_uuid"
"""The signed-in account. String."""

CLAUDE_ORGANIZATION: Final = "organization.id"
"""The signed-in organization. String."""
