"""Reads the usage in a function's result, whatever its shape.

The shapes are those the SDKs return, as objects or as plain dictionaries: OpenAI's chat, embeddings
and responses, Anthropic's messages, and the chunks and events of their streams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger._usage.fields import fields_of, plausible
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger._usage.anthropic import MessageStream
    from tokenledger._usage.fields import Attributes

_MESSAGE_EVENTS: Final = frozenset({"message_start", "message_delta"})
_CACHE_FIELDS: Final = frozenset(
    {"cache_creation", "cache_creation_input_tokens", "cache_read_input_tokens"}
)
_COUNTS: Final = (names.INPUT_TOKENS, names.OUTPUT_TOKENS, names.TOTAL_TOKENS)
_NAMES: Final = ("model", "id", "service_tier", "system_fingerprint")
CHAT: Final = "chat"
"""The operation of an answer that does not say otherwise."""


class AnswerReader:
    """Reads the results of one function, one or many; the last one with a usage counts.

    Args:
        is_anthropic: whether an ambiguous usage object is Anthropic's.
    """

    __slots__ = ("_is_anthropic", "_last", "_message_stream", "_names")

    def __init__(self, *, is_anthropic: bool) -> None:
        self._is_anthropic = is_anthropic
        self._last: Mapping[str, Any] | None = None
        # Names from earlier results; the result with the usage may leave them blank.
        self._names: dict[str, Any] = {}
        self._message_stream: MessageStream | None = None

    def see(self, result: object) -> None:
        """Read one result; a result without a usage is skipped."""
        fields = fields_of(result)
        if fields.get("type") in _MESSAGE_EVENTS:
            if self._message_stream is None:
                from tokenledger._usage.anthropic import MessageStream

                self._message_stream = MessageStream()
            self._message_stream.note(result)
            return
        # The event that ends a Responses stream contains the answer.
        response = fields_of(fields.get("response"))
        # Groq's streams report the usage in a field of their own.
        for candidate in (fields, response, fields_of(fields.get("x_groq"))):
            for name in _NAMES:
                if value := candidate.get(name):
                    self._names[name] = value
            if candidate.get("usage") is not None:
                self._last = candidate

    def call(self) -> tuple[str, Attributes]:
        """The operation and the attributes of the call; no attributes if there was no usage."""
        attributes: Attributes = {}
        operation = CHAT
        if self._last is not None:
            operation = "embeddings" if self._last.get("object") == "list" else CHAT
            attributes = plausible(self._read({**self._last, **self._names}))
        elif self._message_stream is not None:
            attributes = plausible(self._message_stream.attributes())
        return operation, attributes if any(name in attributes for name in _COUNTS) else {}

    def _read(self, fields: Mapping[str, Any]) -> Attributes:
        # Loaded here: an app that only calls `track` needs no reader.
        from tokenledger._usage.anthropic import read_message
        from tokenledger._usage.openai import read_chat, read_response

        usage = fields_of(fields["usage"])
        if "prompt_tokens" in usage or "completion_tokens" in usage:
            return read_chat(fields)
        if self._is_message(fields, usage):
            return read_message(fields)
        return read_response(fields)

    def _is_message(self, fields: Mapping[str, Any], usage: Mapping[str, Any]) -> bool:
        if fields.get("type") == "message" or not _CACHE_FIELDS.isdisjoint(usage):
            return True
        return self._is_anthropic or str(fields.get("model") or "").startswith("claude")
