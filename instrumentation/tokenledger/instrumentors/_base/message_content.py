"""Prompts and answers on spans and events: off unless the environment asks for them.

The switch and the format are OpenTelemetry's (semantic-conventions-genai, checked 2026-11-28). The
ledger never stores them: its records hold a list of allowed attributes, and these are not on it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from tokenledger._guard import LOGGER, Guard
from tokenledger._usage.fields import fields_of, parts
from tokenledger.instrumentors._base.message_parts import (
    answer_parts,
    message_parts,
    messages_of,
    parts_of,
    text_part,
    tool_definitions,
)
from tokenledger.instrumentors._base.streamed_answer import StreamedAnswer, output_message
from tokenledger_semconv.attributes import FINISH_REASONS
from tokenledger_semconv.content import (
    INPUT_MESSAGES,
    OUTPUT_MESSAGES,
    SYSTEM_INSTRUCTIONS,
    TOOL_DEFINITIONS,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tokenledger._usage.fields import Attributes
    from tokenledger.instrumentors._base.api_shape import Body, Shape
    from tokenledger.instrumentors._base.watch import StreamReader

CAPTURE_VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""OpenTelemetry's switch: `true`, or one of its newer values that name where the content goes."""


@dataclass(frozen=True, slots=True)
class Capture:
    """Where messages go.

    Args:
        on_spans: to the spans.
        as_events: to events of the app's logger provider.
    """

    on_spans: bool = False
    as_events: bool = False

    @property
    def is_on(self) -> bool:
        """Whether messages go anywhere."""
        return self.on_spans or self.as_events


_MODES: Final[Mapping[str, Capture]] = {
    "true": Capture(on_spans=True),
    "span_only": Capture(on_spans=True),
    "event_only": Capture(as_events=True),
    "span_and_event": Capture(on_spans=True, as_events=True),
}
_OFF: Final = frozenset({"", "false", "no_content"})


def requested_capture() -> Capture:
    """Where the environment asks messages to go; an unknown word captures nothing."""
    word = os.environ.get(CAPTURE_VARIABLE, "").strip().lower()
    if word not in _MODES and word not in _OFF:
        LOGGER.warning(
            "tokenledger: %s has a value that is unknown, so no message is captured; use one of "
            "true, false, span_only, event_only, span_and_event",
            CAPTURE_VARIABLE,
        )
    return _MODES.get(word, Capture())


class _EveryChunk:
    """In place of a shape's locator of text: every chunk is read in full."""

    def __init__(self) -> None:
        self.kind: Callable[[Any], str] = _no_kind
        self.texts: Mapping[str, Callable[[Any], str]] = {}


def _no_kind(_chunk: object) -> str:
    return ""


_EVERY_CHUNK: Final = _EveryChunk()


def with_content(shape: Shape) -> Shape:
    """The same shape, with messages among the attributes of its calls."""
    note, read, stream = shape.note, shape.read, shape.stream

    def note_all(body: Body, attributes: Attributes) -> None:
        if note is not None:
            note(body, attributes)
        with Guard("reading the messages of a request"):
            _add_request(attributes, body)

    def read_all(answer: object) -> Attributes:
        attributes: Attributes = {} if read is None else read(answer)
        with Guard("reading the messages of an answer"):
            _add_answer(attributes, answer)
        return attributes

    return replace(
        shape,
        note=note_all,
        read=None if read is None else read_all,
        stream=None if stream is None else _collecting(stream),
        text_of=None if stream is None else _EVERY_CHUNK,
    )


def _collecting(make: Callable[[], StreamReader]) -> Callable[[], StreamReader]:
    """Makes readers that also put the answer together."""

    def make_reader() -> StreamReader:
        reader = make()
        answer = StreamedAnswer()
        note, read = reader.note, reader.attributes
        own: Any = reader

        def note_all(chunk: object) -> bool:
            with Guard("reading the messages of a stream"):
                answer.add(chunk)
            return note(chunk)

        def read_all() -> Attributes:
            attributes: Attributes = read()
            with Guard("reading the messages of a stream"):
                if messages := answer.messages(_reasons(attributes)):
                    attributes[OUTPUT_MESSAGES] = _json(messages)
            return attributes

        # Set on the reader, which stays what it is: others look for its class.
        own.note, own.attributes = note_all, read_all
        return reader

    return make_reader


def _add_request(attributes: Attributes, body: Body) -> None:
    messages: Any = body.get("messages", body.get("input", body.get("prompt")))
    # An argument that was left out is a marker object of the SDK's own.
    if _is_readable(messages) and (sent := messages_of(messages, "user")):
        attributes[INPUT_MESSAGES] = _json(sent)
    instructions: Any = body.get("system", body.get("instructions"))
    if _is_readable(instructions):
        attributes[SYSTEM_INSTRUCTIONS] = _json(parts_of(instructions))
    if definitions := tool_definitions(body.get("tools")):
        attributes[TOOL_DEFINITIONS] = _json(definitions)


def _is_readable(value: object) -> bool:
    return isinstance(value, (str, list, tuple))


def _add_answer(attributes: Attributes, answer: object) -> None:
    fields = fields_of(answer)
    reasons = _reasons(attributes)
    if "choices" in fields:
        messages = [_choice(choice) for choice in parts(answer, "choices")]
    elif "output" in fields:
        messages = [output_message(answer_parts(fields["output"]), *(reasons[:1] or (None,)))]
    elif "content" in fields:
        messages = [output_message(parts_of(fields["content"]), *(reasons[:1] or (None,)))]
    else:
        return
    attributes[OUTPUT_MESSAGES] = _json(messages)


def _choice(choice: object) -> dict[str, Any]:
    fields = fields_of(choice)
    answer = message_parts(fields.get("message"))
    if isinstance(written := fields.get("text"), str):
        answer.append(text_part(written))
    return output_message(answer, fields.get("finish_reason"))


def _reasons(attributes: Attributes) -> tuple[str, ...]:
    reasons = attributes.get(FINISH_REASONS)
    return tuple(map(str, reasons)) if isinstance(reasons, (list, tuple)) else ()


def _json(value: object) -> str:
    return json.dumps(value, default=lambda other: f"<{type(other).__name__}>", ensure_ascii=False)
