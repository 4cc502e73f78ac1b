"""Prompts and answers on a span, for those who ask for them; off unless they do.

The switch and the form are OpenTelemetry's (semantic-conventions-genai, read 2026-11-22). The
ledger never gets them: its records hold a list of allowed attributes, and these are not on it.
Answers of streams are left out, since no text of a stream is kept.

Only lists, tuples, dictionaries and the fields of an SDK's objects are walked. The SDKs take any
iterable in their place, and one that can be read once is the request's: it is named by its class.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger.failures import Guard
from tokenledger.reading import fields_of
from tokenledger_semconv.content import INPUT_MESSAGES, OUTPUT_MESSAGES, SYSTEM_INSTRUCTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tokenledger.instrumentors.shape import Body, Shape
    from tokenledger.reading import Found

CAPTURE_VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""OpenTelemetry's switch: `true`, or one of its newer words that name the span."""

# No message of any API comes near it.
_DEEPEST: Final = 32
_ON: Final = frozenset({"true", "span_only", "span_and_event"})


def is_content_asked_for() -> bool:
    """Whether the environment asks for messages on spans."""
    return os.environ.get(CAPTURE_VARIABLE, "").strip().lower() in _ON


def telling(shape: Shape) -> Shape:
    """A shape whose spans also hold what was asked and answered."""
    note, read = shape.note, shape.read

    def note_all(body: Body, told: Found) -> None:
        if note is not None:
            note(body, told)
        with Guard("reading the messages of a request"):
            _add_request(told, body)

    def read_all(answer: object) -> Found:
        found: Found = {} if read is None else read(answer)
        with Guard("reading the messages of an answer"):
            _add_answer(found, fields_of(answer))
        return found

    return replace(shape, note=note_all, read=None if read is None else read_all)


def _add_request(told: Found, body: Body) -> None:
    said = body.get("messages", body.get("input", body.get("prompt")))
    # What was not given stands there too, as a mark of the SDK's own.
    if isinstance(said, (str, list, tuple)):
        told[INPUT_MESSAGES] = _json(_messages(said, "user"))
    instructions = body.get("system", body.get("instructions"))
    if isinstance(instructions, (str, list, tuple)):
        told[SYSTEM_INSTRUCTIONS] = _json(_parts(instructions))


def _add_answer(found: Found, told: Mapping[str, Any]) -> None:
    if "choices" in told:
        found[OUTPUT_MESSAGES] = _json([_choice(choice) for choice in told["choices"]])
    elif "output" in told:
        found[OUTPUT_MESSAGES] = _json(_messages(told["output"], "assistant"))
    elif "content" in told:
        found[OUTPUT_MESSAGES] = _json([{"role": "assistant", "parts": _parts(told["content"])}])


def _choice(choice: object) -> dict[str, Any]:
    told = fields_of(choice)
    message = fields_of(told.get("message"))
    parts = _parts(message.get("content", told.get("text")) or [])
    parts += [_plain(call) for call in message.get("tool_calls") or ()]
    return {"role": "assistant", "parts": parts, "finish_reason": told.get("finish_reason")}


def _messages(said: Any, role: str) -> list[dict[str, Any]]:  # noqa: ANN401 - whatever was sent
    if isinstance(said, str):
        return [{"role": role, "parts": _parts(said)}]
    found: list[dict[str, Any]] = []
    for message in said:
        if isinstance(message, str):
            found.append({"role": role, "parts": _parts(message)})
            continue
        told = fields_of(message)
        content = told.get("content")
        parts = [_plain(message)] if content is None else _parts(content)
        found.append({"role": told.get("role") or role, "parts": parts})
    return found


def _parts(content: Any) -> list[Any]:  # noqa: ANN401 - whatever was sent
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    if not isinstance(content, (list, tuple)):
        return [_plain(content)]
    found: list[Any] = []
    for part in cast("Sequence[object]", content):
        told = fields_of(part)
        text = told.get("text")
        found.append({"type": "text", "content": text} if text is not None else _plain(part))
    return found


def _plain(value: object, depth: int = 0) -> object:
    """What is told of a value, without asking it for anything that it could give only once."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if depth < _DEEPEST:
        if isinstance(value, (list, tuple)):
            items = cast("Sequence[object]", value)
            return [_plain(item, depth + 1) for item in items]
        held: Any = value
        sent: Any = getattr(held, "__pydantic_fields_set__", None)
        if sent is not None or type(held) is dict:
            told = fields_of(held)
            sent = told if sent is None else sent
            return {str(name): _plain(told[name], depth + 1) for name in told if name in sent}
    return f"<{type(value).__name__}>"


def _json(value: object) -> str:
    return json.dumps(value, default=lambda other: f"<{type(other).__name__}>", ensure_ascii=False)
