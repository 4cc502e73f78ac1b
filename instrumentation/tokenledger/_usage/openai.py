"""Reads OpenAI's answers into span attributes: pure functions over SDK objects or plain JSON.

Source: the usage types of openai 1.x, 2.0.0 and 3.54.0, read 2026-11-22. OpenAI's input already
includes cached tokens, and its output includes reasoning, as the contract requires. A test holds
these fast readers to the plain one, `tokenledger_semconv.usage.openai`.
"""

from __future__ import annotations

import math
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from tokenledger._usage.estimate import (
    ONE_CHUNK,
    OPENAI_TOOL_CALL,
    estimate,
    estimated_input,
    estimated_output,
)
from tokenledger._usage.fields import (
    CountMap,
    FieldMap,
    add_counts,
    add_usage,
    epoch_nanoseconds,
    fields_of,
    head_of,
    parts,
    text,
)
from tokenledger._usage.finish_reasons import (
    CALLED_TOOLS,
    CALLS_OF_APP,
    STOPPED,
    UNFINISHED,
    add_ending,
)
from tokenledger._usage.openai_compatible import add_compatible_usage
from tokenledger._usage.openai_tools import TOOL_KINDS, add_svg, add_tools
from tokenledger_semconv import attributes as names
from tokenledger_semconv.tokens import MAX_COUNT
from tokenledger_semconv.usage.openai import chat_tokens, response_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tokenledger._usage.fields import Attributes

RESPONSE_ENDINGS: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed"}
)
"""Events of a Responses stream that contain the whole response with its usage."""

# Blank means absent: late chunks of Azure's asynchronous content filter have "" as id and model.
_HEAD: Final = FieldMap(
    {
        "model": names.RESPONSE_MODEL,
        "id": names.RESPONSE_ID,
        "service_tier": names.OPENAI_SERVICE_TIER,
        "system_fingerprint": names.OPENAI_SYSTEM_FINGERPRINT,
    }
)
_CHAT_COUNTS: Final = ("prompt_tokens", "completion_tokens", "total_tokens")
_COUNTS: Final = ("input_tokens", "output_tokens", "total_tokens")
_INPUT_DETAILS: Final = CountMap(
    {
        "cached_tokens": names.CACHE_READ_TOKENS,
        "cache_write_tokens": names.CACHE_WRITE_TOKENS,
        "audio_tokens": names.AUDIO_INPUT_TOKENS,
        "image_tokens": names.IMAGE_INPUT_TOKENS,
    }
)
_CACHED_DETAILS: Final = CountMap(
    {
        "audio_tokens": names.CACHED_AUDIO_TOKENS,
        "image_tokens": names.CACHED_IMAGE_TOKENS,
    }
)
_OUTPUT_DETAILS: Final = CountMap(
    {
        "reasoning_tokens": names.REASONING_TOKENS,
        "audio_tokens": names.AUDIO_OUTPUT_TOKENS,
        "image_tokens": names.IMAGE_OUTPUT_TOKENS,
    }
)
# The fields of OpenAI's own usage objects, which are read fast. Any other host's may mean anything.
_CHAT_FIELDS: Final = frozenset(
    {*_CHAT_COUNTS, "prompt_tokens_details", "completion_tokens_details"}
)
_FIELDS: Final = frozenset(
    {
        *(*_COUNTS, "type", "input_tokens_details", "output_tokens_details"),
        *("input_token_details", "output_token_details"),
    }
)
_INPUT_FIELDS: Final = frozenset(
    {
        *(*_INPUT_DETAILS.fields, "text_tokens"),
        *("cached_tokens_details", "cache_write_tokens_details"),
    }
)
_NO_FIELDS: Final[Mapping[str, Any]] = {}
_TEXTS: Final = ("content", "refusal", "reasoning_content", "reasoning")
_REASONS: Final = names.FINISH_REASONS
# The most a request can ask for: `n` is at most 128 (OpenAI's API reference, 2026-11-28).
_MAX_CHOICES: Final = 128


def read_chat(completion: object) -> Attributes:
    """A chat completion, or a legacy completion."""
    fields = fields_of(completion)
    attributes = head_of(fields, _HEAD)
    reasons = [
        reason
        for choice in fields.get("choices") or ()
        if (reason := fields_of(choice).get("finish_reason")).__class__ is str
    ]
    if reasons:
        attributes[names.FINISH_REASONS] = tuple(reasons[:_MAX_CHOICES])
    add_chat_usage(attributes, fields.get("usage"))
    return attributes


def read_response(response: object) -> Attributes:
    """An answer of the Responses API, with what its hosted tools used."""
    fields = fields_of(response)
    attributes = head_of(fields, _HEAD)
    usage = fields.get("usage")
    kinds = [str(fields_of(item).get("type")) for item in fields.get("output") or ()]
    if fields.get("status") == "completed":
        attributes[_REASONS] = STOPPED if CALLS_OF_APP.isdisjoint(kinds) else CALLED_TOOLS
    else:
        add_ending(attributes, fields, fields.get("incomplete_details"), fields.get("error"))
    if usage is not None:
        has_items = not TOOL_KINDS.isdisjoint(kinds)
        if has_items or fields.get("tool_usage"):
            add_tools(attributes, fields, has_items=has_items)
        add_response_usage(attributes, usage)
    if fields.get("background") is True:
        _add_identity(attributes, fields)
    return attributes


