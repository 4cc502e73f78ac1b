"""Reads usage objects that emitters copy into an attribute, whatever their shape, into counts.

Nothing but numbers and a tier's name is taken of such an object, because what lies around it may
hold what was said. Shapes: OpenAI's two APIs, Anthropic, Gemini, Bedrock, LiteLLM, LangChain and
Langfuse (read off their spans 2026-11-25).
"""

from __future__ import annotations

import ast
import json
import math
import re
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import msgspec

from tokenledger_semconv import dimensions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

JsonObject: TypeAlias = "dict[str, object]"

# A whole answer is read for the usage at its end; beyond this it costs the app too much.
_MAX_LETTERS: Final = 131_072
# `str(dict)` takes a hundred times as long to read as JSON does.
_MAX_PRINTED_LETTERS: Final = 8_192
_DEEPEST: Final = 3
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_WORDS: Final = frozenset({"service_tier", "inference_geo", "speed"})

# Anthropic's list of what further models did inside a call: kind and model of each, and its counts.
_ITERATIONS: Final = "iterations"
_MAX_ITERATIONS: Final = 256
_COMPACTION: Final = "compaction"
_KINDS: Final = frozenset({_COMPACTION, "message", "advisor_message", "fallback_message"})
_WHOLE: Final = ("input_tokens", "output_tokens")
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@/-]{0,127}")

_NESTED: Final = ("usage", "usage_metadata", "usageMetadata")
_TIER: Final = "serviceTier"
_INPUTS: Final = frozenset(
    {
        *("prompt_tokens", "input_tokens", "input", "prompt_token_count", "promptTokenCount"),
        "inputTokens",
    }
)


def reduced(text: str) -> str:
    """The usage object a text holds, as JSON of numbers and tiers alone; "" if it holds none."""
    found = _usage_of(parsed(text))
    kept = _numbers(found, _DEEPEST) if found else {}
    return json.dumps(kept) if kept else ""


def plain_values(text: str) -> str:
    """A JSON object's plain values as JSON of short strings; "" if there are none."""
    kept = {
        key[: dimensions.MAX_VALUE_LENGTH]: str(value)[: dimensions.MAX_VALUE_LENGTH]
        for key, value in list(parsed(text).items())[: dimensions.MAX_METADATA_KEYS]
        if isinstance(value, str | int | float)
    }
    return json.dumps(kept) if kept else ""


def details(text: str) -> str:
    """The numbers of a printed object whose whole is told elsewhere; "" if there are none."""
    kept = _numbers(parsed(text), 1)
    return json.dumps(kept) if kept else ""


def parsed(text: str) -> JsonObject:
    """A text's object, from JSON or from Python's way of printing one; empty for anything else."""
    if len(text) > _MAX_LETTERS or not text.startswith("{"):
        return {}
    try:
        found: object = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        found = _printed(text)
    return cast("JsonObject", found) if isinstance(found, dict) else {}


def counts_of(usage: JsonObject) -> dict[str, int]:
    """Fields of the token vector that a usage object tells, input and output whole."""
    for key, shape in _SHAPES:
        if key in usage:
            read = shape(usage)
            return {name: count for name, count in read.items() if count is not None}
    return {}


def _printed(text: str) -> object:
    if len(text) > _MAX_PRINTED_LETTERS or not text.startswith("{'"):
        return None
    try:
        found: object = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return found


def _usage_of(found: JsonObject) -> JsonObject:
    """The usage object itself, or the one under its name in the object or one level below."""
    if not _INPUTS.isdisjoint(found):
        return found
    for outer in (found, *_objects(found)):
        for name in _NESTED:
            inner = _inside(outer, name)
            if not _INPUTS.isdisjoint(inner):
                return inner
        if _TIER in outer:
            return {"service_tier": outer[_TIER]}
    return {}


def _objects(found: JsonObject) -> Iterator[JsonObject]:
    for value in found.values():
        if isinstance(value, dict):
            yield cast("JsonObject", value)


