"""Reads usage objects that have more, or other, fields than OpenAI's own.

Most hosts copy OpenAI's shape and add fields of their own. OpenAI's own usage is read faster, in
`openai`; anything else goes through the plain readers of the contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenledger._usage.fields import add_usage, fields_of, token_attributes
from tokenledger_semconv import attributes as names
from tokenledger_semconv.usage.totals import surplus_of, total_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger._usage.fields import Attributes
    from tokenledger_semconv.tokens import TokenVector

# A usage object holds details, which hold details.
_MAX_DEPTH: Final = 3
# Perplexity's list price is that of a search with a high context (docs.perplexity.ai, "Pricing").
_CONTEXT, _LISTED_CONTEXT = "search_context_size", "high"
_UNKNOWN_SEARCH: Final = "the fee of a search with a {size} context"


def add_compatible_usage(
    attributes: Attributes,
    usage: object,
    tokens_of: Callable[[dict[str, Any]], TokenVector],
) -> None:
    """Add what a usage object says: counts, a total they do not add up to, and a cost.

    Args:
        attributes: what is known of the answer.
        usage: the usage object.
        tokens_of: the contract's reader of its shape.
    """
    fields = plain(usage)
    tokens = tokens_of(fields)
    attributes.update(token_attributes(tokens))
    total_tokens = total_in(fields)
    if total_tokens is not None and surplus_of(tokens, total_tokens):
        attributes[names.TOTAL_TOKENS] = total_tokens
    add_other_usage(attributes, fields)
    add_usage(attributes, usage)


def add_other_usage(attributes: Attributes, fields: dict[str, Any]) -> None:
    """Add what a usage object says apart from its tokens: a cost, and what is billed but not read.

    Args:
        attributes: what is known of the answer.
        fields: the usage object, as `plain` returns it.
    """
    # Loaded here: OpenAI's and Anthropic's own usage needs none of it.
    from tokenledger_semconv.usage.gemini import video_tokens
    from tokenledger_semconv.usage.reported_cost import reported_cost
    from tokenledger_semconv.usage.unread import joined, unread_usage

    if cost := reported_cost(fields):
        attributes[names.REPORTED_COST] = cost.usd
        attributes[names.COST_SOURCE] = cost.source
    if video := video_tokens(fields):
        attributes[names.VIDEO_INPUT_TOKENS] = video
    size, search = fields.get(_CONTEXT), ""
    if isinstance(size, str) and size != _LISTED_CONTEXT:
        search = _UNKNOWN_SEARCH.format(size=size[:16])
    if unknown := joined(attributes.get(names.UNKNOWN_USAGE), search, unread_usage(fields)):
        attributes[names.UNKNOWN_USAGE] = unknown


def plain(source: object, depth: int = _MAX_DEPTH) -> dict[str, Any]:
    """The fields of an SDK's object or of a mapping, and of the objects inside it."""
    return {
        name: plain(value, depth - 1) if depth and fields_of(value) else value
        for name, value in fields_of(source).items()
    }
