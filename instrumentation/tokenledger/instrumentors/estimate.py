"""How many tokens a stream had when it broke off, from lengths alone.

A weight is one number for two counts, so that adding a chunk is one addition: characters of text in
the low 32 bits, chunks of text above them. The rules below were fitted to recorded streams, see
docs/estimates.md; what they give is marked as an estimate wherever it goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger.reading import read_json
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenledger.reading import Found

ONE_CHUNK: Final = 1 << 32
"""What a chunk adds to a weight, beside the characters of its text."""

# Above this many characters a chunk, a host sends several tokens in one.
_ONE_TOKEN_CHARACTERS: Final = 8
_TOKENS_A_CHARACTER: Final = 0.21
_TOKENS_A_CHUNK: Final = 0.41
_INPUT_CHARACTERS_A_TOKEN: Final = 4

OPENAI_TOOL_CALL: Final = 7 * ONE_CHUNK
"""What beginning a tool call adds to a weight beside its text: what it is wrapped in is billed."""

ANTHROPIC_TOOL_CALL: Final = 85 * ONE_CHUNK
"""The same for Anthropic: 85 chunks at 0.41 tokens are 35."""

# Longer words without a space are encoded files, which no provider bills by their length.
_LONGEST_WORD: Final = 1_000


def characters_of(weight: int) -> int:
    """The characters of text in a weight."""
    return weight % ONE_CHUNK


def chunks_of(weight: int) -> int:
    """The chunks of text in a weight."""
    return weight // ONE_CHUNK


def estimated_output(weight: int) -> int:
    """Output tokens of a stream that sends a token a chunk, as OpenAI's do."""
    chunks = chunks_of(weight)
    if characters_of(weight) <= chunks * _ONE_TOKEN_CHARACTERS:
        return chunks
    return estimated_long_output(weight)


def estimated_long_output(weight: int) -> int:
    """Output tokens of a stream that sends several tokens a chunk, as Anthropic's do."""
    characters, chunks = characters_of(weight), chunks_of(weight)
    return max(1, round(characters * _TOKENS_A_CHARACTER + chunks * _TOKENS_A_CHUNK))


def estimated_input(request_body: bytes) -> int:
    """Input tokens of a request, by the length of all text in its body; 0 if it is no JSON."""
    try:
        characters = sum(len(text) for text in _texts(read_json(request_body)) if _is_text(text))
    except RecursionError:
        return 0
    return round(characters / _INPUT_CHARACTERS_A_TOKEN)


def estimate(output_tokens: int, input_tokens: int | None = None) -> Found:
    """The attributes of an estimate.

    Args:
        output_tokens: estimated output.
        input_tokens: estimated input; `None` where the provider told it.
    """
    found: Found = {names.OUTPUT_TOKENS: output_tokens, names.USAGE_ESTIMATED: True}
    if input_tokens:
        found[names.INPUT_TOKENS] = input_tokens
    return found


def _is_text(text: str) -> bool:
    return len(text) <= _LONGEST_WORD or " " in text[:_LONGEST_WORD]


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in cast("dict[str, Any]", value).values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _texts(item)