def _numbers(found: JsonObject, depth: int) -> JsonObject:
    kept: JsonObject = {}
    for key, value in found.items():
        if not _NAME.fullmatch(str(key)):
            continue
        if isinstance(value, dict):
            inner = _numbers(cast("JsonObject", value), depth - 1) if depth > 1 else {}
            if inner:
                kept[key] = inner
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if math.isfinite(value):
                kept[key] = value
        elif isinstance(value, str) and key in _WORDS and _WORD.fullmatch(value):
            kept[key] = value
        elif key == _ITERATIONS and (entries := [*map(_iteration, iterations(found))]):
            kept[key] = entries
    return kept


def iterations(usage: JsonObject) -> list[JsonObject]:
    """What Anthropic's usage object says of the turns and further models of a call."""
    told = usage.get(_ITERATIONS)
    found = cast("list[object]", told)[:_MAX_ITERATIONS] if isinstance(told, list) else []
    objects = (cast("JsonObject", entry) for entry in found if isinstance(entry, dict))
    return [entry for entry in objects if str(entry.get("type")) in _KINDS]


def _iteration(entry: JsonObject) -> JsonObject:
    kept = {"type": entry["type"], **_numbers(entry, 2)}
    model = entry.get("model")
    return {**kept, "model": model} if _MODEL.fullmatch(str(model)) and model else kept


def _number(found: Mapping[str, object], *names: str) -> int | None:
    for name in names:
        value = found.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def _inside(found: JsonObject, *names: str) -> JsonObject:
    for name in names:
        value = found.get(name)
        if isinstance(value, dict):
            return cast("JsonObject", value)
    return {}


def _sum(*counts: int | None) -> int | None:
    told = [count for count in counts if count is not None]
    return sum(told) if told else None


def _writes(found: JsonObject, *names: str) -> int | None:
    """Cache writes: the whole, or what its lifetimes add up to, whichever is told."""
    lifetimes = _sum(
        _number(found, "ephemeral_5m_input_tokens"), _number(found, "ephemeral_1h_input_tokens")
    )
    told = [count for count in (_number(found, *names), lifetimes) if count is not None]
    return max(told, default=None)


def _openai_chat(usage: JsonObject) -> dict[str, int | None]:
    """Also LiteLLM's, which brings every provider into this shape, input inclusive."""
    prompt = _inside(usage, "prompt_tokens_details")
    completion = _inside(usage, "completion_tokens_details")
    lifetimes = _inside(prompt, "cache_creation_token_details")
    names = ("cache_write_tokens", "cache_creation_tokens")
    return {
        "input_tokens": _number(usage, "prompt_tokens"),
        "output_tokens": _number(usage, "completion_tokens"),
        "cached_tokens": _first(
            _number(prompt, "cached_tokens"), _number(usage, "cache_read_input_tokens")
        ),
        "cache_write_tokens": _first(
            _writes({**lifetimes, **prompt}, *names), _number(usage, "cache_creation_input_tokens")
        ),
        "cache_write_1h_tokens": _number(lifetimes, "ephemeral_1h_input_tokens"),
        "reasoning_tokens": _number(completion, "reasoning_tokens"),
        "audio_input_tokens": _number(prompt, "audio_tokens"),
        "audio_output_tokens": _number(completion, "audio_tokens"),
    }


def _input_tokens(usage: JsonObject) -> dict[str, int | None]:
    """`input_tokens`: of Anthropic, of OpenAI's responses, of LangChain."""
    if not {"cache_read_input_tokens", "cache_creation_input_tokens"}.isdisjoint(usage):
        return _anthropic(usage)
    told = _inside(usage, "input_tokens_details", "input_token_details")
    output = _inside(usage, "output_tokens_details", "output_token_details")
    return {
        "input_tokens": _number(usage, "input_tokens"),
        "output_tokens": _number(usage, "output_tokens"),
        "cached_tokens": _number(told, "cached_tokens", "cache_read"),
        "cache_write_tokens": _writes(told, "cache_write_tokens", "cache_creation"),
        "cache_write_1h_tokens": _number(told, "ephemeral_1h_input_tokens"),
        "reasoning_tokens": _number(output, "reasoning_tokens", "reasoning", "thinking_tokens"),
        "audio_input_tokens": _number(told, "audio_tokens", "audio"),
        "audio_output_tokens": _number(output, "audio_tokens", "audio"),
    }


