"""Estimates the tokens of a stream that broke off, from lengths alone.

A weight holds two counts in one number, so that adding a chunk is one addition: characters of text
in the low 32 bits, chunks of text above them. The rules were fitted to recorded streams, see
docs/concepts/estimates.md. Their results are marked as estimates everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from tokenledger._usage.fields import read_json
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tokenledger._usage.fields import Attributes

ONE_CHUNK: Final = 1 << 32
"""What a chunk adds to a weight, in addition to the characters of its text."""

# A host that sends more characters per chunk than this sends several tokens in one.
_ONE_TOKEN_CHARACTERS: Final = 8
_TOKENS_PER_CHARACTER: Final = 0.21
_TOKENS_PER_CHUNK: Final = 0.41
INPUT_CHARACTERS_PER_TOKEN: Final = 4
"""Characters of a request for each token of its input."""

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
        characters = input_characters(read_json(request_body))
    except RecursionError:
        return 0
    return round(characters / INPUT_CHARACTERS_PER_TOKEN)


def input_characters(body: object, encoded_file: int = 0) -> int:
    """The length of all text in a request's body; a token id counts as a token's characters.

    Args:
        body: the body, or a part of it.
        encoded_file: what to count for an encoded file.

    Raises:
        RecursionError: the body is nested too deeply.
    """
    if isinstance(body, str):
        return len(body) if _is_text(body) else encoded_file
    if isinstance(body, dict):
        items: Iterable[object] = cast("dict[str, object]", body).values()
    elif isinstance(body, (list, tuple)):
        parts = cast("Sequence[object]", body)
        if parts and type(parts[0]) is int:
            return len(parts) * INPUT_CHARACTERS_PER_TOKEN
        items = parts
    else:
        return 0
    characters = 0
    for item in items:
        # Here, not in a call of its own: every request that has a budget is measured.
        if isinstance(item, str):
            characters += len(item) if _is_text(item) else encoded_file
        else:
            characters += input_characters(item, encoded_file)
    return characters


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
