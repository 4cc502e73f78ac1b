"""What the conventions' JSON schemas require of messages and tool definitions.

The required fields and their types in `model/gen-ai/` of open-telemetry/semantic-conventions-genai
(input and output messages, system instructions, tool definitions), checked 2026-11-28. A part of
another type is a generic part, which needs a type alone; types that mean one of the schema's parts
under a provider's name are refused.
"""

from __future__ import annotations

import json
from typing import Any, cast

_PARTS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "text": {"content": str},
    "reasoning": {"content": str},
    "tool_call": {"name": str},
    "tool_call_response": {"response": object},
    "server_tool_call": {"name": str, "server_tool_call": dict},
    "server_tool_call_response": {"server_tool_call_response": dict},
    "blob": {"modality": str, "content": str},
    "uri": {"modality": str, "uri": str},
    "file": {"modality": str, "file_id": str},
}
_PROVIDERS_OWN = {
    *("function", "function_call", "function_call_output", "tool_use", "tool_result", "thinking"),
    *("image", "image_url", "input_image", "input_text", "output_text", "input_audio", "document"),
    *("input_file", "server_tool_use", "web_search_tool_result"),
}
_ROLES = {"system", "developer", "user", "assistant", "tool"}
_REASONS = {"stop", "length", "content_filter", "tool_call", "compaction", "error"}


def valid_parts(parts: object) -> list[dict[str, Any]]:
    """Parts that follow the schema."""
    listed = _listed(parts)
    for part in listed:
        assert part["type"] not in _PROVIDERS_OWN, part
        for name, kind in _PARTS.get(part["type"], {}).items():
            assert isinstance(part[name], kind), part
        assert isinstance(part.get("id"), (str, type(None))), part
    return listed


def valid_messages(document: object, *, output: bool = False) -> list[dict[str, Any]]:
    """Messages that follow the schema, from an attribute of a span or of an event."""
    messages = _listed(document)
    for message in messages:
        assert message["role"] in _ROLES
        assert valid_parts(message["parts"])
        if output:
            assert message["role"] == "assistant"
            assert message["finish_reason"] in _REASONS
    return messages


def valid_tools(document: object) -> list[dict[str, Any]]:
    """Tool definitions that follow the schema."""
    tools = _listed(document)
    for tool in tools:
        assert isinstance(tool["type"], str)
        assert isinstance(tool["name"], str)
        assert tool["type"] != "function" or isinstance(tool.get("parameters", {}), dict)
    return tools


def _listed(document: object) -> list[dict[str, Any]]:
    decoded: Any = json.loads(document) if isinstance(document, str) else document
    assert isinstance(decoded, (list, tuple))
    return [dict(entry) for entry in cast("list[dict[str, Any]]", decoded)]
