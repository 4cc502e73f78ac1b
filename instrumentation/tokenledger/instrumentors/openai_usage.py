"""Reading OpenAI's answers into span attributes: pure functions over SDK objects or plain JSON.

Source: the usage types of openai 1.x, 2.0.0 and 3.54.0, read 2026-11-22. OpenAI's input counts
already include cached tokens and its output counts reasoning, which is the shape the contract asks
for.
"""

from __future__ import annotations

import math
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from tokenledger.instrumentors.estimate import (
    ONE_CHUNK,
    OPENAI_TOOL_CALL,
    estimate,
    estimated_input,
    estimated_output,
)
from tokenledger.instrumentors.openai_tools import TOOL_KINDS, add_svg, add_tools
from tokenledger.reading import (
    Counts,
    Fields,
    add_counts,
    add_usage,
    epoch_nanoseconds,
    fields_of,
    head_of,
    parts,
    text,
)
from tokenledger_semconv import attributes as names
from tokenledger_semconv.dimensions import MAX_VALUE_LENGTH
from tokenledger_semconv.tokens import MOST_COUNTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tokenledger.reading import Found

RESPONSE_ENDINGS: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed"}
)
"""Events of a Responses stream that carry the whole response with its usage."""

# Blank is not told: Azure's late chunks of an asynchronous content filter have "" for id and model.
_HEAD: Final = Fields(
    {
        "model": names.RESPONSE_MODEL,
        "id": names.RESPONSE_ID,
        "service_tier": names.OPENAI_SERVICE_TIER,
        "system_fingerprint": names.OPENAI_SYSTEM_FINGERPRINT,
    }
)
_CHAT_COUNTS: Final = Counts(
    {
        "prompt_tokens": names.INPUT_TOKENS,
        "completion_tokens": names.OUTPUT_TOKENS,
    }
)
_COUNTS: Final = Counts(
    {
        "input_tokens": names.INPUT_TOKENS,
        "output_tokens": names.OUTPUT_TOKENS,
    }
)
_INPUT_DETAILS: Final = Counts(
    {
        "cached_tokens": names.CACHE_READ_TOKENS,
        "cache_write_tokens": names.CACHE_WRITE_TOKENS,
        "audio_tokens": names.AUDIO_INPUT_TOKENS,
        "image_tokens": names.IMAGE_INPUT_TOKENS,
    }
)
_CACHED_DETAILS: Final = Counts(
    {
        "audio_tokens": names.CACHED_AUDIO_TOKENS,
        "image_tokens": names.CACHED_IMAGE_TOKENS,
    }
)
_OUTPUT_DETAILS: Final = Counts(
    {
        "reasoning_tokens": names.REASONING_TOKENS,
        "audio_tokens": names.AUDIO_OUTPUT_TOKENS,
        "image_tokens": names.IMAGE_OUTPUT_TOKENS,
    }
)
_TEXTS: Final = ("content", "refusal", "reasoning_content", "reasoning")
_UNFINISHED: Final = frozenset({"queued", "in_progress"})
# As many as a request can ask for: `n` is 128 at most (OpenAI's API reference, 2026-11-28).
_MOST_CHOICES: Final = 128
_MOST_DOLLARS: Final = 10**12


def read_chat(completion: object) -> Found:
    """A chat completion, or a legacy completion."""
    told = fields_of(completion)
    found = head_of(told, _HEAD)
    reasons = [
        reason
        for choice in told.get("choices") or ()
        if (reason := fields_of(choice).get("finish_reason")).__class__ is str
    ]
    if reasons:
        found[names.FINISH_REASONS] = tuple(reasons[:_MOST_CHOICES])
    add_chat_usage(found, told.get("usage"))
    return found


def read_response(response: object) -> Found:
    """An answer of the Responses API, and what its hosted tools used."""
    told = fields_of(response)
    found = head_of(told, _HEAD)
    status = told.get("status")
    if isinstance(status, str) and status not in _UNFINISHED:
        found[names.FINISH_REASONS] = (status[:MAX_VALUE_LENGTH],)
        if status == "failed":
            found[names.ERROR_TYPE] = "response.failed"
    usage = told.get("usage")
    if usage is not None:
        kinds = [str(fields_of(item).get("type")) for item in told.get("output") or ()]
        has_items = not TOOL_KINDS.isdisjoint(kinds)
        if has_items or told.get("tool_usage"):
            add_tools(found, told, has_items=has_items)
        add_response_usage(found, usage)
    if told.get("background") is True:
        _add_identity(found, told)
    return found


