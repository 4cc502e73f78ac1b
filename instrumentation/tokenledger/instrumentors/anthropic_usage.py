"""Reading Anthropic's answers into span attributes: pure functions over SDK objects or plain JSON.

Source: the usage types of anthropic 0.49.0 and 2.14.0, read 2026-11-26. Anthropic's `input_tokens`
leaves cache reads and cache writes out; the contract's input includes both, so they are added here.
So are the tokens of compactions, which the top-level counts leave out and which are billed.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger.instrumentors.estimate import (
    ANTHROPIC_TOOL_CALL,
    ONE_CHUNK,
    estimate,
    estimated_long_output,
)
from tokenledger.reading import (
    Counts,
    Fields,
    add_counts,
    add_usage,
    fields_of,
    head_of,
    mapping_of,
    part,
    parts,
    text,
)
from tokenledger_semconv import attributes as names
from tokenledger_semconv.dimensions import MAX_VALUE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tokenledger.reading import (
        Found,
        Usage,
    )

# Looked up once: every call pays for each step.
_INPUT: Final = names.INPUT_TOKENS
_READ: Final = names.CACHE_READ_TOKENS
_WRITTEN: Final = names.CACHE_WRITE_TOKENS
_TIER: Final = names.ANTHROPIC_SERVICE_TIER
_REASONS: Final = names.FINISH_REASONS
_REFUSED: Final = ("refusal",)
# A handful of models is asked in turn; an answer that names more is no provider's.
_MOST_REFUSALS: Final = 64
_FALLBACK: Final = "fallback"
_TURNS: Final = ("message", "fallback_message")
_HEAD: Final = Fields(
    {
        "model": names.RESPONSE_MODEL,
        "id": names.RESPONSE_ID,
        "stop_reason": names.FINISH_REASONS,
    }
)
_COUNTS: Final = Counts(
    {
        "input_tokens": names.INPUT_TOKENS,
        "output_tokens": names.OUTPUT_TOKENS,
        "cache_read_input_tokens": names.CACHE_READ_TOKENS,
        "cache_creation_input_tokens": names.CACHE_WRITE_TOKENS,
    }
)
_LIFETIMES: Final = Counts(
    {
        "ephemeral_5m_input_tokens": names.CACHE_WRITE_5M_TOKENS,
        "ephemeral_1h_input_tokens": names.CACHE_WRITE_1H_TOKENS,
    }
)
_TOOLS: Final = Counts(
    {
        "web_search_requests": names.WEB_SEARCH_REQUESTS,
        "code_execution_requests": names.CODE_EXECUTION_REQUESTS,
    }
)
_THINKING: Final = Counts(
    {
        "thinking_tokens": names.REASONING_TOKENS,
    }
)


def read_message(message: object) -> Found:
    """A message."""
    told = fields_of(message)
    found = _head(told)
    usage = told.get("usage")
    if usage is not None:
        counted = fields_of(usage)
        add_message_usage(found, counted)
        add_usage(found, usage)
        if counted.get("iterations"):
            declined = [_category(fields_of(block).get("trigger")) for block in _fallbacks(told)]
            _add_refusals(found, declined, told.get("stop_details"))
            return found
    if found.get(_REASONS) == _REFUSED:
        _add_refusals(found, [], told.get("stop_details"))
    return found


def add_message_usage(found: Found, told: Mapping[str, Any]) -> None:
    """The usage object of a message."""
    add_counts(found, told, _COUNTS)
    if (lifetimes := told.get("cache_creation")) is not None:
        add_counts(found, fields_of(lifetimes), _LIFETIMES)
    if (iterations := told.get("iterations")) is not None:
        _add_compactions(found, iterations)
    if _INPUT in found:
        counts: dict[str, Any] = found
        counts[_INPUT] += counts.get(_READ, 0) + counts.get(_WRITTEN, 0)
    if (details := told.get("output_tokens_details")) is not None:
        add_counts(found, fields_of(details), _THINKING)
    if (tools := told.get("server_tool_use")) is not None:
        add_counts(found, fields_of(tools), _TOOLS)
    # Cut at what a row holds (MAX_VALUE_LENGTH), in the fewest steps there are.
    if tier := told.get("service_tier"):
        found[_TIER] = f"{tier!s:.255}"
    if geo := told.get("inference_geo"):
        found[names.ANTHROPIC_INFERENCE_GEO] = f"{geo!s:.255}"
    if speed := told.get("speed"):
        found[names.ANTHROPIC_SPEED] = f"{speed!s:.255}"


def _add_compactions(counts: dict[str, Any], iterations: object) -> None:
    """The entries of `iterations` that the top level leaves out and the same model is billed for.

    Ref: `iterations` of anthropic 2.12.0 `types/beta/beta_usage.py`, read 2026-11-22.
    """
    if not isinstance(iterations, (list, tuple)):
        return
    for entry in cast("Sequence[object]", iterations):
        told = fields_of(entry)
        if told.get("type") != "compaction":
            continue
        further: dict[str, Any] = {}
        add_counts(further, told, _COUNTS)
        add_counts(further, fields_of(told.get("cache_creation")), _LIFETIMES)
        for name, count in further.items():
            # Where the message does not report a count, a part must not pass for the whole.
            if name in counts or name not in (names.INPUT_TOKENS, names.OUTPUT_TOKENS):
                counts[name] = counts.get(name, 0) + count


def _fallbacks(message: Mapping[str, Any]) -> Iterator[object]:
    """The blocks that stand where one model declined and another went on."""
    return (block for block in parts(message, "content") if part(block, "type") == _FALLBACK)


def _category(told: object) -> str:
    """The policy area a model declined for; "" if none is told."""
    return text(told, "category") or ""


def _add_refusals(found: Found, declined: Sequence[str], details: object) -> None:
    """Tell why models declined, the last one with them if the answer is a refusal itself."""
    last = [_category(details)] if found.get(names.FINISH_REASONS) == _REFUSED else []
    if refusals := (*declined[:_MOST_REFUSALS], *last):
        found[names.ANTHROPIC_REFUSALS] = tuple(text[:MAX_VALUE_LENGTH] for text in refusals)


def _head(told: Mapping[str, Any]) -> Found:
    found: dict[str, Any] = head_of(told, _HEAD)
    if _REASONS in found:
        found[_REASONS] = (found[_REASONS],)
    return found


class MessageStream:
    """What a message stream says: `message_start` brings the input, `message_delta` the output.

    The `output_tokens` of `message_start` is a placeholder, not a count: a stream broken off before
    `message_delta` has its input told and its output estimated.
    """

    def __init__(self) -> None:
        self._head: Found = {}
        self._usage: Usage = {}
        self._is_counted = False
        self._declined: list[str] = []
        self._details: object = None

    def note(self, chunk: object) -> bool:
        """Read one event; none is ever kept from the app."""
        told = fields_of(chunk)
        kind = told.get("type")
        if kind == "message_start":
            message = fields_of(told.get("message"))
            self._head = {**self._head, **_head(message)}
            usage = mapping_of(message.get("usage")) or {}
            begun = {name: usage[name] for name in usage if name != "output_tokens"}
            self._usage = merged(self._usage, begun)
        elif kind == "message_delta":
            self._usage = merged(self._usage, mapping_of(told.get("usage")) or {})
            self._is_counted = "output_tokens" in self._usage
            if reason := text(told.get("delta"), "stop_reason"):
                self._head = {**self._head, names.FINISH_REASONS: (reason,)}
                self._details = part(told.get("delta"), "stop_details")
        elif kind == "content_block_start":
            self._note_fallback(told.get("content_block"))
        return False

    def _note_fallback(self, block: object) -> None:
        """Another model goes on: `message_start` named the one that was asked."""
        if part(block, "type") == _FALLBACK:
            self._declined.append(_category(part(block, "trigger")))
            if model := text(part(block, "to"), "model"):
                self._head = {**self._head, names.RESPONSE_MODEL: model}

    def weigh(self, chunk: object) -> int:
        """The text of an event: of the answer, its thinking, and the tool calls in it."""
        told = fields_of(chunk)
        block = fields_of(told.get("content_block"))
        delta = fields_of(told.get("delta"))
        characters = len(block.get("name") or "") + sum(
            len(delta.get(name) or "") for name in ("text", "partial_json", "thinking")
        )
        begun = ANTHROPIC_TOOL_CALL if block.get("name") else 0
        return characters and characters + ONE_CHUNK + begun

    def found(self) -> Found:
        """What was read so far."""
        found = dict(self._head)
        if self._usage:
            add_message_usage(found, with_lifetimes(self._usage))
            add_usage(found, self._usage)
            if _has_unknown_lifetimes(found):
                found[names.UNKNOWN_USAGE] = "how long some of the cache writes are kept"
        _add_refusals(found, self._declined, self._details)
        return found

    def estimated(self, weight: int, request_body: bytes) -> Found:
        """Output by its text; nothing if it was counted."""
        del request_body  # Input is told by the first event.
        return {} if self._is_counted else estimate(estimated_long_output(weight))


def with_lifetimes(usage: Usage) -> Usage:
    """A stream's usage with all its cache writes by lifetime, where its iterations tell them.

    `message_start` parts the writes of the first turn by lifetime; `message_delta` counts those of
    every turn and does not part them (`MessageDeltaUsage` of anthropic 2.14.0, read 2026-11-26).
    """
    turns = [entry for entry in parts(usage, "iterations") if part(entry, "type") in _TURNS]
    writes = [fields_of(part(turn, "cache_creation")) for turn in turns]
    told = {name: sum(_whole(each.get(name)) for each in writes) for name in _LIFETIMES.fields}
    if turns and sum(told.values()) == usage.get("cache_creation_input_tokens"):
        return {**usage, "cache_creation": told}
    return usage


def _whole(count: object) -> int:
    return count if isinstance(count, int) else 0


def _has_unknown_lifetimes(found: Mapping[str, Any]) -> bool:
    """Whether writes of an hour were told, and further ones without their lifetime."""
    hour = found.get(names.CACHE_WRITE_1H_TOKENS, 0)
    shorter = found.get(names.CACHE_WRITE_5M_TOKENS, 0)
    return bool(hour) and hour + shorter < found.get(names.CACHE_WRITE_TOKENS, 0)


class _MessageText:
    """Where the text of a message stream is, by the kind of its delta."""

    def __init__(self) -> None:
        self.kind: Callable[[Any], str] = attrgetter("delta.type")
        self.texts: Mapping[str, Callable[[Any], str]] = {
            "text_delta": attrgetter("delta.text"),
            "input_json_delta": attrgetter("delta.partial_json"),
            "thinking_delta": attrgetter("delta.thinking"),
        }


MESSAGE_TEXT: Final = _MessageText()
"""The text of a message stream."""


def merged(earlier: Usage, later: Usage) -> Usage:
    """Two reports of one stream: each is cumulative, so the later one holds in all it says."""
    result: dict[str, object] = dict(earlier)
    for name, value in later.items():
        known, part_of_value = mapping_of(result.get(name)), mapping_of(value)
        if known is not None and part_of_value is not None:
            result[name] = merged(known, part_of_value)
        elif value is not None and not (value == "" and name in result):
            result[name] = value
    return result
