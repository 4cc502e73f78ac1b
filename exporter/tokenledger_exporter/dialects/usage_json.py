"""Reads the counts of usage objects that emitters copy into an attribute.

Only numbers, the name of a tier and those of modalities are taken from such an object, because it
may also contain prompts or answers. Shapes: OpenAI's two APIs, Anthropic, Bedrock, LiteLLM,
LangChain and Langfuse (from their spans, 2026-11-25); Gemini's two APIs and Cohere (their API
references, 2026-11-28).
"""

from __future__ import annotations

import ast
import json
import math
import re
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import msgspec

from tokenledger_semconv import attributes, dimensions
from tokenledger_semconv.tokens import TokenVector
from tokenledger_semconv.usage.anthropic import ITERATIONS, iterations, message_tokens
from tokenledger_semconv.usage.bedrock import CACHE_DETAILS, cache_details, converse_tokens
from tokenledger_semconv.usage.counts import count_in, first, object_in, total
from tokenledger_semconv.usage.gemini import (
    MODALITY_LISTS,
    generate_content_tokens,
    interaction_tokens,
    modality_entries,
    video_tokens,
)
from tokenledger_semconv.usage.openai import chat_tokens, response_tokens
from tokenledger_semconv.usage.reported_cost import reported_cost
from tokenledger_semconv.usage.totals import total_in
from tokenledger_semconv.usage.unread import joined, unread_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tokenledger_exporter.dialects.dialect import RawFields
    from tokenledger_exporter.domain.span_record import AttributeValue

JsonObject: TypeAlias = "dict[str, object]"

# The usage may be at the end of a whole answer; decoding a longer text costs the app too much.
_MAX_LENGTH: Final = 131_072
# Parsing `str(dict)` takes a hundred times as long as JSON.
_MAX_PRINTED_LENGTH: Final = 8_192
_MAX_DEPTH: Final = 3
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
# Words that are taken, and the name each is taken as. Vertex says with its usage which traffic a
# call was (`TrafficType` of google-genai, read 2026-11-28).
_WORDS: Final = {
    **{word: word for word in ("service_tier", "inference_geo", "speed", "traffic_type")},
    "trafficType": "traffic_type",
}
# Vertex's traffic that is not billed at the standard rate.
_OTHER_TRAFFIC: Final = frozenset(
    {"ON_DEMAND_PRIORITY", "ON_DEMAND_FLEX", "PROVISIONED_THROUGHPUT"}
)

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
    "image_input_tokens",
    "image_output_tokens",
    "cached_audio_tokens",
    "cached_image_tokens",
    "web_search_requests",
    "code_execution_requests",
    "audio_seconds",
)
_NESTED: Final = ("usage", "usage_metadata", "usageMetadata")
# Lists of counts -> what reads their entries.
_LISTS: Final[Mapping[str, Callable[[object], list[JsonObject]]]] = {
    **dict.fromkeys(MODALITY_LISTS, modality_entries),
    CACHE_DETAILS: cache_details,
}
_TIER: Final = "serviceTier"
GROUNDING_SEARCHES: Final = "webSearchQueries"
"""The field of Gemini's answers that lists its searches; here, their number."""
_INPUTS: Final = frozenset(
    {
        *("prompt_tokens", "input_tokens", "input", "prompt_token_count", "promptTokenCount"),
        *("inputTokens", "billed_units", "total_input_tokens", "totalTokenCount"),
        *("total_token_count", "total_tokens", GROUNDING_SEARCHES),
        *("input_text_tokens", "output_text_tokens", "input_text", "output_text"),
    }
)


def usage_text(text: str) -> str:
    """The usage object of a text, as JSON with only numbers and tiers; "" if there is none."""
    document = parsed(text)
    usage = _usage_of(document)
    numbers = _numbers(usage, _MAX_DEPTH) if usage else {}
    if searches := _grounding_searches(document):
        numbers[GROUNDING_SEARCHES] = searches
    return json.dumps(numbers) if numbers else ""


def plain_values(text: str) -> str:
    """The plain values of a JSON object, as JSON with short strings; "" if there are none."""
    values = {
        key[: dimensions.MAX_VALUE_LENGTH]: str(value)[: dimensions.MAX_VALUE_LENGTH]
        for key, value in list(parsed(text).items())[: dimensions.MAX_METADATA_KEYS]
        if isinstance(value, str | int | float)
    }
    return json.dumps(values) if values else ""


def numbers_text(text: str) -> str:
    """The numbers of a JSON or printed object, as JSON; "" if there are none."""
    numbers = _numbers(parsed(text), 1)
    return json.dumps(numbers) if numbers else ""


def parsed(text: str) -> JsonObject:
    """The object of a JSON text or of a printed Python dict; empty for any other text."""
    if len(text) > _MAX_LENGTH or not text.startswith("{"):
        return {}
    try:
        value: object = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        value = _printed(text)
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def counts_of(usage: JsonObject) -> dict[str, int]:
    """Counts of a usage object, by field of the token vector; input includes cached tokens."""
    counts: dict[str, int | None]
    for key, shape in _SHAPES:
        if key in usage:
            counts = shape(usage)._asdict()
            break
    else:
        counts = {}
    if counts.get("web_search_requests") is None:
        counts["web_search_requests"] = count_in(usage, GROUNDING_SEARCHES)
    return {name: count for name in _READ if (count := counts.get(name)) is not None}


