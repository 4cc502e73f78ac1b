"""OpenTelemetry's GenAI conventions in all versions, and the additions of our own emitters.

Spans of unknown emitters are read by the conventions, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import DETAIL, Dialect, columns, counts, usage, values
from tokenledger_exporter.dialects.totals import THINKING
from tokenledger_semconv import attributes, dimensions, emitters

if TYPE_CHECKING:
    from tokenledger_exporter.dialects.dialect import Field

# Request settings and other details of a call; none of them contains prompts or answers.
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
    attributes.REQUEST_ENCODING_FORMATS,
    attributes.REQUEST_PREVIOUS_RESPONSE_ID,
    attributes.OUTPUT_TYPE,
    attributes.FINISH_REASONS,
    attributes.OPENAI_API_TYPE,
    attributes.OPENAI_SYSTEM_FINGERPRINT,
    attributes.OPENAI_REQUEST_SERVICE_TIER,
    attributes.ANTHROPIC_REQUEST_SERVICE_TIER,
    attributes.ANTHROPIC_REFUSALS,
    attributes.SDK_VERSION,
    attributes.VIDEO_INPUT_TOKENS,
    attributes.UNKNOWN_CACHE_LIFETIMES,
)

DETAILS: Final[dict[str, Field]] = {
    **{attribute: (DETAIL, attribute, True) for attribute in _DETAILS},
    emitters.OPENAI_SYSTEM_FINGERPRINT_OLDER: (DETAIL, attributes.OPENAI_SYSTEM_FINGERPRINT, False),
}
"""Attributes stored as details, under their current name."""

_COUNTS: Final = counts(
    input_tokens=(attributes.INPUT_TOKENS, attributes.INPUT_TOKENS_UNTIL_1_26),
    output_tokens=(attributes.OUTPUT_TOKENS, attributes.OUTPUT_TOKENS_UNTIL_1_26),
    cached_tokens=(attributes.CACHE_READ_TOKENS, attributes.CACHE_READ_TOKENS_OLDER),
    cache_write_tokens=(
        attributes.CACHE_WRITE_TOKENS,
        attributes.CACHE_WRITE_TOKENS_UNTIL_1_42,
        attributes.CACHE_WRITE_TOKENS_OLDER,
        emitters.CACHE_WRITE_TOKENS_STRANDS,
    ),
    cache_write_5m_tokens=attributes.CACHE_WRITE_5M_TOKENS,
    cache_write_1h_tokens=attributes.CACHE_WRITE_1H_TOKENS,
    reasoning_tokens=(attributes.REASONING_TOKENS, attributes.REASONING_TOKENS_OLDER),
    audio_input_tokens=attributes.AUDIO_INPUT_TOKENS,
    cached_audio_tokens=attributes.CACHED_AUDIO_TOKENS,
    audio_output_tokens=attributes.AUDIO_OUTPUT_TOKENS,
    image_input_tokens=attributes.IMAGE_INPUT_TOKENS,
    cached_image_tokens=attributes.CACHED_IMAGE_TOKENS,
    image_output_tokens=attributes.IMAGE_OUTPUT_TOKENS,
    total_tokens=(attributes.TOTAL_TOKENS, emitters.LLM_TOTAL_TOKENS),
)

_VALUES: Final = values(
    operation=attributes.OPERATION_NAME,
    provider=(attributes.PROVIDER_NAME, attributes.PROVIDER_NAME_UNTIL_1_36),
    request_model=attributes.REQUEST_MODEL,
    model=attributes.RESPONSE_MODEL,
    response_id=attributes.RESPONSE_ID,
    error_type=attributes.ERROR_TYPE,
    status=attributes.HTTP_STATUS_CODE,
    first_chunk_seconds=(
        attributes.TIME_TO_FIRST_CHUNK,
        emitters.OPERATION_TIME_TO_FIRST_CHUNK,
    ),
    service_tier=(
        attributes.OPENAI_SERVICE_TIER,
        attributes.ANTHROPIC_SERVICE_TIER,
        attributes.OPENAI_SERVICE_TIER_UNTIL_1_41,
    ),
    speed=attributes.ANTHROPIC_SPEED,
    inference_geo=(attributes.ANTHROPIC_INFERENCE_GEO, attributes.OPENAI_REGION),
    cost_amount=attributes.CONVENTIONS_COST,
    cost_currency=attributes.CONVENTIONS_COST_CURRENCY,
    cost_source=attributes.CONVENTIONS_COST_SOURCE,
)

_COLUMNS: Final = {
    **columns(
        **{
            dimension.column: dimension.attribute
            for dimension in dimensions.DIMENSIONS
            if dimension.attribute
        }
    ),
    **columns(
        session_id=(
            attributes.SESSION_ID,
            attributes.SESSION_ID_ALIAS,
            attributes.CONVERSATION_ID,
        ),
        agent_id=(attributes.AGENT_ID, attributes.AGENT_ID_ALIAS, emitters.AGENT_NAME),
        user_id=(
            *(attributes.USER_ID, attributes.USER_ID_ALIAS, emitters.END_USER_ID),
            *(emitters.USER, emitters.REQUEST_USER),
        ),
        environment=(
            attributes.DEPLOYMENT_ENVIRONMENT,
            attributes.DEPLOYMENT_ENVIRONMENT_UNTIL_1_26,
        ),
    ),
}

SHARED: Final[dict[str, Field]] = {**DETAILS, **_COUNTS, **_VALUES, **_COLUMNS}
"""Attributes of the conventions that every dialect may use."""

_OURS: Final[dict[str, Field]] = {
    **SHARED,
    **counts(
        web_search_requests=attributes.WEB_SEARCH_REQUESTS,
        file_search_requests=attributes.FILE_SEARCH_REQUESTS,
        code_execution_requests=attributes.CODE_EXECUTION_REQUESTS,
        audio_seconds=attributes.AUDIO_SECONDS,
        input_characters=attributes.INPUT_CHARACTERS,
        images=attributes.IMAGES,
    ),
    **values(
        estimated=attributes.USAGE_ESTIMATED,
        reported_cost=attributes.REPORTED_COST,
        usage=attributes.PROVIDER_USAGE,
    ),
    attributes.COST_SOURCE: (DETAIL, attributes.COST_SOURCE, True),
}

# Additional billed usage becomes separate rows, and a call that was not sent costs nothing, so only
# our own emitters may report these.
_OURS_ALONE: Final[dict[str, Field]] = {
    attribute: (DETAIL, attribute, True)
    for attribute in (attributes.FURTHER_USAGE, attributes.UNKNOWN_USAGE, attributes.NOT_SENT)
}

OURS: Final = Dialect(
    name="TokenLedger",
    scopes=(attributes.SCOPE_PREFIX,),
    fields={**_OURS, **_OURS_ALONE},
    trusted=True,
    gemini_surplus=THINKING,
)
"""Our own emitters."""

CONVENTIONS: Final = Dialect(
    name="OpenTelemetry GenAI conventions",
    # Bedrock's input tokens exclude cached tokens, and its instrumentor copies them (1.3b0).
    exclusive=("opentelemetry.instrumentation.genai.bedrock",),
    scopes=(
        *("opentelemetry.instrumentation.genai.", "opentelemetry.instrumentation.openai_v2"),
        *("opentelemetry.util.genai", "agent_framework", "semantic_kernel."),
    ),
    fields={**_OURS, **usage(provider=emitters.LOGFIRE_USAGE)},
)
"""The conventions, as any emitter uses them."""

ANTHROPIC_SDK: Final = Dialect(
    name="anthropic SDK", scopes=(attributes.ANTHROPIC_SDK_SCOPE,), fields=SHARED
)
"""The anthropic SDK's own spans: the conventions, and cache writes by lifetime."""
