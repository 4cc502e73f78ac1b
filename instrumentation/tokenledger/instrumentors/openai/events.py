"""Readers of OpenAI's streams of typed events: responses, images, transcripts, speech.

Chat streams, whose chunks have no type, are read in `tokenledger._usage.openai`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from tokenledger._usage.estimate import (
    ONE_CHUNK,
    OPENAI_TOOL_CALL,
    estimate,
    estimated_input,
    estimated_output,
)
from tokenledger._usage.fields import fields_of, text
from tokenledger._usage.openai import (
    RESPONSE_ENDINGS,
    read_audio,
    read_images,
    read_response,
)
from tokenledger.instrumentors._base.http_body import read_events
from tokenledger_semconv import attributes as names
from tokenledger_semconv.dimensions import MAX_VALUE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tokenledger._usage.fields import Attributes


class EventStream:
    """Reads a stream of typed events, whose last event holds the answer or its usage.

    Args:
        read: reads the answer, or the event itself if it is the answer.
        endings: kind of event -> the field that holds the answer; "" is the event itself.
        texts: the kinds of event that bring text.
    """

    def __init__(
        self,
        read: Callable[[object], Attributes],
        endings: Mapping[str, str],
        texts: Mapping[str, Callable[[Any], str]],
    ) -> None:
        self._read = read
        self._endings = endings
        self._texts = texts
        self._attributes: Attributes = {}
        self._error: Attributes = {}
        self._is_whole = False

    def note(self, chunk: object) -> bool:
        """Read one event; none is hidden from the app."""
        fields = fields_of(chunk)
        kind = fields.get("type")
        if kind == "error":
            self._error = {names.ERROR_TYPE: (text(chunk, "code") or "error")[:MAX_VALUE_LENGTH]}
        elif kind == "response.created":
            self._attributes = {**self._attributes, **self._read(fields.get("response"))}
        elif isinstance(kind, str) and kind in self._endings:
            field = self._endings[kind]
            # Merged: an answer without an id or a model removes neither.
            self._attributes = {
                **self._attributes,
                **self._read(fields.get(field) if field else chunk),
            }
            self._error = {}
            self._is_whole = True
        return False

    def weigh(self, chunk: object) -> int:
        """The text an event brings."""
        fields = fields_of(chunk)
        if name := fields_of(fields.get("item")).get("name"):
            # A tool call has one event at its start and one at its end.
            is_start = str(fields.get("type")).endswith(".added")
            return len(name) + ONE_CHUNK + OPENAI_TOOL_CALL if is_start else 0
        if fields.get("type") not in self._texts:
            return 0
        return len(fields.get("delta") or fields.get("text") or "") + ONE_CHUNK

    def attributes(self) -> Attributes:
        """What was read so far."""
        return {**self._attributes, **self._error}

    def estimated(self, weight: int, request_body: bytes) -> Attributes:
        """Output by its text, input by the request's; empty if the answer arrived."""
        if self._is_whole:
            return {}
        return estimate(estimated_output(weight), estimated_input(request_body))


class TypedText:
    """Locates the text of OpenAI's typed events: in `delta`, whatever the kind.

    Args:
        kinds: the kinds that bring text.
    """

    def __init__(self, kinds: Iterable[str]) -> None:
        self.kind: Callable[[Any], str] = attrgetter("type")
        self.texts: Mapping[str, Callable[[Any], str]] = dict.fromkeys(kinds, attrgetter("delta"))


RESPONSE_TEXT: Final = TypedText(
    (
        "response.output_text.delta",
        "response.refusal.delta",
        "response.function_call_arguments.delta",
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
        "response.mcp_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.code_interpreter_call_code.delta",
    )
)
"""The text of a Responses stream."""

TRANSCRIPT_TEXT: Final = TypedText(("transcript.text.delta",))
"""The text of a transcription stream."""

_SPEECH_DONE: Final = "speech.audio.done"

NO_TEXT: Final = TypedText(())
"""Streams of images and speech bring no text."""


def response_stream() -> EventStream:
    """A Responses stream: the first event names the model, the last one brings the usage."""
    endings = dict.fromkeys(RESPONSE_ENDINGS, "response")
    return EventStream(read_response, endings, RESPONSE_TEXT.texts)


def image_stream() -> EventStream:
    """A stream of partial images; the last one brings the usage of all."""
    endings = {"image_generation.completed": "", "image_edit.completed": ""}
    return EventStream(_read_streamed_image, endings, {})


def transcript_stream() -> EventStream:
    """A transcription stream; its last event brings the usage."""
    return EventStream(read_audio, {"transcript.text.done": ""}, TRANSCRIPT_TEXT.texts)


def speech_stream() -> EventStream:
    """Speech requested as events (`stream_format="sse"`); the last one brings the usage."""
    return EventStream(read_audio, {_SPEECH_DONE: ""}, {})


def read_speech(answer: object) -> Attributes:
    """Speech that was read whole; sound without events holds no usage."""
    response = getattr(answer, "response", None)
    reader = speech_stream()
    for event in [] if response is None else read_events(response):
        reader.note(event)
    return reader.attributes()


def _read_streamed_image(event: object) -> Attributes:
    fields = fields_of(event)
    usages = {"usage": fields.get("usage"), "svg_usage": fields.get("svg_usage")}
    return {**read_images(usages), names.IMAGES: 1}
