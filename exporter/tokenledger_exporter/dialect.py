"""Reads a span into the facts of one model call: today's GenAI conventions and their older names.

One dialect for now; readers for other vendors' spans stand beside it later. Counts come out as the
contract's token vector, whatever the emitter's convention.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.providers import ledger_name
from tokenledger_semconv import attributes, dimensions
from tokenledger_semconv.families import provider_of
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.records import AttributeValue, SpanRecord, SpoolHeader

# Operations a provider bills; agents, tools and retrieval only repeat or hold them
# (semantic-conventions-genai, gen_ai.operation.name, read 2026-11-22). The last five are our
# instrumentors' names of what the conventions do not name.
BILLABLE_OPERATIONS: Final = frozenset(
    {
        *("chat", "generate_content", "text_completion", "embeddings"),
        *("image_generation", "transcription", "translation", "speech", "moderation"),
    }
)

# Operations that answer with nothing a provider counts.
_WITHOUT_OUTPUT: Final = frozenset({"embeddings", "moderation"})

# Field of the token vector -> attributes that may hold it, today's name first.
_TOKEN_ATTRIBUTES: Final[Mapping[str, tuple[str, ...]]] = {
    "input_tokens": (attributes.INPUT_TOKENS, attributes.INPUT_TOKENS_UNTIL_1_26),
    "output_tokens": (attributes.OUTPUT_TOKENS, attributes.OUTPUT_TOKENS_UNTIL_1_26),
    "cached_tokens": (attributes.CACHE_READ_TOKENS, attributes.CACHE_READ_TOKENS_OLDER),
    "cache_write_tokens": (
        attributes.CACHE_WRITE_TOKENS,
        attributes.CACHE_WRITE_TOKENS_UNTIL_1_42,
        attributes.CACHE_WRITE_TOKENS_OLDER,
    ),
    "cache_write_1h_tokens": (attributes.CACHE_WRITE_1H_TOKENS,),
    "reasoning_tokens": (attributes.REASONING_TOKENS, attributes.REASONING_TOKENS_OLDER),
    "audio_input_tokens": (attributes.AUDIO_INPUT_TOKENS,),
    "cached_audio_tokens": (attributes.CACHED_AUDIO_TOKENS,),
    "audio_output_tokens": (attributes.AUDIO_OUTPUT_TOKENS,),
    "image_input_tokens": (attributes.IMAGE_INPUT_TOKENS,),
    "cached_image_tokens": (attributes.CACHED_IMAGE_TOKENS,),
    "image_output_tokens": (attributes.IMAGE_OUTPUT_TOKENS,),
    "web_search_requests": (attributes.WEB_SEARCH_REQUESTS,),
    "file_search_requests": (attributes.FILE_SEARCH_REQUESTS,),
    "code_execution_requests": (attributes.CODE_EXECUTION_REQUESTS,),
    "audio_seconds": (attributes.AUDIO_SECONDS,),
    "input_characters": (attributes.INPUT_CHARACTERS,),
    "images": (attributes.IMAGES,),
}

_TIER_ATTRIBUTES: Final = (
    attributes.OPENAI_SERVICE_TIER,
    attributes.ANTHROPIC_SERVICE_TIER,
    attributes.OPENAI_SERVICE_TIER_UNTIL_1_41,
)
_BEDROCK: Final = "aws"

# Anthropic's fast mode has its own prices, and no batches (Anthropic, "Fast mode", 2026-11-22).
_FAST, _BATCH = "fast", "batch"

# What else a span tells of a call: settings and circumstances, never what was said.
_DETAILS: Final = (
    attributes.REQUEST_STREAM,
    attributes.REQUEST_MAX_TOKENS,
    attributes.REQUEST_TEMPERATURE,
    attributes.REQUEST_TOP_P,
    attributes.REQUEST_TOP_K,
    attributes.REQUEST_FREQUENCY_PENALTY,
    attributes.REQUEST_PRESENCE_PENALTY,
    attributes.REQUEST_SEED,
    attributes.REQUEST_CHOICE_COUNT,
    attributes.REQUEST_REASONING_LEVEL,
    attributes.REQUEST_DIMENSIONS,
    attributes.OUTPUT_TYPE,
    attributes.FINISH_REASONS,
    attributes.OPENAI_API_TYPE,
    attributes.OPENAI_SYSTEM_FINGERPRINT,
    attributes.OPENAI_REQUEST_SERVICE_TIER,
    attributes.ANTHROPIC_REQUEST_SERVICE_TIER,
    attributes.SDK_VERSION,
)

# A reported cost beyond these powers of ten is no bill of one call, and no number to store.
_COST_EXPONENTS: Final = range(-30, 12)

_REFUSED_FROM, _REFUSED_TO = 400, 499
_REQUEST_TIMED_OUT = 408


@dataclass(frozen=True, slots=True)
class CallFacts:
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
    dimensions: dict[str, str] = field(default_factory=dict[str, str])
    metadata: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def priced_model(self) -> str:
        """The name to look the price up by."""
        return name_to_price(self.provider, self.request_model, self.model)


def name_to_price(provider: str, request_model: str, model: str) -> str:
    """The name to look a price up by: the model that answered, except on Bedrock.

    There the endpoint sets the price (`global.` costs less than `us.`), and the answer names the
    model alone.
    """
    return request_model or model if provider == _BEDROCK else model


def read_call(record: SpanRecord, header: SpoolHeader) -> CallFacts | None:
    """The call a span tells of; `None` if the span is none that a provider bills."""
    found = record.attributes
    ours = record.scope.startswith(attributes.SCOPE_PREFIX)
    tokens = _tokens(found, ours=ours)
    if record.failed and tokens.total_tokens is None:
        # The request's own length does not tell whether a failed call was billed.
        tokens = tokens._replace(input_characters=None)
    operation = _text(found, attributes.OPERATION_NAME) or ("" if tokens.is_empty else "chat")
    # What our own emitters tell of is a call, whatever the app names it.
    if operation not in BILLABLE_OPERATIONS and not (ours and operation):
        return None
    request_model = _text(found, attributes.REQUEST_MODEL)
    model = _text(found, attributes.RESPONSE_MODEL) or request_model
    error_type = _text(found, attributes.ERROR_TYPE)
    refused = record.failed and tokens.is_empty and _is_refusal(found, error_type)
    seconds = found.get(attributes.TIME_TO_FIRST_CHUNK)
    columns, metadata = _attribution(record, header)
    return CallFacts(
        provider=_provider(found, model),
        model=model,
        request_model=request_model,
        operation=operation,
        response_id=_text(found, attributes.RESPONSE_ID),
        tokens=tokens,
        missing_usage="" if refused else missing_usage(operation, tokens),
        refused=refused,
        failed=record.failed,
        error_type=error_type,
        service_tier=_service_tier(found),
        time_to_first_token_ms=seconds * 1000 if isinstance(seconds, float) else None,
        usage=_json_object(_text(found, attributes.PROVIDER_USAGE)),
        estimated=found.get(attributes.USAGE_ESTIMATED) is True,
        reported_cost_usd=_reported_cost(found.get(attributes.REPORTED_COST)),
        inference_geo=_text(found, attributes.ANTHROPIC_INFERENCE_GEO)[
            : dimensions.MAX_VALUE_LENGTH
        ],
        details=_details({**record.resource, **found}),
        dimensions=columns,
        metadata=metadata,
    )


def _tokens(found: Mapping[str, AttributeValue], *, ours: bool) -> TokenVector:
    counts = {
        name: next((c for key in keys if (c := _count(found.get(key))) is not None), None)
        for name, keys in _TOKEN_ATTRIBUTES.items()
    }
    vector = TokenVector(**counts)
    if vector.cache_write_tokens is None and attributes.CACHE_WRITE_5M_TOKENS in found:
        writes = (_count(found[attributes.CACHE_WRITE_5M_TOKENS]) or 0) + (
            vector.cache_write_1h_tokens or 0
        )
        vector = vector._replace(cache_write_tokens=writes)
    if vector.cached_tokens is None and vector.cached_media_tokens is not None:
        vector = vector._replace(cached_tokens=vector.cached_media_tokens)
    # Our own emitters count inclusively: there, cached above input is a fault to be shown.
    return vector if ours else _inclusive(vector)


def _inclusive(vector: TokenVector) -> TokenVector:
    """Cached counts that exceed input prove an emitter that leaves them out of it: add them."""
    cached = (vector.cached_tokens or 0) + (vector.cache_write_tokens or 0)
    if vector.input_tokens is None or cached <= vector.input_tokens:
        return vector
    return vector._replace(input_tokens=vector.input_tokens + cached)


def _count(value: AttributeValue | None) -> int | None:
    """A whole, non-negative count; anything else is not one, and missing is not zero."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and value >= 0 else None


