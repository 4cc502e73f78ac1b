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
from tokenledger_semconv.tokens import TokenVector
from tokenledger_semconv.usage.anthropic import ITERATIONS, iterations, message_tokens
from tokenledger_semconv.usage.counts import count_in, object_in, total
from tokenledger_semconv.usage.openai import chat_tokens, response_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JsonObject: TypeAlias = "dict[str, object]"

# A whole answer is read for the usage at its end; beyond this it costs the app too much.
_MAX_LETTERS: Final = 131_072
# `str(dict)` takes a hundred times as long to read as JSON does.
_MAX_PRINTED_LETTERS: Final = 8_192
_DEEPEST: Final = 3
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_WORDS: Final = frozenset({"service_tier", "inference_geo", "speed"})

_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@/-]{0,127}")

# The counts that are taken from a foreign usage object.
_READ: Final = (
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "web_search_requests",
)
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
            counts = shape(usage)._asdict()
            return {name: counts[name] for name in _READ if counts[name] is not None}
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
            inner = object_in(outer, name)
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
        elif key == ITERATIONS and (entries := [*map(_iteration, iterations(found))]):
            kept[key] = entries
    return kept


def _iteration(entry: JsonObject) -> JsonObject:
    kept = {"type": entry["type"], **_numbers(entry, 2)}
    model = entry.get("model")
    return {**kept, "model": model} if _MODEL.fullmatch(str(model)) and model else kept


def _langfuse(usage: JsonObject) -> TokenVector:
    """Langfuse's keys are disjoint: the whole is the sum of a side's keys."""
    reads = count_in(usage, "input_cached_tokens", "input_cache_read", "cache_read_input_tokens")
    hour = count_in(usage, "input_cache_creation_1h")
    writes = total(
        count_in(usage, "input_cache_creation", "cache_creation_input_tokens"),
        count_in(usage, "input_cache_creation_5m"),
        hour,
    )
    others = [
        count
        for key in usage
        if key.startswith("input_")
        and not key.startswith("input_cache")
        and (count := count_in(usage, key)) is not None
    ]
    outputs = [
        count
        for key in usage
        if key.startswith("output") and (count := count_in(usage, key)) is not None
    ]
    return TokenVector(
        input_tokens=total(count_in(usage, "input"), reads, writes, *others),
        output_tokens=total(*outputs),
        cached_tokens=reads,
        cache_write_tokens=writes,
        cache_write_1h_tokens=hour,
        reasoning_tokens=count_in(usage, "output_reasoning_tokens", "output_reasoning"),
        audio_input_tokens=count_in(usage, "input_audio_tokens", "input_audio"),
        audio_output_tokens=count_in(usage, "output_audio_tokens", "output_audio"),
    )


def _gemini(usage: JsonObject) -> TokenVector:
    """Gemini's prompt holds the cached tokens, its candidates not the thoughts."""
    thoughts = count_in(usage, "thoughts_token_count", "thoughtsTokenCount")
    return TokenVector(
        input_tokens=total(
            count_in(usage, "prompt_token_count", "promptTokenCount"),
            count_in(usage, "tool_use_prompt_token_count", "toolUsePromptTokenCount"),
        ),
        output_tokens=total(
            count_in(usage, "candidates_token_count", "candidatesTokenCount"), thoughts
        ),
        cached_tokens=count_in(usage, "cached_content_token_count", "cachedContentTokenCount"),
        reasoning_tokens=thoughts,
    )


def _bedrock(usage: JsonObject) -> TokenVector:
    """Bedrock's input leaves out what a cache read or wrote."""
    reads, writes = (
        count_in(usage, "cacheReadInputTokens"),
        count_in(usage, "cacheWriteInputTokens"),
    )
    return TokenVector(
        input_tokens=total(count_in(usage, "inputTokens"), reads, writes),
        output_tokens=count_in(usage, "outputTokens"),
        cached_tokens=reads,
        cache_write_tokens=writes,
    )


def _input_tokens(usage: JsonObject) -> TokenVector:
    """`input_tokens`: of Anthropic, of OpenAI's responses, of LangChain."""
    is_anthropic = "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage
    return message_tokens(usage) if is_anthropic else response_tokens(usage)


_SHAPES: Final[tuple[tuple[str, Callable[[JsonObject], TokenVector]], ...]] = (
    ("prompt_tokens", chat_tokens),
    ("input_tokens", _input_tokens),
    ("input", _langfuse),
    ("prompt_token_count", _gemini),
    ("promptTokenCount", _gemini),
    ("inputTokens", _bedrock),
)
