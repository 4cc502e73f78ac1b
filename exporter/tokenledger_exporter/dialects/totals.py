"""Holds the total that a span reports against its counts, and repairs what a rule explains.

What no rule explains stays as it is, and the row says so: it is `partial`, never `priced`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tokenledger_semconv.usage.totals import surplus_of, with_total

if TYPE_CHECKING:
    from tokenledger_semconv.tokens import TokenVector

THINKING: Final = "thinking"
"""The total of a Gemini call exceeds its counts by thinking: Google's endpoint in OpenAI's shape
(recorded answers, 2026-11-28)."""

TOOL_PROMPT: Final = "tool prompt"
"""The total of a Gemini call exceeds its counts by the prompt of its tools (LiteLLM 1.110.2)."""

EITHER: Final = "either"
"""It exceeds them by either, and the span does not say by which (OpenLLMetry's Gemini package,
0.62.4, and every emitter that is not known to be one of the others)."""

_GOOGLE, _XAI = "google", "x-ai"
_WITHOUT_OUTPUT: Final = frozenset({"embeddings", "moderation"})
_GEMINI: Final = "gemini"
# Models before thinking (ai.google.dev, "Thinking", read 2026-11-28).
_WITHOUT_THINKING: Final = ("gemini-1", "gemini-2.0", "gemini-pro")
_ONLY_TOTAL: Final = "how {total:,} tokens divide into input and output"
_UNKNOWN_PART: Final = "whether {surplus:,} tokens are reasoning or the prompt of a tool"
_MISFIT: Final = "why {total:,} tokens in total are not the {sum:,} of the counts"


class CallKind(NamedTuple):
    """What decides how a total is read.

    Args:
        provider: the ledger's name of the provider.
        model: the model that answered.
        operation: the kind of call.
        gemini_surplus: what the total of a Gemini call of this emitter has in addition.
    """

    provider: str
    model: str
    operation: str
    gemini_surplus: str


def held_to_total(
    tokens: TokenVector, total_tokens: int | None, kind: CallKind
) -> tuple[TokenVector, str]:
    """The counts, repaired by the total, and what stays unknown, in words; "" if nothing does.

    Args:
        tokens: counts in the contract's shape.
        total_tokens: the reported total.
        kind: the call.
    """
    if _counts_reasoning_apart(tokens, kind.provider):
        output = (tokens.output_tokens or 0) + (tokens.reasoning_tokens or 0)
        apart = tokens._replace(output_tokens=output)
        if not surplus_of(apart, total_tokens):
            return apart, ""
    if total_tokens is None:
        return tokens, ""
    if tokens.total_tokens is None:
        return _from_total_alone(tokens, total_tokens, kind.operation)
    tokens = with_total(tokens, total_tokens)
    surplus = surplus_of(tokens, total_tokens)
    if surplus > 0 and _is_gemini(kind):
        return _with_surplus(tokens, surplus, kind)
    if surplus:
        return tokens, _MISFIT.format(total=total_tokens, sum=tokens.total_tokens)
    return tokens, ""


def _from_total_alone(
    tokens: TokenVector, total_tokens: int, operation: str
) -> tuple[TokenVector, str]:
    """The counts of a call of which only the total is known."""
    if operation in _WITHOUT_OUTPUT:
        return tokens._replace(input_tokens=total_tokens), ""
    is_known = tokens.has_length or total_tokens == 0
    return tokens, "" if is_known else _ONLY_TOTAL.format(total=total_tokens)


def _counts_reasoning_apart(tokens: TokenVector, provider: str) -> bool:
    """Whether reasoning exceeds the output at a provider that counts it on top of the output."""
    written, reasoning = tokens.output_tokens, tokens.reasoning_tokens
    return (
        provider in {_XAI, _GOOGLE}
        and written is not None
        and reasoning is not None
        and reasoning > written
    )


def _is_gemini(kind: CallKind) -> bool:
    return kind.provider == _GOOGLE or _GEMINI in kind.model.lower()


def _with_surplus(tokens: TokenVector, surplus: int, kind: CallKind) -> tuple[TokenVector, str]:
    """The counts of a Gemini call with what only its total has."""
    name, meaning = kind.model.lower().rpartition("/")[2], kind.gemini_surplus
    is_old = meaning == EITHER and name.startswith(_WITHOUT_THINKING)
    if meaning == TOOL_PROMPT or is_old:
        return tokens._replace(input_tokens=(tokens.input_tokens or 0) + surplus), ""
    # Reasoning that is reported is part of the output already.
    is_known = meaning == THINKING and kind.provider == _GOOGLE and not tokens.reasoning_tokens
    thinking = tokens._replace(
        output_tokens=(tokens.output_tokens or 0) + surplus,
        reasoning_tokens=(tokens.reasoning_tokens or 0) + surplus,
    )
    return thinking, "" if is_known else _UNKNOWN_PART.format(surplus=surplus)
