"""Every billed OpenAI API: how it is called, what it answers, and what is counted."""

from __future__ import annotations

import base64
import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from support.loopback import Reply, said, streamed
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Callable

PROMPT = "canary-prompt"
MESSAGES: list[Any] = [{"role": "user", "content": PROMPT}]


class Weather(BaseModel):
    """The output that the model is asked for."""

    city: str


def completion(content: str = '{"city": "Oslo"}', reason: str = "stop") -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o-2024-08-06",
        "choices": [
            {
                "index": 0,
                "finish_reason": reason,
                "message": {"role": "assistant", "content": content},
            }
        ],
        "usage": {
            "prompt_tokens": 1_301,
            "completion_tokens": 107,
            "total_tokens": 1_408,
            "prompt_tokens_details": {"cached_tokens": 211, "audio_tokens": 13},
            "completion_tokens_details": {"reasoning_tokens": 17, "audio_tokens": 5},
        },
    }


COMPLETION_COUNTS = TokenVector(
    input_tokens=1_301,
    output_tokens=107,
    cached_tokens=211,
    audio_input_tokens=13,
    reasoning_tokens=17,
    audio_output_tokens=5,
)
_CHUNK = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-x"}
CHAT_CHUNKS = streamed(
    (
        {**_CHUNK, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {**_CHUNK, "choices": [{"index": 0, "delta": {"content": "Hi"}}]},
        {**_CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {**_CHUNK, "choices": [], "usage": completion()["usage"]},
    ),
    done=True,
)


def response(content: str = '{"city": "Oslo"}', **more: object) -> dict[str, Any]:
    text: dict[str, Any] = {"type": "output_text", "text": content, "annotations": []}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "model": "gpt-4o-2024-08-06",
        "output": [
            {"id": "ws_1", "type": "web_search_call", "status": "completed"},
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [text],
            },
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 1_409,
            "input_tokens_details": {"cached_tokens": 223},
            "output_tokens": 109,
            "output_tokens_details": {"reasoning_tokens": 19},
            "total_tokens": 1_518,
        },
        **more,
    }


RESPONSE_COUNTS = TokenVector(
    input_tokens=1_409,
    output_tokens=109,
    cached_tokens=223,
    reasoning_tokens=19,
    web_search_requests=1,
)
_STARTED = response(status="in_progress", usage=None, output=[])
RESPONSE_EVENTS = streamed(
    (
        {"type": "response.created", "sequence_number": 0, "response": _STARTED},
        {
            "type": "response.output_text.delta",
            "sequence_number": 1,
            "item_id": "msg_1",
            "output_index": 0,
            "content_index": 0,
            "delta": "Hi",
            "logprobs": [],
        },
        {"type": "response.completed", "sequence_number": 2, "response": response()},
    )
)
_TEXT_COMPLETION = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1,
    "model": "gpt-3.5-turbo-instruct",
    "choices": [{"index": 0, "text": "Hi", "finish_reason": "stop", "logprobs": None}],
    "usage": {"prompt_tokens": 31, "completion_tokens": 37, "total_tokens": 68},
}
TEXT_CHUNKS = streamed(
    (
        {**_TEXT_COMPLETION, "usage": None},
        {**_TEXT_COMPLETION, "choices": [], "usage": _TEXT_COMPLETION["usage"]},
    ),
    done=True,
)
_VECTOR = base64.b64encode(struct.pack("<2f", 0.5, 0.25)).decode()
EMBEDDED = said(
    {
        "object": "list",
        "model": "text-embedding-3-small",
        "data": [{"object": "embedding", "index": 0, "embedding": _VECTOR}],
        "usage": {"prompt_tokens": 41, "total_tokens": 41},
    }
)
_IMAGE_USAGE = {
    "input_tokens": 43,
    "output_tokens": 4_160,
    "total_tokens": 4_203,
    "input_tokens_details": {"text_tokens": 12, "image_tokens": 31},
}
_IMAGE = {"b64_json": "aGk="}
PAINTED = said({"created": 1, "data": [_IMAGE, _IMAGE], "usage": _IMAGE_USAGE})
PAINTED_COUNTS = TokenVector(
    input_tokens=43, output_tokens=4_160, image_input_tokens=31, image_output_tokens=4_160, images=2
)
PAINTED_EVENTS = streamed(
    (
        {"type": "image_generation.partial_image", "partial_image_index": 0, "b64_json": "aGk="},
        {"type": "image_generation.completed", "b64_json": "aGk=", "usage": _IMAGE_USAGE},
    )
)
_HEARD_USAGE = {
    "type": "tokens",
    "input_tokens": 47,
    "output_tokens": 53,
    "total_tokens": 100,
    "input_token_details": {"text_tokens": 4, "audio_tokens": 43},
}
HEARD_COUNTS = TokenVector(input_tokens=47, output_tokens=53, audio_input_tokens=43)
HEARD_EVENTS = streamed(
    (
        {"type": "transcript.text.delta", "delta": "Hi"},
        {"type": "transcript.text.done", "text": "Hi", "usage": _HEARD_USAGE},
    )
)
SPOKEN = Reply(b"\x00\x01{not json\xff", "audio/mpeg")
SPOKEN_EVENTS = streamed(
    (
        {"type": "speech.audio.delta", "audio": "AAEC"},
        {
            "type": "speech.audio.done",
            "usage": {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115},
        },
    )
)
_MODERATED = said({"id": "modr-1", "model": "omni-moderation-latest", "results": []})


