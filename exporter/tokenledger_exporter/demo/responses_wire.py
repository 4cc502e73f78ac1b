"""OpenAI's Responses API as it goes over the wire.

Shapes and order of events: the OpenAPI types of openai-python 3.54 and recorded traffic, read
2026-11-22. A stream is cut from the complete answer, so both carry the same numbers.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tokenledger_exporter.demo.openai_wire import snapshot
from tokenledger_exporter.demo.wire import Event, deltas, hexadecimal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenledger_exporter.demo.counts import Counts
    from tokenledger_exporter.demo.wire import JsonObject


def response(body: JsonObject, text: str, counts: Counts) -> JsonObject:
    """A complete answer: searches first, then thinking, then the message."""
    now = int(time.time())
    return {
        "id": f"resp_{hexadecimal(50)}",
        "object": "response",
        "created_at": now,
        "status": "completed",
        "background": False,
        "completed_at": now,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata", {}),
        "model": snapshot(body["model"]),
        "output": list(_output(text, counts)),
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": "medium" if counts.reasoning else None, "summary": None},
        "service_tier": counts.service_tier or "default",
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": _usage(counts),
        "user": body.get("user"),
    }


def events(whole: JsonObject) -> Iterator[Event]:
    """The answer as typed events, numbered; usage stands in the last one only."""
    for number, data in enumerate(_numberless_events(whole)):
        yield Event(data["type"], {**data, "sequence_number": number})


def _numberless_events(whole: JsonObject) -> Iterator[JsonObject]:
    begun: JsonObject = {
        **whole,
        "status": "in_progress",
        "completed_at": None,
        "output": [],
        "usage": None,
    }
    begun["service_tier"] = "auto"
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(whole["output"]):
        yield from _item_events(index, item)
    yield {"type": "response.completed", "response": whole}


def _item_events(index: int, item: JsonObject) -> Iterator[JsonObject]:
    where = {"output_index": index}
    begun = dict(item)
    if item["type"] == "message":
        begun |= {"status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", **where, "item": begun}
    if item["type"] == "message":
        yield from _text_events(where, item)
    if item["type"] == "web_search_call":
        for step in ("in_progress", "searching", "completed"):
            yield {"type": f"response.web_search_call.{step}", **where, "item_id": item["id"]}
    yield {"type": "response.output_item.done", **where, "item": item}


def _text_events(where: JsonObject, item: JsonObject) -> Iterator[JsonObject]:
    part = item["content"][0]
    base = {**where, "item_id": item["id"], "content_index": 0}
    yield {"type": "response.content_part.added", **base, "part": {**part, "text": ""}}
    for piece in deltas(part["text"]):
        yield {"type": "response.output_text.delta", **base, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **base, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **base, "part": part}


def _output(text: str, counts: Counts) -> Iterator[JsonObject]:
    if counts.reasoning:
        yield {"id": f"rs_{hexadecimal(50)}", "type": "reasoning", "summary": []}
    for _ in range(counts.web_search):
        yield {
            "id": f"ws_{hexadecimal(50)}",
            "type": "web_search_call",
            "status": "completed",
            "action": {"type": "search", "query": "exchange rate service status"},
        }
    yield {
        "id": f"msg_{hexadecimal(50)}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": text}],
    }


def _usage(counts: Counts) -> JsonObject:
    if counts.usage is not None:
        return counts.usage
    details = {"cached_tokens": counts.cache_read}
    if counts.cache_write:
        details["cache_write_tokens"] = counts.cache_write
    return {
        "input_tokens": counts.input,
        "input_tokens_details": details,
        "output_tokens": counts.output,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning},
        "total_tokens": counts.input + counts.output,
    }
