"""What OpenAI bills beside the counts of an answer, and what of its bill nobody tells.

A hosted tool that draws runs an image model, and one that writes SVG a model of its own: each is a
row of its own, at that model's price. What is billed and not told, or has no price on any list,
stands in the row's note and makes it `partial`. Ref: `tool_usage` and `svg_usage` of openai 3.57.0,
OpenAI's "Web search", "Prompt caching" and "Pricing", read 2026-11-26 in copies of August to
October.
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
_BEYOND: Final = "what {count} further models used"
_OPENAI: Final = "openai"
_IMAGE: Final = "image_generation"
# Chat completions that always search the web before they answer; the answer does not count it.
_SEARCHING: Final = ("gpt-4o-search-", "gpt-4o-mini-search-", "gpt-5-search-")
# The list takes it for gpt-4o-mini, whose searches cost less than those of the preview.
_LISTED_AS_ANOTHER: Final = "gpt-4o-mini-search-"
_SEARCH_PRICE: Final = "what a search costs with this model"
_LONG_WRITES: Final = '"ttl_12h_tokens"'
_LONG_WRITE_PRICE: Final = "the price of cache writes kept for 12 hours"


def parts_of(call: CallFacts) -> Sequence[CallFacts]:
    """The call as OpenAI bills it, and behind it what its tools bill at other models' rates."""
    details, usage = call.details, call.usage
    is_told = attributes.FURTHER_USAGE in details or attributes.UNKNOWN_USAGE in details
    searches = call.provider == _OPENAI and call.model.startswith(_SEARCHING)
    if not is_told and not searches and (usage is None or _LONG_WRITES not in usage):
        return (call,)
    kept = dict(details)
    further = kept.pop(attributes.FURTHER_USAGE, "")
    unknown = [*str(kept.pop(attributes.UNKNOWN_USAGE, "")).split("; "), _unknown_writes(usage)]
    tokens = call.tokens
    if searches and tokens.web_search_requests is None and tokens.is_measured:
        tokens = tokens._replace(web_search_requests=1)
        unknown.append(_SEARCH_PRICE if call.model.startswith(_LISTED_AS_ANOTHER) else "")
    entries = [entry for entry in _objects(further) if not _tokens(entry, draws=False).is_empty]
    if len(entries) > _MAX_PARTS:
        unknown.append(_BEYOND.format(count=len(entries) - _MAX_PARTS))
    notes = [UNKNOWN_NOTE + each for each in unknown if each]
    missing = "; ".join(filter(None, (call.missing_usage, *notes)))
    billed = msgspec.structs.replace(call, details=kept, tokens=tokens, missing_usage=missing)
    return (billed, *(_part(billed, entry) for entry in entries[:_MAX_PARTS]))


def _unknown_writes(usage: str | None) -> str:
    """OpenAI tells them apart and lists one price, of those kept for 30 minutes."""
    told = parsed(usage or "")
    for side in ("input_tokens_details", "prompt_tokens_details"):
        writes = _inside(_inside(told, side), "cache_write_tokens_details")
        if _count(writes, "ttl_12h_tokens"):
            return _LONG_WRITE_PRICE
    return ""


def _part(call: CallFacts, entry: Mapping[str, object]) -> CallFacts:
    """What one tool used, as a call of its own; the answer's id is the call's alone."""
    kind, model = str(entry.get("type", "")), str(entry.get("model", ""))
    operation = _IMAGE if kind == _IMAGE else call.operation
    tokens = _tokens(entry, draws=kind == _IMAGE)
    # A tier bought for the one model is not the other's; a batch is for all in it.
    tier = _BATCH if call.service_tier == _BATCH else ""
    return call.part(kind, model, tokens, entry, operation=operation, tier=tier)


def _tokens(entry: Mapping[str, object], *, draws: bool) -> TokenVector:
    inputs, outputs = (
        _inside(entry, "input_tokens_details"),
        _inside(entry, "output_tokens_details"),
    )
    cached = _inside(entry, "cached_tokens_details")
    written = _count(entry, "output_tokens")
    # All that an image model puts out is image, unless it says otherwise.
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


def _count(told: Mapping[str, object], name: str) -> int | None:
    value = told.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value >= 0 else None


def _inside(told: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = told.get(name)
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def _objects(text: object) -> Sequence[Mapping[str, object]]:
    found = _decoded(text) if isinstance(text, str) else None
    entries = cast("list[object]", found) if isinstance(found, list) else []
    return [cast("Mapping[str, object]", entry) for entry in entries if isinstance(entry, dict)]


def _decoded(text: str) -> object:
    try:
        return msgspec.json.decode(text) if text else None
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