def read_retrieved(response: object) -> Found | None:
    """A response that was fetched again; `None` unless it ran in the background and is done.

    Any other was booked when it was made.
    """
    told = fields_of(response)
    if told.get("background") is not True or told.get("status") in _UNFINISHED:
        return None
    return read_response(response)


def read_usage(answer: object) -> Found:
    """An answer that says its model and its usage: embeddings, compaction, moderation."""
    told = fields_of(answer)
    found = head_of(told, _HEAD)
    usage = told.get("usage")
    if "prompt_tokens" in fields_of(usage):
        add_chat_usage(found, usage)
    else:
        add_response_usage(found, usage)
    return found


def read_images(images: object) -> Found:
    """Generated or edited images: tokens for the models billed by them, else how many images."""
    told = fields_of(images)
    found: Found = {names.IMAGES: len(parts(images, "data"))}
    usage = told.get("usage")
    add_response_usage(found, usage)
    if names.OUTPUT_TOKENS in found and names.IMAGE_OUTPUT_TOKENS not in found:
        # All that such a model puts out is image, unless it says otherwise.
        # Ref: openai 3.54.0 types/images_response.py, `output_tokens`, read 2026-11-22.
        found[names.IMAGE_OUTPUT_TOKENS] = found[names.OUTPUT_TOKENS]
    add_svg(found, told.get("svg_usage"))
    return found


def read_audio(answer: object) -> Found:
    """A transcription or translation, billed by tokens or by the length of the audio."""
    told = fields_of(answer)
    usage = told.get("usage")
    found: Found = {}
    seconds = _whole_seconds(fields_of(usage).get("seconds", told.get("duration")))
    if seconds is not None:
        found[names.AUDIO_SECONDS] = seconds
        add_usage(found, usage)
    else:
        add_response_usage(found, usage)
    return found


def _whole_seconds(told: object) -> int | None:
    """A length of audio, which a transcript may give as text; `None` where it is none."""
    try:
        seconds = float(told) if isinstance(told, (int, float, str)) else math.nan
    except (ValueError, OverflowError):
        return None
    return math.ceil(seconds) if 0 <= seconds <= MOST_COUNTED else None


def add_chat_usage(found: Found, usage: object) -> None:
    """The usage object of the chat, completions and embeddings APIs."""
    if usage is None:
        return
    told = fields_of(usage)
    add_counts(found, told, _CHAT_COUNTS)
    if (details := told.get("prompt_tokens_details")) is not None:
        add_counts(found, fields_of(details), _INPUT_DETAILS)
    if (details := told.get("completion_tokens_details")) is not None:
        add_counts(found, fields_of(details), _OUTPUT_DETAILS)
    if (cost := told.get("cost")) is not None:
        _add_reported_cost(found, cost)
    add_usage(found, usage)


def add_response_usage(found: Found, usage: object) -> None:
    """The usage object of the responses, images, audio and realtime APIs."""
    if usage is None:
        return
    told = fields_of(usage)
    add_counts(found, told, _COUNTS)
    inputs = told.get("input_tokens_details") or told.get("input_token_details")
    if inputs is not None:
        told_inputs = fields_of(inputs)
        add_counts(found, told_inputs, _INPUT_DETAILS)
        if (cached := told_inputs.get("cached_tokens_details")) is not None:
            add_counts(found, fields_of(cached), _CACHED_DETAILS)
    outputs = told.get("output_tokens_details") or told.get("output_token_details")
    if outputs is not None:
        add_counts(found, fields_of(outputs), _OUTPUT_DETAILS)
    if (cost := told.get("cost")) is not None:
        _add_reported_cost(found, cost)
    add_usage(found, usage)


def _add_identity(found: Found, told: Mapping[str, Any]) -> None:
    """A background response is one call, however often and by whomever it is fetched."""
    if identity := told.get("id"):
        found[names.CALL_ID] = f"openai.response:{identity}"
    if (created := epoch_nanoseconds(told.get("created_at"))) is not None:
        found[names.CALL_STARTED_NS] = created