def _anthropic(usage: JsonObject) -> dict[str, int | None]:
    """Anthropic's input leaves out what a cache read or wrote, and all of it what compacted it."""
    read = _anthropic_counts(usage)
    for entry in iterations(usage):
        if entry["type"] == _COMPACTION:
            further = _anthropic_counts(entry)
            # Where the whole is not told, a part must not pass for it.
            read = {
                name: None if count is None and name in _WHOLE else _sum(count, further[name])
                for name, count in read.items()
            }
    return read


def _anthropic_counts(usage: JsonObject) -> dict[str, int | None]:
    lifetimes = _inside(usage, "cache_creation")
    reads = _number(usage, "cache_read_input_tokens")
    writes = _first(
        _number(usage, "cache_creation_input_tokens"), _writes(lifetimes, "nothing more")
    )
    return {
        "input_tokens": _sum(_number(usage, "input_tokens"), reads, writes),
        "output_tokens": _number(usage, "output_tokens"),
        "cached_tokens": reads,
        "cache_write_tokens": writes,
        "cache_write_1h_tokens": _number(lifetimes, "ephemeral_1h_input_tokens"),
        "reasoning_tokens": _number(_inside(usage, "output_tokens_details"), "thinking_tokens"),
        "web_search_requests": _number(_inside(usage, "server_tool_use"), "web_search_requests"),
    }


def _langfuse(usage: JsonObject) -> dict[str, int | None]:
    """Langfuse's keys are disjoint: the whole is the sum of a side's keys."""
    reads = _number(usage, "input_cached_tokens", "input_cache_read", "cache_read_input_tokens")
    hour = _number(usage, "input_cache_creation_1h")
    writes = _sum(
        _number(usage, "input_cache_creation", "cache_creation_input_tokens"),
        _number(usage, "input_cache_creation_5m"),
        hour,
    )
    others = [
        count
        for key in usage
        if key.startswith("input_")
        and not key.startswith("input_cache")
        and (count := _number(usage, key)) is not None
    ]
    outputs = [
        count
        for key in usage
        if key.startswith("output") and (count := _number(usage, key)) is not None
    ]
    return {
        "input_tokens": _sum(_number(usage, "input"), reads, writes, *others),
        "output_tokens": _sum(*outputs),
        "cached_tokens": reads,
        "cache_write_tokens": writes,
        "cache_write_1h_tokens": hour,
        "reasoning_tokens": _number(usage, "output_reasoning_tokens", "output_reasoning"),
        "audio_input_tokens": _number(usage, "input_audio_tokens", "input_audio"),
        "audio_output_tokens": _number(usage, "output_audio_tokens", "output_audio"),
    }


def _gemini(usage: JsonObject) -> dict[str, int | None]:
    """Gemini's prompt holds the cached tokens, its candidates not the thoughts."""
    thoughts = _number(usage, "thoughts_token_count", "thoughtsTokenCount")
    return {
        "input_tokens": _sum(
            _number(usage, "prompt_token_count", "promptTokenCount"),
            _number(usage, "tool_use_prompt_token_count", "toolUsePromptTokenCount"),
        ),
        "output_tokens": _sum(
            _number(usage, "candidates_token_count", "candidatesTokenCount"), thoughts
        ),
        "cached_tokens": _number(usage, "cached_content_token_count", "cachedContentTokenCount"),
        "reasoning_tokens": thoughts,
    }


def _bedrock(usage: JsonObject) -> dict[str, int | None]:
    """Bedrock's input leaves out what a cache read or wrote."""
    reads, writes = _number(usage, "cacheReadInputTokens"), _number(usage, "cacheWriteInputTokens")
    return {
        "input_tokens": _sum(_number(usage, "inputTokens"), reads, writes),
        "output_tokens": _number(usage, "outputTokens"),
        "cached_tokens": reads,
        "cache_write_tokens": writes,
    }


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)


_SHAPES: Final[tuple[tuple[str, Callable[[JsonObject], dict[str, int | None]]], ...]] = (
    ("prompt_tokens", _openai_chat),
    ("input_tokens", _input_tokens),
    ("input", _langfuse),
    ("prompt_token_count", _gemini),
    ("promptTokenCount", _gemini),
    ("inputTokens", _bedrock),
)
