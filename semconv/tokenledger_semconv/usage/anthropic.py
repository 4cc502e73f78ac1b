"""Anthropic's usage object.

Source: the usage types of anthropic 0.49.0 and 2.14.0, read 2026-11-26. Its input leaves out what a
cache read or wrote, and its top-level counts leave out compactions. The token vector includes both.
"""

from typing import Final, cast

from tokenledger_semconv.tokens import TokenVector
from tokenledger_semconv.usage.counts import (
    JsonObject,
    cache_writes,
    count_in,
    first,
    object_in,
    total,
)

ITERATIONS: Final = "iterations"
"""The field that lists the turns of a call and the further models inside it."""

COMPACTION: Final = "compaction"
"""The kind of iteration that is billed for the same model but missing from the top level."""

KINDS: Final = frozenset({COMPACTION, "message", "advisor_message", "fallback_message"})
"""The kinds of iteration."""

MAX_ITERATIONS: Final = 256
"""The most iterations that are read."""

# If the top level does not report one of these, the part in a compaction must not pass for it.
_WHOLE: Final = ("input_tokens", "output_tokens")


def message_tokens(usage: JsonObject) -> TokenVector:
    """The usage of a message, including its compactions."""
    tokens = _counts(usage)
    for entry in iterations(usage):
        if entry["type"] == COMPACTION:
            compaction = _counts(entry)
            tokens = TokenVector(
                *(
                    None if count is None and name in _WHOLE else total(count, further)
                    for name, count, further in zip(
                        TokenVector._fields, tokens, compaction, strict=True
                    )
                )
            )
    return tokens


def iterations(usage: JsonObject) -> list[JsonObject]:
    """The turns of a call and the further models inside it: a list of usage objects with a kind."""
    entries = usage.get(ITERATIONS)
    if not isinstance(entries, list):
        return []
    objects = (
        cast("JsonObject", entry)
        for entry in cast("list[object]", entries)[:MAX_ITERATIONS]
        if isinstance(entry, dict)
    )
    return [entry for entry in objects if str(entry.get("type")) in KINDS]


def _counts(usage: JsonObject) -> TokenVector:
    lifetimes = object_in(usage, "cache_creation")
    tools = object_in(usage, "server_tool_use")
    reads = count_in(usage, "cache_read_input_tokens")
    writes = first(count_in(usage, "cache_creation_input_tokens"), cache_writes(lifetimes))
    return TokenVector(
        input_tokens=total(count_in(usage, "input_tokens"), reads, writes),
        output_tokens=count_in(usage, "output_tokens"),
        cached_tokens=reads,
        cache_write_tokens=writes,
        cache_write_1h_tokens=count_in(lifetimes, "ephemeral_1h_input_tokens"),
        reasoning_tokens=count_in(object_in(usage, "output_tokens_details"), "thinking_tokens"),
        web_search_requests=count_in(tools, "web_search_requests"),
        code_execution_requests=count_in(tools, "code_execution_requests"),
    )