def _sound() -> dict[str, Any]:
    return {"model": "gpt-4o-transcribe", "file": ("canary.mp3", io.BytesIO(b"sound"))}


@dataclass(frozen=True)
class Case:
    """One way to call OpenAI, the answer, and the counts that the span must have."""

    method: str
    path: str
    reply: Reply
    counts: TokenVector
    arguments: Callable[[], dict[str, Any]]
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.method


def _case(
    name: str, method: str, path: str, reply: Reply, counts: TokenVector, **arguments: object
) -> Case:
    return Case(method, path, reply, counts, lambda: dict(arguments), name=name)


_CHAT = {"model": "gpt-4o", "messages": MESSAGES}
_ASK = {"model": "gpt-4o", "input": PROMPT}
_PAINT = {"model": "gpt-image-1", "prompt": PROMPT}
_TEXT = {"model": "gpt-3.5-turbo-instruct", "prompt": PROMPT}
# Plain numbers: the oldest releases need numpy to decode the format they request.
_EMBED = {"model": "text-embedding-3-small", "input": PROMPT, "encoding_format": "float"}
_TEXT_COUNTS = TokenVector(input_tokens=31, output_tokens=37)
_SPEAK = {"model": "tts-1", "voice": "alloy", "input": PROMPT}
_CHARACTERS = TokenVector(input_characters=len(PROMPT))
_CHATS, _RESPONSES, _SPEECH = "/chat/completions", "/responses", "/audio/speech"
_PAINTS, _EDITS, _HEARS = "/images/generations", "/images/edits", "/audio/transcriptions"


def _heard(name: str, reply: Reply, counts: TokenVector, **more: object) -> Case:
    method = "audio.transcriptions.create"
    return Case(method, _HEARS, reply, counts, lambda: {**_sound(), **more}, name=name)


def _edited(name: str, reply: Reply, counts: TokenVector, **more: object) -> Case:
    def arguments() -> dict[str, Any]:
        return {**_PAINT, "image": ("canary.png", io.BytesIO(b"image")), **more}

    return Case("images.edit", _EDITS, reply, counts, arguments, name=name)


