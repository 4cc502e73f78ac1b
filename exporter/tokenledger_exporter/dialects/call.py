"""What a span tells of one model call, in the ledger's words, before any price."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from tokenledger_exporter.dialects.bounds import MAX_STORED_NAME_LENGTH
from tokenledger_exporter.dialects.usage_json import counts_of, parsed
from tokenledger_semconv import attributes
from tokenledger_semconv.usage.anthropic import iterations

if TYPE_CHECKING:
    from decimal import Decimal

    from tokenledger_exporter.domain.span_record import AttributeValue
    from tokenledger_semconv.tokens import TokenVector

# Operations that answer with nothing a provider counts.
_WITHOUT_OUTPUT: Final = frozenset({"embeddings", "moderation"})
_BEDROCK: Final = "aws"
_ITERATIONS: Final = "iterations"
# What the counts of an answer add up: `iterations` of anthropic 2.14.0, types/beta/beta_usage.py.
_TURNS: Final = frozenset({"message", "fallback_message", "compaction"})


class CallFacts(msgspec.Struct, frozen=True):
    """One model call as its span tells it, before any price.

    Args:
        tokens: counts in the contract's shape.
        missing_usage: "" if the counts are whole, else what is missing.
        refused: the provider refused the call before any work (4xx): it costs nothing.
        dimensions: ledger column -> value, "" where nothing was given.
        metadata: further attribution keys.
        usage: the provider's own usage object, as JSON text.
        estimated: output was estimated, because the provider's own count never came.
        reported_cost_usd: what the provider itself says the call cost.
        inference_geo: where the provider ran the call, in its own words.
        details: settings and circumstances of the call, attribute name -> value.
    """

    provider: str
    model: str
    request_model: str
    operation: str
    response_id: str
    tokens: TokenVector
    missing_usage: str
    refused: bool
    failed: bool
    error_type: str
    service_tier: str
    time_to_first_token_ms: float | None
    usage: str | None
    estimated: bool
    reported_cost_usd: Decimal | None
    inference_geo: str
    details: dict[str, AttributeValue]
    dimensions: dict[str, str]
    metadata: dict[str, str]

    @property
    def priced_model(self) -> str:
        """The name to look the price up by."""
        return name_to_price(self.provider, self.request_model, self.model)

    def part(  # noqa: PLR0913 - what a part has of its own
        self,
        kind: str,
        model: str,
        tokens: TokenVector,
        usage: object,
        *,
        operation: str,
        tier: str,
    ) -> CallFacts:
        """What the call's answer bills at another model's rates, as a call of its own.

        The answer's id stays the call's alone: one call is told of once.

        Args:
            kind: what it is, in the provider's words.
            model: the model that ran.
            tokens: its counts.
            usage: the provider's own object of it.
            operation: what it did.
            tier: the tier it is billed on.
        """
        return msgspec.structs.replace(
            self,
            model=model[:MAX_STORED_NAME_LENGTH],
            request_model=model[:MAX_STORED_NAME_LENGTH],
            operation=operation,
            response_id="",
            tokens=tokens,
            missing_usage=missing_usage(operation, tokens),
            refused=False,
            failed=False,
            error_type="",
            service_tier=tier,
            time_to_first_token_ms=None,
            usage=msgspec.json.encode(usage).decode(),
            estimated=False,
            reported_cost_usd=None,
            details={attributes.USAGE_PART: kind},
        )

    @property
    def shortest_turn(self) -> int | None:
        """Input tokens of the shortest of several turns it sums up; `None` if it tells of none."""
        if self.usage is None or _ITERATIONS not in self.usage:
            return None
        turns = [
            counts_of(entry).get("input_tokens", 0)
            for entry in iterations(parsed(self.usage))
            if entry["type"] in _TURNS and (entry.get("model") or self.model) == self.model
        ]
        return min(turns) if len(turns) > 1 else None


def name_to_price(provider: str, request_model: str, model: str) -> str:
    """The name to look a price up by: the model that answered, except on Bedrock.

    There the endpoint sets the price (`global.` costs less than `us.`), and the answer names the
    model alone.
    """
    return request_model or model if provider == _BEDROCK else model


def missing_usage(operation: str, tokens: TokenVector) -> str:
    """What the counts of a call lack, in words; "" if they are whole."""
    if tokens.input_tokens is None:
        if tokens.output_tokens is not None:
            return "input tokens were not reported"
        return "" if tokens.is_measured else "the provider reported no usage"
    if tokens.output_tokens is None and operation not in _WITHOUT_OUTPUT:
        return "output tokens were not reported"
    return ""
