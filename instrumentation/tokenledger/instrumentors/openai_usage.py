"""Reading OpenAI's answers into token counts: pure functions over SDK objects or plain mappings.

Source: the usage types of openai 2.0.0 and 3.54.0, read 2026-11-22. OpenAI's input counts already
include cached tokens and its output counts reasoning, which is the shape the contract asks for.
"""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from tokenledger.reading import Reading, count, mapping_of, part, parts, text
from tokenledger_semconv.attributes import OPENAI_SERVICE_TIER, OPENAI_SYSTEM_FINGERPRINT
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from tokenledger.reading import Usage

RESPONSE_ENDINGS: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed"}
)
"""Events of a Responses stream that carry the whole response with its usage."""

_USAGE_FIELD: Final = attrgetter("usage")
_TYPE_FIELD: Final = attrgetter("type")
_NO_USAGE: Final = (None,)
_UNFINISHED: Final = frozenset({"queued", "in_progress"})

_FREQUENT_EVENTS: Final = frozenset(
    {
        "response.output_text.delta",
        "response.output_text.done",
        "response.function_call_arguments.delta",
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
        "response.refusal.delta",
        "response.content_part.added",
        "response.content_part.done",
        "response.output_item.added",
        "response.output_item.done",
        "response.audio.delta",
        "response.audio.transcript.delta",
        "response.mcp_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.code_interpreter_call_code.delta",
    }
)


def read_chat(completion: object) -> Reading:
    """A chat completion."""
    return _reading(
        completion,
        mapping_of(part(completion, "usage")),
        finish_reasons=tuple(
            reason
            for choice in parts(completion, "choices")
            if (reason := text(choice, "finish_reason"))
        ),
    )


def read_response(response: object) -> Reading:
    """An answer of the Responses API; its built-in tool calls are counted from its output."""
    status = text(response, "status")
    return _reading(
        response,
        mapping_of(part(response, "usage")),
        finish_reasons=(status,) if status and status not in _UNFINISHED else (),
        tools=Counter(text(item, "type") for item in parts(response, "output")),
        error_type="response.failed" if status == "failed" else "",
    )


def read_embeddings(embeddings: object) -> Reading:
    """An embeddings answer; it has no output tokens, which stay unreported."""
    return _reading(embeddings, mapping_of(part(embeddings, "usage")))


class ChatStream:
    """What a chat stream says: an early chunk names the model, a later one brings the usage.

    Azure's first chunk (its prompt filter's findings) names no model: chunks are read until one
    does. Recorded streams, 2026-11-22.

    Args:
        hides_usage: we asked for the usage ourselves, so the app must not see the chunk with it.
    """

    def __init__(self, *, hides_usage: bool = False) -> None:
        self.field: Callable[[object], object] = _USAGE_FIELD
        self.quiet: Container[object] = ()
        self._hides_usage = hides_usage
        self._named: object = None
        self._usage: Usage | None = None

    def see(self, chunk: object) -> bool:
        """Read one chunk; whether it is to be kept from the app."""
        usage = mapping_of(part(chunk, "usage"))
        if text(chunk, "model") or self._named is None:
            self._named = chunk
        if text(self._named, "model"):
            self.quiet = _NO_USAGE
        self._usage = usage or self._usage
        return self._hides_usage and usage is not None and not part(chunk, "choices")

    def reading(self) -> Reading:
        """What was read so far."""
        return _reading(self._named, self._usage)


class ResponseStream:
    """What a Responses stream says: the first event names the model, the last brings the usage."""

    def __init__(self) -> None:
        self.field: Callable[[object], object] = _TYPE_FIELD
        self.quiet: Container[object] = _FREQUENT_EVENTS
        self._response: object = None
        self._error_type = ""

    def see(self, chunk: object) -> bool:
        """Read one event; none is ever kept from the app."""
        kind = part(chunk, "type")
        if kind == "error":
            self._error_type = "error"
        elif kind == "response.created" or kind in RESPONSE_ENDINGS:
            self._response = part(chunk, "response")
        return False

    def reading(self) -> Reading:
        """What was read so far."""
        if self._error_type:
            return Reading(
                response_model=text(self._response, "model"),
                response_id=text(self._response, "id"),
                error_type=self._error_type,
            )
        return read_response(self._response)


def tokens_of(usage: Usage, tools: Counter[Any] | None = None) -> TokenVector:
    """The token vector of a usage object of the chat, responses or embeddings API."""
    inputs = _details(usage, "prompt_tokens_details", "input_tokens_details")
    outputs = _details(usage, "completion_tokens_details", "output_tokens_details")
    tools = tools or Counter()
    return TokenVector(
        input_tokens=_either(usage, "prompt_tokens", "input_tokens"),
        output_tokens=_either(usage, "completion_tokens", "output_tokens"),
        cached_tokens=count(inputs, "cached_tokens"),
        cache_write_tokens=count(inputs, "cache_write_tokens"),
        reasoning_tokens=count(outputs, "reasoning_tokens"),
        audio_input_tokens=count(inputs, "audio_tokens"),
        audio_output_tokens=count(outputs, "audio_tokens"),
        image_input_tokens=count(inputs, "image_tokens"),
        image_output_tokens=count(outputs, "image_tokens"),
        web_search_requests=tools.get("web_search_call"),
        file_search_requests=tools.get("file_search_call"),
        code_execution_requests=tools.get("code_interpreter_call"),
    )


def _reading(
    source: object,
    usage: Usage | None,
    *,
    finish_reasons: tuple[str, ...] = (),
    tools: Counter[Any] | None = None,
    error_type: str = "",
) -> Reading:
    return Reading(
        response_model=text(source, "model"),
        response_id=text(source, "id"),
        finish_reasons=finish_reasons,
        tokens=TokenVector() if usage is None else tokens_of(usage, tools),
        usage=usage,
        error_type=error_type,
        further={
            OPENAI_SERVICE_TIER: text(source, "service_tier"),
            OPENAI_SYSTEM_FINGERPRINT: text(source, "system_fingerprint"),
        },
    )


def _either(usage: Usage, name: str, other_name: str) -> int | None:
    found = count(usage, name)
    return count(usage, other_name) if found is None else found


def _details(usage: Usage, name: str, other_name: str) -> object:
    return part(usage, name) or part(usage, other_name)