def _add_reported_cost(found: Found, cost: object) -> None:
    """What the host says the call cost, as OpenRouter does (its API reference, 2026-11-22)."""
    if isinstance(cost, (int, float)) and not isinstance(cost, bool) and 0 <= cost < _MOST_DOLLARS:
        found[names.REPORTED_COST] = str(cost)


class ChatStream:
    """What a chat stream says: an early chunk names the model, a later one brings the usage.

    Azure's first chunk (its prompt filter's findings) names no model. Recorded streams, 2026-11-22.

    Args:
        hides_usage: we asked for the usage ourselves, so the app must not see the chunk with it.

    Its `usage_came_unasked` is called where the usage comes although nobody asked for it.
    """

    def __init__(self, *, hides_usage: bool = False) -> None:
        self.hides_usage = hides_usage
        self.usage_came_unasked: Callable[[], None] | None = None
        self._head: Found = {}
        self._reasons: dict[int, str] = {}
        self._usage: object = None

    def note(self, chunk: object) -> bool:
        """Read one chunk; whether it is to be kept from the app."""
        told = fields_of(chunk)
        self._head = {**self._head, **head_of(told, _HEAD)}
        choices = told.get("choices") or ()
        for choice in choices:
            of_choice = fields_of(choice)
            reason = of_choice.get("finish_reason")
            if isinstance(reason, str) and reason and len(self._reasons) < _MOST_CHOICES:
                self._reasons[of_choice.get("index", 0)] = reason
        usage = told.get("usage")
        if usage is not None:
            self._note_usage(usage)
        if not self.hides_usage:
            return False
        # The fields an SDK's object was sent with; a plain chunk of a raw body has no such list.
        sent = getattr(chunk, "__pydantic_fields_set__", None)
        if usage is None or told.get("moderation") is not None:
            if sent is not None:
                # What asking for usage puts on every chunk.
                sent.discard("usage")
                if usage is not None:
                    # Of a moderated completion this came without being asked for; the usage did
                    # not.
                    vars(chunk)["usage"] = None
            return False
        if sent:
            # Taken off with what asking for it puts on every chunk, but this one has it.
            sent.add("usage")
        return not choices

    def _note_usage(self, usage: object) -> None:
        tells_counts = _tells_counts(usage)
        if self._usage is None or tells_counts:
            self._usage = usage
        if tells_counts and self.usage_came_unasked is not None:
            self.usage_came_unasked()
            self.usage_came_unasked = None

    def weigh(self, chunk: object) -> int:
        """The text of a chunk, of its tool calls and of reasoning that a host shows."""
        characters = begun = 0
        for choice in fields_of(chunk).get("choices") or ():
            told = fields_of(fields_of(choice).get("delta"))
            characters += sum(map(len, filter(None, map(told.get, _TEXTS))))
            for tool_call in told.get("tool_calls") or ():
                function = fields_of(fields_of(tool_call).get("function"))
                characters += len(function.get("name") or "") + len(function.get("arguments") or "")
                begun += bool(function.get("name"))
        return characters and characters + ONE_CHUNK + begun * OPENAI_TOOL_CALL

    def found(self) -> Found:
        """What was read so far."""
        found = dict(self._head)
        if self._reasons:
            ordered = sorted(self._reasons.items())
            found[names.FINISH_REASONS] = tuple(reason for _, reason in ordered)
        add_chat_usage(found, self._usage)
        return found

    def estimated(self, weight: int, request_body: bytes) -> Found:
        """Output by its text, input by the request's; nothing if the usage came."""
        if self._usage is not None:
            return {}
        return estimate(estimated_output(weight), estimated_input(request_body))


def _tells_counts(usage: object) -> bool:
    """Whether a further usage says more than that there was nothing."""
    told = fields_of(usage)
    return bool(told.get("prompt_tokens") or told.get("completion_tokens"))


class CompletionStream(ChatStream):
    """What a legacy completion stream says: as a chat stream, with its text elsewhere."""

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
"""Every chunk of a legacy completion is looked at: they are rare, their text stands in a list."""
