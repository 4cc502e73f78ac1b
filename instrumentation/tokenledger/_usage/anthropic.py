"""Reads Anthropic's answers into span attributes: pure functions over SDK objects or plain JSON.

Source: the usage types of anthropic 0.49.0 and 2.14.0, read 2026-11-26. Anthropic's `input_tokens`
leaves out cache reads and cache writes; the contract's input includes both, so they are added here.
So are the tokens of compactions, which are billed but missing from the top-level counts. A test
holds this fast reader to the plain one, `tokenledger_semconv.usage.anthropic`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger._usage.estimate import (
    ANTHROPIC_TOOL_CALL,
    ONE_CHUNK,
    estimate,
    estimated_long_output,
)
from tokenledger._usage.fields import (
    CountMap,
    FieldMap,
    add_counts,
    add_usage,
    fields_of,
    head_of,
    mapping_of,
    part,
    parts,
    text,
)
from tokenledger._usage.finish_reasons import ANTHROPIC_REASONS
from tokenledger._usage.openai_compatible import add_other_usage, plain
from tokenledger_semconv import attributes as names
from tokenledger_semconv.dimensions import MAX_VALUE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tokenledger._usage.fields import (
        Attributes,
        Usage,
    )

# Looked up once, since every call pays for each step.
_INPUT: Final = names.INPUT_TOKENS
_READ: Final = names.CACHE_READ_TOKENS
_WRITTEN: Final = names.CACHE_WRITE_TOKENS
_TIER: Final = names.ANTHROPIC_SERVICE_TIER
_REASONS: Final = names.FINISH_REASONS
_REFUSED: Final = ("refusal",)
# A handful of models is tried in turn; no provider's answer names more.
_MAX_REFUSALS: Final = 64
_FALLBACK: Final = "fallback"
_TURNS: Final = ("message", "fallback_message")
_LIFETIME: Final = "how long some of the cache writes are kept"
_HEAD: Final = FieldMap(
    {
        "model": names.RESPONSE_MODEL,
        "id": names.RESPONSE_ID,
        "stop_reason": names.FINISH_REASONS,
    }
)
_COUNTS: Final = CountMap(
    {
        "input_tokens": names.INPUT_TOKENS,
        "output_tokens": names.OUTPUT_TOKENS,
        "cache_read_input_tokens": names.CACHE_READ_TOKENS,
        "cache_creation_input_tokens": names.CACHE_WRITE_TOKENS,
    }
)
_FIELDS: Final = frozenset(
    {
        *_COUNTS.fields,
        *("cache_creation", "iterations", "output_tokens_details", "server_tool_use"),
        *("service_tier", "inference_geo", "speed"),
    }
)
_LIFETIMES: Final = CountMap(
    {
        "ephemeral_5m_input_tokens": names.CACHE_WRITE_5M_TOKENS,
        "ephemeral_1h_input_tokens": names.CACHE_WRITE_1H_TOKENS,
    }
)
_TOOLS: Final = CountMap(
    {
        "web_search_requests": names.WEB_SEARCH_REQUESTS,
        "code_execution_requests": names.CODE_EXECUTION_REQUESTS,
    }
)
_TOOL_FIELDS: Final = frozenset((*_TOOLS.fields, "web_fetch_requests", "tool_search_requests"))
_THINKING: Final = CountMap(
    {
        "thinking_tokens": names.REASONING_TOKENS,
    }
)


def read_message(message: object) -> Attributes:
    """A message."""
    fields = fields_of(message)
    # As `_head`, whose call costs as much as its work.
    attributes: dict[str, Any] = head_of(fields, _HEAD)
    if _REASONS in attributes:
        attributes[_REASONS] = ANTHROPIC_REASONS[attributes[_REASONS]]
    usage = fields.get("usage")
    if usage is not None:
        usage_fields = fields_of(usage)
        add_message_usage(attributes, usage_fields)
        add_usage(attributes, usage)
        if usage_fields.get("iterations"):
            declined = [_category(part(block, "trigger")) for block in _fallbacks(fields)]
            _add_refusals(attributes, declined, fields.get("stop_details"))
            return attributes
    if attributes.get(_REASONS) == _REFUSED:
        _add_refusals(attributes, [], fields.get("stop_details"))
    return attributes


def add_message_usage(attributes: Attributes, fields: Mapping[str, Any]) -> None:
    """The usage object of a message."""
    add_counts(attributes, fields, _COUNTS)
    is_known = fields.keys() <= _FIELDS
    if (lifetimes := fields.get("cache_creation")) is not None:
        add_counts(attributes, fields_of(lifetimes), _LIFETIMES)
    if (iterations := fields.get("iterations")) is not None:
        _add_compactions(attributes, iterations)
    if _INPUT in attributes:
        counts: dict[str, Any] = attributes
        counts[_INPUT] += counts.get(_READ, 0) + counts.get(_WRITTEN, 0)
    if (details := fields.get("output_tokens_details")) is not None:
        add_counts(attributes, fields_of(details), _THINKING)
    if (tools := fields.get("server_tool_use")) is not None:
        tool_fields = fields_of(tools)
        add_counts(attributes, tool_fields, _TOOLS)
        is_known = is_known and tool_fields.keys() <= _TOOL_FIELDS
    if not is_known:
        # A host that speaks Anthropic's API adds fields of its own, such as a cost.
        add_other_usage(attributes, plain(fields))
    # Cut to what a row can hold (MAX_VALUE_LENGTH), in as few steps as possible.
    if tier := fields.get("service_tier"):
        attributes[_TIER] = f"{tier!s:.255}"
    if geo := fields.get("inference_geo"):
        attributes[names.ANTHROPIC_INFERENCE_GEO] = f"{geo!s:.255}"
    if speed := fields.get("speed"):
        attributes[names.ANTHROPIC_SPEED] = f"{speed!s:.255}"


def _add_compactions(counts: dict[str, Any], iterations: object) -> None:
    """Add the entries of `iterations` that the top level leaves out, billed for the same model.

    Ref: `iterations` of anthropic 2.12.0 `types/beta/beta_usage.py`, read 2026-11-22.
    """
    if not isinstance(iterations, (list, tuple)):
        return
    for entry in cast("Sequence[object]", iterations):
        fields = fields_of(entry)
        if fields.get("type") != "compaction":
            continue
        compaction: dict[str, Any] = {}
        add_counts(compaction, fields, _COUNTS)
        add_counts(compaction, fields_of(fields.get("cache_creation")), _LIFETIMES)
        for name, count in compaction.items():
            # If the message does not report a count, a part of it must not pass for the whole.
            if name in counts or name not in (names.INPUT_TOKENS, names.OUTPUT_TOKENS):
                counts[name] = counts.get(name, 0) + count


def _fallbacks(message: Mapping[str, Any]) -> Iterator[object]:
    """The blocks that mark where one model declined and another continued."""
    return (block for block in parts(message, "content") if part(block, "type") == _FALLBACK)


def _category(details: object) -> str:
    """The policy area a model declined for; "" if none is named."""
    return text(details, "category") or ""


def _add_refusals(attributes: Attributes, declined: Sequence[str], details: object) -> None:
    """Add why models declined, including the last one if the answer is a refusal itself."""
    last = [_category(details)] if attributes.get(names.FINISH_REASONS) == _REFUSED else []
    if refusals := (*declined[:_MAX_REFUSALS], *last):
        attributes[names.ANTHROPIC_REFUSALS] = tuple(text[:MAX_VALUE_LENGTH] for text in refusals)


def _head(fields: Mapping[str, Any]) -> Attributes:
    attributes: dict[str, Any] = head_of(fields, _HEAD)
    if _REASONS in attributes:
        attributes[_REASONS] = ANTHROPIC_REASONS[attributes[_REASONS]]
    return attributes


class MessageStream:
    """Reads a message stream: `message_start` brings the input, `message_delta` the output.

    The `output_tokens` of `message_start` is a placeholder, not a count. A stream that broke off
    before `message_delta` has a reported input and an estimated output.
    """

    def __init__(self) -> None:
        self._head: Attributes = {}
        self._usage: Usage = {}
        self._is_counted = False
        self._declined: list[str] = []
        self._details: object = None

    def note(self, chunk: object) -> bool:
        """Read one event; none is hidden from the app."""
        fields = fields_of(chunk)
        kind = fields.get("type")
        if kind == "message_start":
            message = fields_of(fields.get("message"))
            self._head = {**self._head, **_head(message)}
            usage = mapping_of(message.get("usage")) or {}
            first = {name: usage[name] for name in usage if name != "output_tokens"}
            self._usage = merged(self._usage, first)
        elif kind == "message_delta":
            self._usage = merged(self._usage, mapping_of(fields.get("usage")) or {})
            self._is_counted = "output_tokens" in self._usage
            if reason := text(fields.get("delta"), "stop_reason"):
                self._head = {**self._head, _REASONS: ANTHROPIC_REASONS[reason]}
                self._details = part(fields.get("delta"), "stop_details")
        elif kind == "content_block_start":
            self._note_fallback(fields.get("content_block"))
        return False

    def _note_fallback(self, block: object) -> None:
        """Another model continues: `message_start` named the requested one."""
        if part(block, "type") == _FALLBACK:
            self._declined.append(_category(part(block, "trigger")))
            if model := text(part(block, "to"), "model"):
                self._head = {**self._head, names.RESPONSE_MODEL: model}

    def weigh(self, chunk: object) -> int:
        """The text of an event: of the answer, its thinking, and the tool calls in it."""
        fields = fields_of(chunk)
        block = fields_of(fields.get("content_block"))
        delta = fields_of(fields.get("delta"))
        characters = len(block.get("name") or "") + sum(
            len(delta.get(name) or "") for name in ("text", "partial_json", "thinking")
        )
        tool_call = ANTHROPIC_TOOL_CALL if block.get("name") else 0
        return characters and characters + ONE_CHUNK + tool_call

    def attributes(self) -> Attributes:
        """What was read so far."""
        attributes = dict(self._head)
        if self._usage:
            add_message_usage(attributes, with_lifetimes(self._usage))
            add_usage(attributes, self._usage)
            if _has_unknown_lifetimes(attributes):
                unknown = attributes.get(names.UNKNOWN_USAGE)
                text_of_unknown = f"{unknown}; {_LIFETIME}" if unknown else _LIFETIME
                attributes[names.UNKNOWN_USAGE] = text_of_unknown
        _add_refusals(attributes, self._declined, self._details)
        return attributes

    def estimated(self, weight: int, request_body: bytes) -> Attributes:
        """Output by its text; empty if it was reported."""
        del request_body  # The first event reports the input.
        return {} if self._is_counted else estimate(estimated_long_output(weight))


def with_lifetimes(usage: Usage) -> Usage:
    """A stream's usage with all its cache writes by lifetime, if its iterations report them.

    `message_start` splits the writes of the first turn by lifetime. `message_delta` counts those of
    every turn without a split (`MessageDeltaUsage` of anthropic 2.14.0, read 2026-11-26).
    """
    turns = [entry for entry in parts(usage, "iterations") if part(entry, "type") in _TURNS]
    writes = [fields_of(part(turn, "cache_creation")) for turn in turns]
    lifetimes = {name: sum(_whole(each.get(name)) for each in writes) for name in _LIFETIMES.fields}
    if turns and sum(lifetimes.values()) == usage.get("cache_creation_input_tokens"):
        return {**usage, "cache_creation": lifetimes}
    return usage


def _whole(count: object) -> int:
    return count if isinstance(count, int) else 0


def _has_unknown_lifetimes(attributes: Mapping[str, Any]) -> bool:
    """Whether one-hour writes were reported, and others without their lifetime."""
    hour = attributes.get(names.CACHE_WRITE_1H_TOKENS, 0)
    shorter = attributes.get(names.CACHE_WRITE_5M_TOKENS, 0)
    return bool(hour) and hour + shorter < attributes.get(names.CACHE_WRITE_TOKENS, 0)


class _MessageText:
    """Locates the text of a message stream, by the kind of its delta."""

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
    """Two usage reports of one stream: both are cumulative, so the later value wins."""
    result: dict[str, object] = dict(earlier)
    for name, value in later.items():
        known, part_of_value = mapping_of(result.get(name)), mapping_of(value)
        if known is not None and part_of_value is not None:
            result[name] = merged(known, part_of_value)
        elif value is not None and not (value == "" and name in result):
            result[name] = value
    return result