def missing_usage(operation: str, tokens: TokenVector) -> str:
    """What the counts of a call lack, in words; "" if they are whole."""
    if tokens.total_tokens is None:
        return "" if tokens.is_measured else "the provider reported no usage"
    if tokens.input_tokens is None:
        return "input tokens were not reported"
    if tokens.output_tokens is None and operation not in _WITHOUT_OUTPUT:
        return "output tokens were not reported"
    return ""


def _service_tier(found: Mapping[str, AttributeValue]) -> str:
    tier = next((_text(found, key) for key in _TIER_ATTRIBUTES if key in found), "")
    is_fast = _text(found, attributes.ANTHROPIC_SPEED).lower() == _FAST
    return _FAST if is_fast and tier.lower() != _BATCH else tier


def _reported_cost(value: AttributeValue | None) -> Decimal | None:
    """A cost the provider reports, exact as it is written; anything that is no amount is none."""
    if value is None or isinstance(value, bool | list):
        return None
    try:
        cost = Decimal(str(value))
    except InvalidOperation:
        return None
    if cost.is_finite() and not cost:
        # A zero may come with a sign and any exponent.
        return Decimal(0)
    fits = cost.is_finite() and cost > 0 and cost.adjusted() in _COST_EXPONENTS
    return cost if fits else None


