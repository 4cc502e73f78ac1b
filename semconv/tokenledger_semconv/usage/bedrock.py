"""Bedrock's usage object.

Source: docs.aws.amazon.com, "TokenUsage" and "CacheDetail" of the Converse API, read 2026-11-28.
"""

from typing import Final, cast

from tokenledger_semconv.tokens import TokenVector
from tokenledger_semconv.usage.counts import JsonObject, count_in, largest, total

CACHE_DETAILS: Final = "cacheDetails"
"""The list of cache writes by lifetime."""

_MAX_ENTRIES: Final = 16
_HOUR: Final = "1h"
_LIFETIMES: Final = frozenset({_HOUR, "5m"})


def cache_details(value: object) -> list[JsonObject]:
    """The entries of such a list, with only their lifetime and count."""
    entries: list[JsonObject] = []
    for item in cast("list[object]", value)[:_MAX_ENTRIES] if isinstance(value, list) else ():
        fields = cast("JsonObject", item) if isinstance(item, dict) else {}
        lifetime, written = str(fields.get("ttl")), count_in(fields, "inputTokens")
        if lifetime in _LIFETIMES and written is not None:
            entries.append({"ttl": lifetime, "inputTokens": written})
    return entries


def converse_tokens(usage: JsonObject) -> TokenVector:
    """The counts of a usage object, whose input leaves out what a cache read or wrote."""
    details = cache_details(usage.get(CACHE_DETAILS))
    hour = total(*(count_in(d, "inputTokens") for d in details if d["ttl"] == _HOUR))
    every = total(*(count_in(detail, "inputTokens") for detail in details))
    reads = count_in(usage, "cacheReadInputTokens")
    writes = largest(count_in(usage, "cacheWriteInputTokens"), every)
    return TokenVector(
        input_tokens=total(count_in(usage, "inputTokens"), reads, writes),
        output_tokens=count_in(usage, "outputTokens"),
        cached_tokens=reads,
        cache_write_tokens=writes,
        cache_write_1h_tokens=hour,
    )
