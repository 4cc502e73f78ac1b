"""Estimates the tokens of a stream that broke off, from lengths alone.

A weight holds two counts in one number, so that adding a chunk is one addition: characters of text
in the low 32 bits, chunks of text above them. The rules were fitted to recorded streams, see
docs/concepts/estimates.md. Their results are marked as estimates everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from tokenledger._usage.fields import read_json
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenledger._usage.fields import Attributes

ONE_CHUNK: Final = 1 << 32
"""What a chunk adds to a weight, in addition to the characters of its text."""

# A host that sends more characters per chunk than this sends several tokens in one.
_ONE_TOKEN_CHARACTERS: Final = 8
_TOKENS_PER_CHARACTER: Final = 0.21
_TOKENS_PER_CHUNK: Final = 0.41
_INPUT_CHARACTERS_PER_TOKEN: Final = 4

OPENAI_TOOL_CALL: Final = 7 * ONE_CHUNK
"""What a tool call adds to a weight in addition to its text: its envelope is billed too."""

ANTHROPIC_TOOL_CALL: Final = 85 * ONE_CHUNK
"""The same for Anthropic: 85 chunks at 0.41 tokens are 35."""

# Longer words without a space are encoded files, which no provider bills by length.
_LONGEST_WORD: Final = 1_000


def characters_of(weight: int) -> int:
    """The characters of text in a weight."""
    return weight % ONE_CHUNK


def chunks_of(weight: int) -> int:
    """The chunks of text in a weight."""
    return weight // ONE_CHUNK


def estimated_output(weight: int) -> int:
    """Output tokens of a stream that sends one token per chunk, like OpenAI's."""
    chunks = chunks_of(weight)
    if characters_of(weight) <= chunks * _ONE_TOKEN_CHARACTERS:
        return chunks
    return estimated_long_output(weight)


def estimated_long_output(weight: int) -> int:
    """Output tokens of a stream that sends several tokens per chunk, like Anthropic's."""
    characters, chunks = characters_of(weight), chunks_of(weight)
    return max(1, round(characters * _TOKENS_PER_CHARACTER + chunks * _TOKENS_PER_CHUNK))


def estimated_input(request_body: bytes) -> int:
    """Input tokens of a request, by the length of all text in its body; 0 if it is not JSON."""
    try:
        characters = sum(len(text) for text in _texts(read_json(request_body)) if _is_text(text))
    except RecursionError:
        return 0
    return round(characters / _INPUT_CHARACTERS_PER_TOKEN)


def estimate(output_tokens: int, input_tokens: int | None = None) -> Attributes:
    """The attributes of an estimate.

    Args:
        output_tokens: estimated output.
        input_tokens: estimated input; `None` if the provider reported it.
    """
    attributes: Attributes = {names.OUTPUT_TOKENS: output_tokens, names.USAGE_ESTIMATED: True}
    if input_tokens:
        attributes[names.INPUT_TOKENS] = input_tokens
    return attributes


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