def add_usage_object(raw: RawFields, usage: JsonObject) -> None:
    """Add what a provider's usage object says; its counts override the emitter's.

    Args:
        raw: the fields of the span.
        usage: the usage object, as `usage_text` keeps it.
    """
    raw.counts.update(counts_of(usage))
    if (total_tokens := total_in(usage)) is not None:
        raw.counts["total_tokens"] = total_tokens
    if (cost := reported_cost(usage)) is not None:
        add_cost(raw, cost.usd, cost.source)
    for word in ("service_tier", "inference_geo", "speed"):
        if isinstance(value := usage.get(word), str):
            raw.values.setdefault(word, value)
    # Python's client prints an enumeration's member: `TrafficType.ON_DEMAND_PRIORITY`.
    traffic = str(usage.get("traffic_type", "")).rpartition(".")[2]
    if traffic in _OTHER_TRAFFIC:
        raw.values.setdefault("service_tier", traffic)
    if video := video_tokens(usage):
        raw.details[attributes.VIDEO_INPUT_TOKENS] = video
    if unread := unread_usage(usage):
        known = raw.details.get(attributes.UNKNOWN_USAGE)
        raw.details[attributes.UNKNOWN_USAGE] = joined(known, unread)


def add_cost(raw: RawFields, usd: AttributeValue, source: str) -> None:
    """Add a reported cost and its source, unless the span has one that our emitters read."""
    if "reported_cost" not in raw.values:
        raw.values["reported_cost"] = usd
        raw.details[attributes.COST_SOURCE] = source


def _printed(text: str) -> object:
    if len(text) > _MAX_PRINTED_LENGTH or not text.startswith("{'"):
        return None
    try:
        value: object = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return value


def _usage_of(document: JsonObject) -> JsonObject:
    """The usage object: the document itself, or one found by name up to two levels below."""
    if not _INPUTS.isdisjoint(document):
        return document
    for outer in (document, *_objects(document)):
        for name in _NESTED:
            inner = object_in(outer, name)
            if not _INPUTS.isdisjoint(inner):
                return inner
        if _TIER in outer:
            return {"service_tier": outer[_TIER]}
    return {}


def _grounding_searches(document: JsonObject) -> int:
    """How many searches Gemini made for its answer, whose queries are not part of its usage."""
    for outer in (document, *_objects(document)):
        metadata = object_in(outer, "groundingMetadata", "grounding_metadata")
        for name in (GROUNDING_SEARCHES, "web_search_queries"):
            queries = metadata.get(name)
            if isinstance(queries, list):
                return sum(1 for query in cast("list[object]", queries) if query)
    return 0


def _objects(outer: JsonObject) -> Iterator[JsonObject]:
    for value in outer.values():
        if isinstance(value, dict):
            yield cast("JsonObject", value)


def _numbers(source: JsonObject, depth: int) -> JsonObject:
    numbers: JsonObject = {}
    for key, value in source.items():
        if not _NAME.fullmatch(str(key)):
            continue
        if isinstance(value, dict):
            inner = _numbers(cast("JsonObject", value), depth - 1) if depth > 1 else {}
            if inner:
                numbers[key] = inner
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if math.isfinite(value):
                numbers[key] = value
        elif isinstance(value, str) and key in _WORDS and _WORD.fullmatch(value):
            numbers[_WORDS[key]] = value
        elif key == ITERATIONS and (entries := [*map(_iteration, iterations(source))]):
            numbers[key] = entries
        elif key in _LISTS and (parts := _LISTS[key](value)):
            numbers[key] = parts
    return numbers


def _iteration(entry: JsonObject) -> JsonObject:
    numbers = {"type": entry["type"], **_numbers(entry, 2)}
    model = entry.get("model")
    return {**numbers, "model": model} if _MODEL.fullmatch(str(model)) and model else numbers


_LANGFUSE_TEXT: Final = ("input_text_tokens", "output_text_tokens", "input_text", "output_text")


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
        image_input_tokens=count_in(usage, "input_image_tokens", "input_image"),
        image_output_tokens=count_in(usage, "output_image_tokens", "output_image"),
    )


def _cohere(usage: JsonObject) -> TokenVector:
    """Cohere bills other counts than those of its tokenizer, and reports both."""
    billed, counted = object_in(usage, "billed_units"), object_in(usage, "tokens")
    text, images = count_in(billed, "input_tokens"), count_in(billed, "image_tokens")
    return TokenVector(
        input_tokens=first(total(text, images), count_in(counted, "input_tokens")),
        output_tokens=first(count_in(billed, "output_tokens"), count_in(counted, "output_tokens")),
        image_input_tokens=images,
    )


def _input_tokens(usage: JsonObject) -> TokenVector:
    """`input_tokens`: of Anthropic, of OpenAI's responses, of LangChain."""
    is_anthropic = "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage
    return message_tokens(usage) if is_anthropic else response_tokens(usage)


_SHAPES: Final[tuple[tuple[str, Callable[[JsonObject], TokenVector]], ...]] = (
    ("billed_units", _cohere),
    ("prompt_tokens", chat_tokens),
    ("prompt_cache_hit_tokens", chat_tokens),
    ("total_input_tokens", interaction_tokens),
    ("input_tokens", _input_tokens),
    ("input", _langfuse),
    *((key, _langfuse) for key in _LANGFUSE_TEXT),
    ("prompt_token_count", generate_content_tokens),
    ("promptTokenCount", generate_content_tokens),
    ("total_token_count", generate_content_tokens),
    ("totalTokenCount", generate_content_tokens),
    ("inputTokens", converse_tokens),
)
