"""One model call as its span reports it, in the ledger's terms, before pricing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from tokenledger_exporter.dialects.bounds import MAX_STORED_NAME_LENGTH
from tokenledger_exporter.dialects.usage_json import counts_of, parsed
from tokenledger_semconv import attributes
from tokenledger_semconv.usage.anthropic import iterations

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from tokenledger_exporter.domain.span_record import AttributeValue
    from tokenledger_semconv.tokens import TokenVector

# Operations without output tokens.
_WITHOUT_OUTPUT: Final = frozenset({"embeddings", "moderation"})
_NONE: Final[Mapping[str, int]] = {}
_PRICED_BY_REQUEST: Final = frozenset({"aws", "huggingface"})
_ITERATIONS: Final = "iterations"
# Iterations that an answer's counts include: anthropic 2.14.0, types/beta/beta_usage.py.
_TURNS: Final = frozenset({"message", "fallback_message", "compaction"})


class CallFacts(msgspec.Struct, frozen=True):
    """One model call as its span reports it, before pricing.

    Args:
        tokens: counts in the contract's shape.
        missing_usage: which counts are missing; "" if none.
        refused: the provider refused the call before any work (4xx), or never got it, so it costs
            nothing.
        dimensions: ledger column -> value; "" if the call has none.
        metadata: more attribution keys.
        usage: the provider's usage object, as JSON text.
        estimated: output tokens were estimated, because the provider's count did not arrive.
        reported_cost_usd: the cost that the provider reports.
        inference_geo: the region that ran the call, as the provider names it.
        details: request settings and other details, attribute name -> value.
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
    def not_sent(self) -> bool:
        """Whether no request reached the provider."""
        return self.refused and attributes.NOT_SENT in self.details

    @property
    def priced_model(self) -> str:
        """The model name to look up the price with."""
        return name_to_price(self.provider, self.request_model, self.model)

    def part(  # noqa: PLR0913 - the fields in which a part differs
        self,
        kind: str,
        model: str,
        tokens: TokenVector,
        usage: object,
        *,
        operation: str,
        tier: str,
    ) -> CallFacts:
        """A part of this call that is billed at another model's rates, as a separate call.

        The part has no response id: only the call itself is deduplicated by it.

        Args:
            kind: kind of the part, as the provider names it.
            model: the model that ran.
            tokens: the part's counts.
            usage: the provider's usage object of the part.
            operation: the part's operation.
            tier: the tier it is billed at.
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
        """Input tokens of the shortest turn, if the usage sums several turns; otherwise `None`."""
        if self.usage is None or _ITERATIONS not in self.usage:
            return None
        turns = [
            counts_of(entry).get("input_tokens", 0)
            for entry in iterations(parsed(self.usage))
            if entry["type"] in _TURNS and (entry.get("model") or self.model) == self.model
        ]
        return min(turns) if len(turns) > 1 else None

    @property
    def input_of_other_kinds(self) -> Mapping[str, int]:
        """Input tokens that may have another price than the one they get, by price kind."""
        return input_of_other_kinds(self.details, self.tokens.cache_write_tokens)


def input_of_other_kinds(
    details: Mapping[str, object], cache_write_tokens: int | None
) -> Mapping[str, int]:
    """Input tokens that may have another price than the one they get, by price kind.

    Args:
        details: the details of the call.
        cache_write_tokens: its cache writes.
    """
    if attributes.VIDEO_INPUT_TOKENS not in details and (
        attributes.UNKNOWN_CACHE_LIFETIMES not in details
    ):
        return _NONE
    video = details.get(attributes.VIDEO_INPUT_TOKENS)
    written = cache_write_tokens if attributes.UNKNOWN_CACHE_LIFETIMES in details else 0
    counts = {"input_video": video, "cache_write_1h": written}
    return {kind: count for kind, count in counts.items() if isinstance(count, int) and count > 0}


def name_to_price(provider: str, request_model: str, model: str) -> str:
    """The model name to look up the price with: the response's model, except where it says less.

    On Bedrock the endpoint determines the price (`global.` costs less than `us.`), and at Hugging
    Face's router the suffix that names the provider (`:together`). The response names only the
    model.
    """
    return request_model or model if provider in _PRICED_BY_REQUEST else model


def missing_usage(operation: str, tokens: TokenVector) -> str:
    """Which counts of a call are missing, as text; "" if none."""
    if tokens.input_tokens is None:
        if tokens.output_tokens is not None:
            return "input tokens were not reported"
        return "" if tokens.is_measured else "the provider reported no usage"
    if tokens.output_tokens is None and operation not in _WITHOUT_OUTPUT:
        return "output tokens were not reported"
    return ""
