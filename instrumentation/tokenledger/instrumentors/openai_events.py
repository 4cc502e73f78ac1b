"""What OpenAI's streams of typed events say: responses, images, transcripts, speech.

Chat streams, whose chunks have no type, are read in `openai_usage`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from tokenledger.instrumentors.body import read_events
from tokenledger.instrumentors.estimate import (
    ONE_CHUNK,
    OPENAI_TOOL_CALL,
    estimate,
    estimated_input,
    estimated_output,
)
from tokenledger.instrumentors.openai_usage import (
    RESPONSE_ENDINGS,
    read_audio,
    read_images,
    read_response,
)
from tokenledger.reading import fields_of
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tokenledger.reading import Found


class EventStream:
    """What a stream of typed events says, whose last one carries the answer or its usage.

    Args:
        read: reads the answer, or the event itself where it is the answer.
        endings: the events that carry it, with the field it is in; "" is the event itself.
        texts: the events that bring text.
    """

    def __init__(
        self,
        read: Callable[[object], Found],
        endings: Mapping[str, str],
        texts: Mapping[str, Callable[[Any], str]],
    ) -> None:
        self._read = read
        self._endings = endings
        self._texts = texts
        self._found: Found = {}
        self._error: Found = {}
        self._is_whole = False

    def note(self, chunk: object) -> bool:
        """Read one event; none is ever kept from the app."""
        told = fields_of(chunk)
        kind = told.get("type")
        if kind == "error":
            self._error = {names.ERROR_TYPE: "error"}
        elif kind == "response.created":
            self._found = {**self._found, **self._read(told.get("response"))}
        elif isinstance(kind, str) and kind in self._endings:
            field = self._endings[kind]
            # Over what is known: an answer without id or model takes neither away.
            self._found = {**self._found, **self._read(told.get(field) if field else chunk)}
            self._error = {}
            self._is_whole = True
        return False

    def weigh(self, chunk: object) -> int:
        """The text an event brings."""
        told = fields_of(chunk)
        if name := fields_of(told.get("item")).get("name"):
            # Told when a tool call begins and again when it is done.
            is_begun = str(told.get("type")).endswith(".added")
            return len(name) + ONE_CHUNK + OPENAI_TOOL_CALL if is_begun else 0
        if told.get("type") not in self._texts:
            return 0
        return len(told.get("delta") or told.get("text") or "") + ONE_CHUNK

    def found(self) -> Found:
        """What was read so far."""
        return {**self._found, **self._error}

    def estimated(self, weight: int, request_body: bytes) -> Found:
        """Output by its text, input by the request's; nothing if the answer came."""
        if self._is_whole:
            return {}
        return estimate(estimated_output(weight), estimated_input(request_body))


class TypedText:
    """Where the text of OpenAI's typed events is: in `delta`, whatever the kind.

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
"""Streams of images and speech bring none."""


def response_stream() -> EventStream:
    """A Responses stream: the first event names the model, the last brings the usage."""
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
    """Speech asked for as events (`stream_format="sse"`); the last one brings the usage."""
    return EventStream(read_audio, {_SPEECH_DONE: ""}, {})


def read_speech(answer: object) -> Found:
    """Speech that was read whole; sound alone tells nothing."""
    response = getattr(answer, "response", None)
    reader = speech_stream()
    for event in [] if response is None else read_events(response):
        reader.note(event)
    return reader.found()


def _read_streamed_image(event: object) -> Found:
    told = fields_of(event)
    counted = {"usage": told.get("usage"), "svg_usage": told.get("svg_usage")}
    return {**read_images(counted), names.IMAGES: 1}