CASES = (
    _case(
        "chat", "chat.completions.create", _CHATS, said(completion()), COMPLETION_COUNTS, **_CHAT
    ),
    _case(
        "chat parse",
        "chat.completions.parse",
        _CHATS,
        said(completion()),
        COMPLETION_COUNTS,
        **_CHAT,
        response_format=Weather,
    ),
    _case(
        "chat stream",
        "chat.completions.create",
        _CHATS,
        CHAT_CHUNKS,
        COMPLETION_COUNTS,
        **_CHAT,
        stream=True,
    ),
    _case(
        "chat helper", "chat.completions.stream", _CHATS, CHAT_CHUNKS, COMPLETION_COUNTS, **_CHAT
    ),
    _case("response", "responses.create", _RESPONSES, said(response()), RESPONSE_COUNTS, **_ASK),
    _case(
        "response parse",
        "responses.parse",
        _RESPONSES,
        said(response()),
        RESPONSE_COUNTS,
        **_ASK,
        text_format=Weather,
    ),
    _case(
        "response stream",
        "responses.create",
        _RESPONSES,
        RESPONSE_EVENTS,
        RESPONSE_COUNTS,
        **_ASK,
        stream=True,
    ),
    _case(
        "beta response",
        "beta.responses.create",
        _RESPONSES,
        said(response()),
        RESPONSE_COUNTS,
        **_ASK,
    ),
    _case(
        "beta response stream",
        "beta.responses.create",
        _RESPONSES,
        RESPONSE_EVENTS,
        RESPONSE_COUNTS,
        **_ASK,
        stream=True,
    ),
    _case(
        "compaction",
        "responses.compact",
        "/responses/compact",
        said(response()),
        TokenVector(input_tokens=1_409, output_tokens=109, cached_tokens=223, reasoning_tokens=19),
        **_ASK,
    ),
    _case(
        "decision",
        "decisions.create",
        "/decisions",
        said({"answers": [], "model": "gpt-4o", "usage": response()["usage"]}),
        TokenVector(input_tokens=1_409, output_tokens=109, cached_tokens=223, reasoning_tokens=19),
        **_ASK,
        questions=[],
    ),
    _case(
        "completion",
        "completions.create",
        "/completions",
        said(_TEXT_COMPLETION),
        _TEXT_COUNTS,
        **_TEXT,
    ),
    _case(
        "completion stream",
        "completions.create",
        "/completions",
        TEXT_CHUNKS,
        _TEXT_COUNTS,
        **_TEXT,
        stream=True,
    ),
    _case(
        "embedding",
        "embeddings.create",
        "/embeddings",
        EMBEDDED,
        TokenVector(input_tokens=41),
        **_EMBED,
    ),
    _case("image", "images.generate", _PAINTS, PAINTED, PAINTED_COUNTS, **_PAINT),
    _edited("image edit", PAINTED, PAINTED_COUNTS),
    _case(
        "image without usage",
        "images.generate",
        _PAINTS,
        said({"created": 1, "data": [{"url": "https://example.com/1.png"}] * 3}),
        TokenVector(images=3),
        model="dall-e-3",
        prompt=PROMPT,
        n=3,
    ),
    _case(
        "image stream",
        "images.generate",
        _PAINTS,
        PAINTED_EVENTS,
        TokenVector(
            input_tokens=43,
            output_tokens=4_160,
            image_input_tokens=31,
            image_output_tokens=4_160,
            images=1,
        ),
        **_PAINT,
        stream=True,
    ),
    _heard("transcription", said({"text": "Hi", "usage": _HEARD_USAGE}), HEARD_COUNTS),
    _heard(
        "transcription by length",
        said({"text": "Hi", "usage": {"type": "duration", "seconds": 59}}),
        TokenVector(audio_seconds=59),
    ),
    _heard(
        "transcription verbose",
        said({"task": "transcribe", "language": "no", "duration": 60.1, "text": "Hi"}),
        TokenVector(audio_seconds=61),
        response_format="verbose_json",
    ),
    _heard("transcription text", Reply(b"Hi", "text/plain"), TokenVector(), response_format="text"),
    _heard("transcription stream", HEARD_EVENTS, HEARD_COUNTS, stream=True),
    Case(
        "audio.translations.create",
        "/audio/translations",
        said({"task": "translate", "language": "no", "duration": 2.5, "text": "Hi"}),
        TokenVector(audio_seconds=3),
        lambda: {**_sound(), "model": "whisper-1", "response_format": "verbose_json"},
    ),
    _case("speech", "audio.speech.create", _SPEECH, SPOKEN, _CHARACTERS, **_SPEAK),
    _case(
        "moderation", "moderations.create", "/moderations", _MODERATED, TokenVector(), input=PROMPT
    ),
)
