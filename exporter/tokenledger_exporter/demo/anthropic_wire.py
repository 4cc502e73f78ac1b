"""Anthropic's Messages API as it goes over the wire.

Shapes and order of events: the OpenAPI types of anthropic 2.12, docs.claude.com/en/api/messages
and recorded traffic, read 2026-11-22. A stream is cut from the complete message, so both carry the
same numbers.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.demo.wire import Event, deltas, letters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tokenledger_exporter.demo.counts import Counts
    from tokenledger_exporter.demo.wire import JsonObject

_SNAPSHOTS: Final[Mapping[str, str]] = {
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
}
_CUMULATIVE: Final = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
)
_LATE: Final = ("output_tokens_details", "server_tool_use")


def message(body: JsonObject, text: str, counts: Counts) -> JsonObject:
    """A complete message: thinking first, then searches, then the text."""
    return {
        "model": _SNAPSHOTS.get(body["model"], body["model"]),
        "id": f"msg_01{letters(22)}",
        "type": "message",
        "role": "assistant",
        "content": list(_content(text, counts)),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "usage": _usage(counts),
    }


def events(whole: JsonObject) -> Iterator[Event]:
    """The message as typed events.

    `message_start` knows the input and a placeholder of one output token; `message_delta` brings
    the final, cumulative numbers.
    """
    usage = whole["usage"]
    first = {name: value for name, value in usage.items() if name not in _LATE}
    begun: JsonObject = {
        **whole,
        "content": [],
        "stop_reason": None,
        "usage": {**first, "output_tokens": 1},
    }
    yield _event("message_start", message=begun)
    for index, block in enumerate(whole["content"]):
        yield from _block_events(index, block)
    last = {name: usage[name] for name in _CUMULATIVE if name in usage}
    ending = {name: whole[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield _event("message_delta", delta=ending, usage=last)
    yield _event("message_stop")


def _block_events(index: int, block: JsonObject) -> Iterator[Event]:
    begun, pieces = _taken_apart(block)
    yield _event("content_block_start", index=index, content_block=begun)
    if index == 0:
        yield _event("ping")
    for piece in pieces:
        yield _event("content_block_delta", index=index, delta=piece)
    yield _event("content_block_stop", index=index)


def _taken_apart(block: JsonObject) -> tuple[JsonObject, list[JsonObject]]:
    """A content block as its start event shows it, and the deltas that complete it."""
    kind = block["type"]
    if kind == "text":
        pieces: list[JsonObject] = [
            {"type": "text_delta", "text": piece} for piece in deltas(block["text"])
        ]
        return {**block, "text": ""}, pieces
    if kind == "thinking":
        pieces = [{"type": "thinking_delta", "thinking": part} for part in deltas(block[kind])]
        pieces.append({"type": "signature_delta", "signature": block["signature"]})
        return {**block, "thinking": "", "signature": ""}, pieces
    if kind == "server_tool_use":
        json_text = '{"query": "' + block["input"]["query"] + '"}'
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": json_text}]
    return block, []


def _event(kind: str, **fields: object) -> Event:
    return Event(kind, {"type": kind, **fields})


def _content(text: str, counts: Counts) -> Iterator[JsonObject]:
    if counts.reasoning:
        signature = base64.b64encode(letters(48).encode()).decode()
        thought = "The customer asks about an export, so the invoice matters first."
        yield {"type": "thinking", "thinking": thought, "signature": signature}
    for _ in range(counts.web_search):
        yield from _search(f"srvtoolu_01{letters(22)}")
    yield {"type": "text", "text": text}


def _search(tool_use_id: str) -> Iterator[JsonObject]:
    query = {"query": "exchange rate service status"}
    yield {"type": "server_tool_use", "id": tool_use_id, "name": "web_search", "input": query}
    result = {
        "type": "web_search_result",
        "title": "Status of the exchange rate service",
        "url": "https://status.example.com/",
        "encrypted_content": base64.b64encode(letters(48).encode()).decode(),
        "page_age": None,
    }
    yield {"type": "web_search_tool_result", "tool_use_id": tool_use_id, "content": [result]}


def _usage(counts: Counts) -> JsonObject:
    """Anthropic's counts: its input tokens leave out what a cache read or wrote."""
    if counts.usage is not None:
        return counts.usage
    made: JsonObject = {
        "input_tokens": counts.input - counts.cache_read - counts.cache_write,
        "cache_creation_input_tokens": counts.cache_write,
        "cache_read_input_tokens": counts.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": counts.cache_write - counts.cache_write_1h,
            "ephemeral_1h_input_tokens": counts.cache_write_1h,
        },
        "output_tokens": counts.output,
        "service_tier": counts.service_tier or "standard",
        "inference_geo": "global",
    }
    if counts.reasoning:
        made["output_tokens_details"] = {"thinking_tokens": counts.reasoning}
    if counts.web_search:
        searches = {"web_search_requests": counts.web_search, "web_fetch_requests": 0}
        made["server_tool_use"] = searches
    return made
