"""What a function's result says of its model call, whatever shape it has.

The shapes are those the SDKs return, as objects or as plain dictionaries: OpenAI's chat, embeddings
and responses, Anthropic's messages, and the chunks and events of their streams.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from tokenledger.reading import fields_of, plausible
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger.reading import Found

_MESSAGE_EVENTS: Final = frozenset({"message_start", "message_delta"})
_CACHE_FIELDS: Final = frozenset(
    {"cache_creation", "cache_creation_input_tokens", "cache_read_input_tokens"}
)
_COUNTS: Final = (names.INPUT_TOKENS, names.OUTPUT_TOKENS)
_NAMES: Final = ("model", "id", "service_tier", "system_fingerprint")
CHAT: Final = "chat"
"""The operation of an answer that is nothing else."""


class Answers:
    """Reads the results one function gave, one or many; the last that says its usage counts.

    Args:
        is_anthropic: whether a usage object that could be either's is Anthropic's.
    """

    __slots__ = ("_is_anthropic", "_last", "_message_stream", "_names")

    def __init__(self, *, is_anthropic: bool) -> None:
        self._is_anthropic = is_anthropic
        self._last: Mapping[str, Any] | None = None
        # What earlier results said of the call; the one with the usage may leave it blank.
        self._names: dict[str, Any] = {}
        self._message_stream: Any = None

    def see(self, result: object) -> None:
        """Look at one result; anything without usage is passed over."""
        told = fields_of(result)
        if told.get("type") in _MESSAGE_EVENTS:
            if self._message_stream is None:
                self._message_stream = _anthropic().MessageStream()
            self._message_stream.note(result)
            return
        # The event that ends a Responses stream holds the answer.
        held = fields_of(told.get("response"))
        for candidate in (told, held):
            for name in _NAMES:
                if value := candidate.get(name):
                    self._names[name] = value
            if candidate.get("usage") is not None:
                self._last = candidate

    def found(self) -> tuple[str, Found]:
        """The operation and the attributes of the call; none if no usage was seen."""
        found: Found = {}
        operation = CHAT
        if self._last is not None:
            operation = "embeddings" if self._last.get("object") == "list" else CHAT
            found = plausible(self._read({**self._last, **self._names}))
        elif self._message_stream is not None:
            found = plausible(self._message_stream.found())
        return operation, found if any(name in found for name in _COUNTS) else {}

    def _read(self, told: Mapping[str, Any]) -> Found:
        usage = fields_of(told["usage"])
        found: Found
        if "prompt_tokens" in usage or "completion_tokens" in usage:
            found = _openai().read_chat(told)
        elif self._is_message(told, usage):
            found = _anthropic().read_message(told)
        else:
            found = _openai().read_response(told)
        return found

    def _is_message(self, told: Mapping[str, Any], usage: Mapping[str, Any]) -> bool:
        if told.get("type") == "message" or not _CACHE_FIELDS.isdisjoint(usage):
            return True
        return self._is_anthropic or str(told.get("model") or "").startswith("claude")


def _openai() -> Any:  # noqa: ANN401 - a module
    # Loaded here: an app whose SDKs are not patched need not load their readers before.
    return importlib.import_module("tokenledger.instrumentors.openai_usage")


def _anthropic() -> Any:  # noqa: ANN401 - a module
    return importlib.import_module("tokenledger.instrumentors.anthropic_usage")