def read_retrieved(response: object) -> Attributes | None:
    """A response that was fetched again; `None` unless it ran in the background and is done.

    Any other response was recorded when it was created.
    """
    fields = fields_of(response)
    if fields.get("background") is not True or fields.get("status") in UNFINISHED:
        return None
    return read_response(response)


def read_usage(answer: object) -> Attributes:
    """An answer that holds its model and its usage: embeddings, compaction, moderation."""
    fields = fields_of(answer)
    attributes = head_of(fields, _HEAD)
    usage = fields.get("usage")
    if "input_tokens" in fields_of(usage):
        add_response_usage(attributes, usage)
    else:
        add_chat_usage(attributes, usage)
    return attributes


def read_images(images: object) -> Attributes:
    """Generated or edited images: tokens for models billed by tokens, else the number of images."""
    fields = fields_of(images)
    attributes: Attributes = {names.IMAGES: len(parts(images, "data"))}
    usage = fields.get("usage")
    add_response_usage(attributes, usage)
    if names.OUTPUT_TOKENS in attributes and names.IMAGE_OUTPUT_TOKENS not in attributes:
        # The whole output of such a model is images, unless it says otherwise.
        # Ref: openai 3.54.0 types/images_response.py, `output_tokens`, read 2026-11-22.
        attributes[names.IMAGE_OUTPUT_TOKENS] = attributes[names.OUTPUT_TOKENS]
    add_svg(attributes, fields.get("svg_usage"))
    return attributes


def read_audio(answer: object) -> Attributes:
    """A transcription or translation, billed by tokens or by the length of the audio."""
    fields = fields_of(answer)
    usage = fields.get("usage")
    attributes: Attributes = {}
    seconds = _whole_seconds(fields_of(usage).get("seconds", fields.get("duration")))
    if seconds is not None:
        attributes[names.AUDIO_SECONDS] = seconds
        add_usage(attributes, usage)
    else:
        add_response_usage(attributes, usage)
    return attributes


def _whole_seconds(length: object) -> int | None:
    """A length of audio, which a transcript may give as text; `None` if it is not a length."""
    try:
        seconds = float(length) if isinstance(length, (int, float, str)) else math.nan
    except (ValueError, OverflowError):
        return None
    return math.ceil(seconds) if 0 <= seconds <= MAX_COUNT else None


def add_chat_usage(attributes: Attributes, usage: object) -> None:
    """The usage object of the chat, completions and embeddings APIs."""
    if usage is None:
        return
    fields = fields_of(usage)
    details, outputs = fields.get("prompt_tokens_details"), fields.get("completion_tokens_details")
    inputs = _NO_FIELDS if details is None else fields_of(details)
    if (
        not _add_totals(attributes, fields, _CHAT_COUNTS, _CHAT_FIELDS)
        or not inputs.keys() <= _INPUT_FIELDS
        or "cached_tokens_details" in inputs
    ):
        add_compatible_usage(attributes, usage, chat_tokens)
        return
    if inputs:
        add_counts(attributes, inputs, _INPUT_DETAILS)
    if outputs is not None:
        add_counts(attributes, fields_of(outputs), _OUTPUT_DETAILS)
    add_usage(attributes, usage)


def add_response_usage(attributes: Attributes, usage: object) -> None:
    """The usage object of the responses, images, audio and realtime APIs."""
    if usage is None:
        return
    fields = fields_of(usage)
    details = fields.get("input_tokens_details") or fields.get("input_token_details")
    outputs = fields.get("output_tokens_details") or fields.get("output_token_details")
    inputs = _NO_FIELDS if details is None else fields_of(details)
    if not _add_totals(attributes, fields, _COUNTS, _FIELDS) or not inputs.keys() <= _INPUT_FIELDS:
        add_compatible_usage(attributes, usage, response_tokens)
        return
    if inputs:
        add_counts(attributes, inputs, _INPUT_DETAILS)
        if (cached := inputs.get("cached_tokens_details")) is not None:
            add_counts(attributes, fields_of(cached), _CACHED_DETAILS)
    if outputs is not None:
        add_counts(attributes, fields_of(outputs), _OUTPUT_DETAILS)
    add_usage(attributes, usage)


def _add_totals(
    attributes: Attributes,
    fields: Mapping[str, Any],
    counts: tuple[str, ...],
    known: frozenset[str],
) -> bool:
    """Add input and output of a usage object that has only known fields and adds up; else False."""
    totals: Iterable[Any] = map(fields.get, counts)
    read, written, whole = totals
    output = 0 if written is None else written
    if (
        read.__class__ is output.__class__ is whole.__class__ is int
        and whole == read + output
        and fields.keys() <= known
    ):
        attributes[names.INPUT_TOKENS] = read
        if written is not None:
            attributes[names.OUTPUT_TOKENS] = written
        return True
    return False


