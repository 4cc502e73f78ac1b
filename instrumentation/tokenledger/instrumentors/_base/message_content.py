"""Prompts and answers on spans: off unless the environment asks for them.

The switch and the format are OpenTelemetry's (semantic-conventions-genai, read 2026-11-22). The
ledger never stores them: its records hold a list of allowed attributes, and these are not on it.
Answers of streams are left out, since no text of a stream is stored.

Only lists, tuples, dictionaries and the fields of an SDK's objects are walked. The SDKs accept any
iterable in their place. One that can be read only once belongs to the request, so only its class
name is recorded.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger._guard import Guard
from tokenledger._usage.fields import fields_of
from tokenledger_semconv.content import INPUT_MESSAGES, OUTPUT_MESSAGES, SYSTEM_INSTRUCTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tokenledger._usage.fields import Attributes
    from tokenledger.instrumentors._base.api_shape import Body, Shape

CAPTURE_VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""OpenTelemetry's switch: `true`, or one of its newer values that name the span."""

# Deeper than the messages of any API.
_MAX_DEPTH: Final = 32
_ON: Final = frozenset({"true", "span_only", "span_and_event"})


def is_content_requested() -> bool:
    """Whether the environment asks for messages on spans."""
    return os.environ.get(CAPTURE_VARIABLE, "").strip().lower() in _ON


def with_content(shape: Shape) -> Shape:
    """The same shape, with messages on its spans."""
    note, read = shape.note, shape.read

    def note_all(body: Body, attributes: Attributes) -> None:
        if note is not None:
            note(body, attributes)
        with Guard("reading the messages of a request"):
            _add_request(attributes, body)

    def read_all(answer: object) -> Attributes:
        attributes: Attributes = {} if read is None else read(answer)
        with Guard("reading the messages of an answer"):
            _add_answer(attributes, fields_of(answer))
        return attributes

    return replace(shape, note=note_all, read=None if read is None else read_all)


def _add_request(attributes: Attributes, body: Body) -> None:
    messages = body.get("messages", body.get("input", body.get("prompt")))
    # An argument that was left out is a marker object of the SDK's own.
    if isinstance(messages, (str, list, tuple)):
        attributes[INPUT_MESSAGES] = _json(_messages(messages, "user"))
    instructions = body.get("system", body.get("instructions"))
    if isinstance(instructions, (str, list, tuple)):
        attributes[SYSTEM_INSTRUCTIONS] = _json(_parts(instructions))


def _add_answer(attributes: Attributes, answer: Mapping[str, Any]) -> None:
    if "choices" in answer:
        attributes[OUTPUT_MESSAGES] = _json([_choice(choice) for choice in answer["choices"]])
    elif "output" in answer:
        attributes[OUTPUT_MESSAGES] = _json(_messages(answer["output"], "assistant"))
    elif "content" in answer:
        message = {"role": "assistant", "parts": _parts(answer["content"])}
        attributes[OUTPUT_MESSAGES] = _json([message])


def _choice(choice: object) -> dict[str, Any]:
    fields = fields_of(choice)
    message = fields_of(fields.get("message"))
    parts = _parts(message.get("content", fields.get("text")) or [])
    parts += [_plain(call) for call in message.get("tool_calls") or ()]
    return {"role": "assistant", "parts": parts, "finish_reason": fields.get("finish_reason")}


def _messages(content: Any, role: str) -> list[dict[str, Any]]:  # noqa: ANN401 - whatever was sent
    if isinstance(content, str):
        return [{"role": role, "parts": _parts(content)}]
    messages: list[dict[str, Any]] = []
    for message in content:
        if isinstance(message, str):
            messages.append({"role": role, "parts": _parts(message)})
            continue
        fields = fields_of(message)
        body = fields.get("content")
        parts = [_plain(message)] if body is None else _parts(body)
        messages.append({"role": fields.get("role") or role, "parts": parts})
    return messages


def _parts(content: Any) -> list[Any]:  # noqa: ANN401 - whatever was sent
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    if not isinstance(content, (list, tuple)):
        return [_plain(content)]
    parts: list[Any] = []
    for part in cast("Sequence[object]", content):
        text = fields_of(part).get("text")
        parts.append({"type": "text", "content": text} if text is not None else _plain(part))
    return parts


def _plain(value: object, depth: int = 0) -> object:
    """A value as JSON can hold it, without consuming anything that can be read only once."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if depth < _MAX_DEPTH:
        if isinstance(value, (list, tuple)):
            items = cast("Sequence[object]", value)
            return [_plain(item, depth + 1) for item in items]
        source: Any = value
        sent: Any = getattr(source, "__pydantic_fields_set__", None)
        if sent is not None or type(source) is dict:
            fields = fields_of(source)
            sent = fields if sent is None else sent
            return {str(name): _plain(fields[name], depth + 1) for name in fields if name in sent}
    return f"<{type(value).__name__}>"


def _json(value: object) -> str:
    return json.dumps(value, default=lambda other: f"<{type(other).__name__}>", ensure_ascii=False)