def _details(found: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """The details a span tells; JSON has no NaN and no infinity, so such a number is left out."""
    told = {key: found[key] for key in _DETAILS if key in found}
    return {
        key: value
        for key, value in told.items()
        if not isinstance(value, float) or math.isfinite(value)
    }


def _is_refusal(found: Mapping[str, AttributeValue], error_type: str) -> bool:
    status = found.get(attributes.HTTP_STATUS_CODE)
    if not isinstance(status, int) and error_type.isdigit():
        status = int(error_type)
    return (
        isinstance(status, int)
        and _REFUSED_FROM <= status <= _REFUSED_TO
        and status != _REQUEST_TIMED_OUT
    )


def _provider(found: Mapping[str, AttributeValue], model: str) -> str:
    given = _text(found, attributes.PROVIDER_NAME) or _text(
        found, attributes.PROVIDER_NAME_UNTIL_1_36
    )
    return ledger_name(given or provider_of(model))


def _attribution(record: SpanRecord, header: SpoolHeader) -> tuple[dict[str, str], dict[str, str]]:
    """Columns and metadata: the span's own values, then the app's, then the ledger's defaults."""
    prefix = attributes.METADATA_PREFIX
    told = {**header.defaults, **record.resource, **record.attributes}
    columns = {
        dimension.column: _text(told, dimension.attribute)[: dimensions.MAX_VALUE_LENGTH]
        for dimension in dimensions.DIMENSIONS
        if dimension.attribute
    }
    columns["session_id"] = columns["session_id"] or _text(told, attributes.CONVERSATION_ID)
    columns["app_name"] = header.app_name or columns["app_name"]
    columns["environment"] = (
        header.environment
        or columns["environment"]
        or _text(told, attributes.DEPLOYMENT_ENVIRONMENT_UNTIL_1_26)
    )
    metadata = {
        key[len(prefix) :]: str(value) for key, value in told.items() if key.startswith(prefix)
    }
    return columns, metadata


def _text(found: Mapping[str, AttributeValue], key: str) -> str:
    value = found.get(key, "")
    return value if isinstance(value, str) else str(value)


def _json_object(text: str) -> str | None:
    """JSON text of an object jsonb can hold, or None: a foreign string must not poison the row.

    Written again by us, so that what Python reads and Postgres does not (NaN, an escaped lone
    surrogate, numbers beyond jsonb's range) cannot reach the database.
    """
    try:
        found: object = json.loads(text, parse_constant=_refuse) if text else None
        if not isinstance(found, dict):
            return None
        told = json.dumps(found, ensure_ascii=False, allow_nan=False)
        told.encode()
    except (ValueError, RecursionError):
        return None
    return told


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")
