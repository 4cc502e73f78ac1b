"""Holds the total that a provider reports against the parts that it names.

By OpenAI's convention the total is input plus output. Some hosts count reasoning on top of the
output, and some emitters leave cached tokens out of the input; the total shows both.
"""

from typing import Final

from tokenledger_semconv.tokens import TokenVector
from tokenledger_semconv.usage.counts import JsonObject, count_in

_NAMES: Final = ("total_tokens", "totalTokens", "total_token_count", "totalTokenCount")


def total_in(usage: JsonObject) -> int | None:
    """The total of a usage object; `None` if it reports none. A total of 0 says nothing."""
    return count_in(usage, *_NAMES) or None


def with_total(tokens: TokenVector, total_tokens: int | None) -> TokenVector:
    """The counts, brought to the reported total if exactly one rule explains the difference.

    The rules: a side that is not reported is the rest of the total; reasoning is on top of the
    output (x.ai, Gemini); cached tokens are on top of the input (Anthropic's convention).
    """
    read, written = tokens.input_tokens, tokens.output_tokens
    if total_tokens is None or read is written is None:
        return tokens
    surplus = total_tokens - (read or 0) - (written or 0)
    if surplus <= 0:
        return tokens
    if read is None:
        return tokens._replace(input_tokens=surplus)
    if written is None:
        return tokens._replace(output_tokens=surplus)
    reasoning = tokens.reasoning_tokens or 0
    cached = (tokens.cached_tokens or 0) + (tokens.cache_write_tokens or 0)
    # What may be left out of the input, and out of the output.
    rules = ((0, reasoning), (cached, 0), (cached, reasoning))
    apart = next((rule for rule in rules if sum(rule) == surplus), (0, 0))
    return tokens._replace(input_tokens=read + apart[0], output_tokens=written + apart[1])


def surplus_of(tokens: TokenVector, total_tokens: int | None) -> int:
    """How many tokens a total has that the counts lack; negative if it has fewer, 0 if it fits.

    A total that leaves cached tokens out fits too: some emitters add up Anthropic's own counts.
    """
    if total_tokens is None:
        return 0
    surplus = total_tokens - (tokens.total_tokens or 0)
    cached = (tokens.cached_tokens or 0) + (tokens.cache_write_tokens or 0)
    return 0 if surplus == -cached else surplus
