"""Answers of Anthropic's API, also in the frames in which Amazon Bedrock streams them."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from typing import Any

from support.loopback import Reply, streamed
from tokenledger_semconv.tokens import TokenVector

MODEL = "claude-sonnet-4-5-20250929"
USAGE = {
    "input_tokens": 1_009,
    "cache_read_input_tokens": 211,
    "cache_creation_input_tokens": 307,
    "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 107},
    "output_tokens": 53,
    "service_tier": "standard",
}
COUNTS = TokenVector(
    input_tokens=1_527,
    output_tokens=53,
    cached_tokens=211,
    cache_write_tokens=307,
    cache_write_1h_tokens=107,
)


def message(*content: dict[str, Any], stop: str = "end_turn", **more: object) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": list(content) or [{"type": "text", "text": '{"city": "Oslo"}'}],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": USAGE,
        **more,
    }


EVENTS: tuple[dict[str, Any], ...] = (
    {
        "type": "message_start",
        "message": message(content=[], stop_reason=None, usage={**USAGE, "output_tokens": 1}),
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": '{"city": "Oslo"}'},
    },
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 53},
    },
    {"type": "message_stop"},
)
STREAM = streamed(EVENTS)


def _header(name: str, value: str) -> bytes:
    """A header of type 7, a string."""
    encoded = value.encode()
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(encoded)) + encoded


def _frame(event: dict[str, Any]) -> bytes:
    """One message of AWS's event stream encoding (docs.aws.amazon.com, checked 2026-11-22)."""
    inner = base64.b64encode(json.dumps(event).encode()).decode()
    payload = json.dumps({"bytes": inner}).encode()
    headers = (
        _header(":event-type", "chunk")
        + _header(":content-type", "application/json")
        + _header(":message-type", "event")
    )
    head = struct.pack(">II", 12 + len(headers) + len(payload) + 4, len(headers))
    body = head + struct.pack(">I", binascii.crc32(head)) + headers + payload
    return body + struct.pack(">I", binascii.crc32(body))


BEDROCK_STREAM = Reply(b"".join(map(_frame, EVENTS)), "application/vnd.amazon.eventstream")
