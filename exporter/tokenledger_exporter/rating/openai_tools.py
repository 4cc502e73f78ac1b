"""Splits an OpenAI call whose hosted tools are billed at other models' rates.

A hosted tool that draws runs an image model, and one that writes SVG runs a model of its own. Each
becomes a row of its own at that model's price. Usage that is billed but not reported, or that has
no list price, is named in the row's note and makes the row `partial`. Ref: `tool_usage` and
`svg_usage` of openai 3.57.0, OpenAI's "Web search", "Prompt caching" and "Pricing", read 2026-11-26
in copies of August to October.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import msgspec

from tokenledger_exporter.dialects.usage_json import parsed
from tokenledger_exporter.pricing.charge import UNKNOWN_NOTE
from tokenledger_semconv import attributes
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tokenledger_exporter.dialects import CallFacts

_BATCH: Final = "batch"
_MAX_PARTS: Final = 32
_TOO_MANY: Final = "usage of {count} more models"
_OPENAI: Final = "openai"
_IMAGE: Final = "image_generation"
# Chat models that always search the web before they answer; the usage does not count the search.
_ALWAYS_SEARCHING_MODELS: Final = ("gpt-4o-search-", "gpt-4o-mini-search-", "gpt-5-search-")
# The price list matches it as gpt-4o-mini, whose searches cost less.
_LISTED_AS_ANOTHER: Final = "gpt-4o-mini-search-"
_SEARCH_PRICE: Final = "the price of a web search with this model"
_LONG_WRITES: Final = '"ttl_12h_tokens"'
_LONG_WRITE_PRICE: Final = "the price of cache writes kept for 12 hours"


def parts_of(call: CallFacts) -> Sequence[CallFacts]:
    """The call as it is billed, followed by the tool usage billed at other models' rates."""
    details, usage = call.details, call.usage
    has_tool_usage = attributes.FURTHER_USAGE in details or attributes.UNKNOWN_USAGE in details
    searches = call.provider == _OPENAI and call.model.startswith(_ALWAYS_SEARCHING_MODELS)
    if not has_tool_usage and not searches and (usage is None or _LONG_WRITES not in usage):
        return (call,)
    other_details = dict(details)
    tool_usage = other_details.pop(attributes.FURTHER_USAGE, "")
    unknown_usage = str(other_details.pop(attributes.UNKNOWN_USAGE, ""))
    unknown = [*unknown_usage.split("; "), _unknown_writes(usage)]
    tokens = call.tokens
    if searches and tokens.web_search_requests is None and tokens.is_measured:
        tokens = tokens._replace(web_search_requests=1)
        unknown.append(_SEARCH_PRICE if call.model.startswith(_LISTED_AS_ANOTHER) else "")
    entries = [entry for entry in _objects(tool_usage) if not _tokens(entry, draws=False).is_empty]
    if len(entries) > _MAX_PARTS:
        unknown.append(_TOO_MANY.format(count=len(entries) - _MAX_PARTS))
    notes = [UNKNOWN_NOTE + item for item in unknown if item]
    missing = "; ".join(filter(None, (call.missing_usage, *notes)))
    billed = msgspec.structs.replace(
        call, details=other_details, tokens=tokens, missing_usage=missing
    )
    return (billed, *(_part(billed, entry) for entry in entries[:_MAX_PARTS]))


def _unknown_writes(usage: str | None) -> str:
    """OpenAI reports two kinds of cache writes and lists a price only for those kept 30 minutes."""
    usage_object = parsed(usage or "")
    for side in ("input_tokens_details", "prompt_tokens_details"):
        writes = _inside(_inside(usage_object, side), "cache_write_tokens_details")
        if _count(writes, "ttl_12h_tokens"):
            return _LONG_WRITE_PRICE
    return ""


def _part(call: CallFacts, entry: Mapping[str, object]) -> CallFacts:
    """The usage of one tool as a separate call; the response id belongs to the main call only."""
    kind, model = str(entry.get("type", "")), str(entry.get("model", ""))
    operation = _IMAGE if kind == _IMAGE else call.operation
    tokens = _tokens(entry, draws=kind == _IMAGE)
    # A service tier applies to the requested model only; a batch applies to all models.
    tier = _BATCH if call.service_tier == _BATCH else ""
    return call.part(kind, model, tokens, entry, operation=operation, tier=tier)


def _tokens(entry: Mapping[str, object], *, draws: bool) -> TokenVector:
    inputs, outputs = (
        _inside(entry, "input_tokens_details"),
        _inside(entry, "output_tokens_details"),
    )
    cached = _inside(entry, "cached_tokens_details")
    written = _count(entry, "output_tokens")
    # All output of an image model is image output, unless the usage says otherwise.
    image = _count(outputs, "image_tokens")
    return TokenVector(
        input_tokens=_count(entry, "input_tokens"),
        output_tokens=written,
        cached_tokens=_count(entry, "cached_tokens"),
        reasoning_tokens=_count(entry, "reasoning_tokens"),
        image_input_tokens=_count(inputs, "image_tokens"),
        image_output_tokens=written if draws and image is None else image,
        cached_image_tokens=_count(cached, "cached_image_tokens"),
    )


def _count(usage: Mapping[str, object], name: str) -> int | None:
    value = usage.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value >= 0 else None


def _inside(usage: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = usage.get(name)
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def _objects(text: object) -> Sequence[Mapping[str, object]]:
    document = _decoded(text) if isinstance(text, str) else None
    entries = cast("list[object]", document) if isinstance(document, list) else []
    return [cast("Mapping[str, object]", entry) for entry in entries if isinstance(entry, dict)]


def _decoded(text: str) -> object:
    try:
        return msgspec.json.decode(text) if text else None
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