def _add_identity(attributes: Attributes, fields: Mapping[str, Any]) -> None:
    """A background response is one call, however often it is fetched, and by any process."""
    if identity := fields.get("id"):
        attributes[names.CALL_ID] = f"openai.response:{identity}"
    if (created := epoch_nanoseconds(fields.get("created_at"))) is not None:
        attributes[names.CALL_STARTED_NS] = created


class ChatStream:
    """Reads a chat stream: an early chunk names the model, a later one brings the usage.

    Azure's first chunk (the result of its prompt filter) names no model. Recorded streams,
    2026-11-22.

    Args:
        hides_usage: whether to hide the chunk with the usage, because only we asked for it.

    `on_unasked_usage` is called if the usage arrives although it was not requested.
    """

    def __init__(self, *, hides_usage: bool = False) -> None:
        self.hides_usage = hides_usage
        self.on_unasked_usage: Callable[[], None] | None = None
        self._head: Attributes = {}
        self._reasons: dict[int, str] = {}
        self._usage: object = None

    def note(self, chunk: object) -> bool:
        """Read one chunk; True hides it from the app."""
        fields = fields_of(chunk)
        self._head = {**self._head, **head_of(fields, _HEAD)}
        choices = fields.get("choices") or ()
        for choice in choices:
            choice_fields = fields_of(choice)
            reason = choice_fields.get("finish_reason")
            if isinstance(reason, str) and reason and len(self._reasons) < _MAX_CHOICES:
                self._reasons[choice_fields.get("index", 0)] = reason
        usage = fields.get("usage")
        if usage is not None:
            self._note_usage(usage)
        elif "x_groq" in fields:
            # Groq's streams report the usage here if the request does not ask for it.
            self._note_own_usage(fields_of(fields["x_groq"]).get("usage"))
        if not self.hides_usage:
            return False
        # The fields an SDK's object was sent with; a plain chunk of a raw body has no such list.
        sent = getattr(chunk, "__pydantic_fields_set__", None)
        if usage is None or fields.get("moderation") is not None:
            if sent is not None:
                # Asking for the usage puts this field on every chunk.
                sent.discard("usage")
                if usage is not None:
                    # A moderated completion sends this chunk in any case, but without the usage.
                    vars(chunk)["usage"] = None
            return False
        if sent:
            # The stream's loop removed the field from every chunk, but this one does have it.
            sent.add("usage")
        return not choices

    def _note_own_usage(self, usage: object) -> None:
        if self._usage is None and _has_counts(usage):
            self._usage = usage

    def _note_usage(self, usage: object) -> None:
        has_counts = _has_counts(usage)
        if self._usage is None or has_counts:
            self._usage = usage
        if has_counts and self.on_unasked_usage is not None:
            self.on_unasked_usage()
            self.on_unasked_usage = None

    def weigh(self, chunk: object) -> int:
        """The text of a chunk, of its tool calls and of the reasoning that a host shows."""
        characters = tool_calls = 0
        for choice in fields_of(chunk).get("choices") or ():
            delta = fields_of(fields_of(choice).get("delta"))
            characters += sum(map(len, filter(None, map(delta.get, _TEXTS))))
            for tool_call in delta.get("tool_calls") or ():
                function = fields_of(fields_of(tool_call).get("function"))
                characters += len(function.get("name") or "") + len(function.get("arguments") or "")
                tool_calls += bool(function.get("name"))
        return characters and characters + ONE_CHUNK + tool_calls * OPENAI_TOOL_CALL

    def attributes(self) -> Attributes:
        """What was read so far."""
        attributes = dict(self._head)
        if self._reasons:
            ordered = sorted(self._reasons.items())
            attributes[names.FINISH_REASONS] = tuple(reason for _, reason in ordered)
        add_chat_usage(attributes, self._usage)
        return attributes

    def estimated(self, weight: int, request_body: bytes) -> Attributes:
        """Output by its text, input by the request's; empty if the usage arrived."""
        if self._usage is not None:
            return {}
        return estimate(estimated_output(weight), estimated_input(request_body))


def _has_counts(usage: object) -> bool:
    """Whether a later usage object holds more than zeros."""
    fields = fields_of(usage)
    return bool(fields.get("prompt_tokens") or fields.get("completion_tokens"))


class CompletionStream(ChatStream):
    """Reads a legacy completion stream: like a chat stream, with its text elsewhere."""

    def weigh(self, chunk: object) -> int:
        """The text of a chunk."""
        characters = sum(len(text(choice, "text") or "") for choice in parts(chunk, "choices"))
        return characters and characters + ONE_CHUNK


class _CompletionText:
    """Legacy completions have one kind of chunk."""

    def __init__(self) -> None:
        self.kind: Callable[[Any], str] = attrgetter("object")
        self.texts: Mapping[str, Callable[[Any], str]] = {}


COMPLETION_TEXT: Final = _CompletionText()
"""Every chunk of a legacy completion is read in full: they are rare, their text is in a list."""
