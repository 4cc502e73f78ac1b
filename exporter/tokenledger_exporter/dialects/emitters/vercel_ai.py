"""Vercel's AI SDK (5.0.277, 6.0.326) and @ai-sdk/otel (1.0.173).

Each call is reported twice: by the function that the app called, and by its `do...` child, which is
the call. Up to version 5 the input of an Anthropic call excludes cached tokens, and some calls
report no cache counts; Anthropic's own usage is in the provider's metadata and overrides them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import Dialect, aliases, columns, counts, usage, values
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import attributes, emitters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.dialects.dialect import RawFields
    from tokenledger_exporter.domain.span_record import AttributeValue

_CALLS: Final = {
    **dict.fromkeys(
        (
            *("ai.generateText.doGenerate", "ai.streamText.doStream"),
            *("ai.generateObject.doGenerate", "ai.streamObject.doStream"),
        ),
        "chat",
    ),
    **dict.fromkeys(("ai.embed.doEmbed", "ai.embedMany.doEmbed"), "embeddings"),
}


def _read_milliseconds(raw: RawFields) -> None:
    milliseconds = raw.values.pop("first_chunk_ms", None)
    if isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool):
        raw.values.setdefault("first_chunk_seconds", milliseconds / 1000)


VERCEL_AI: Final = Dialect(
    name="Vercel AI SDK",
    scopes=("ai",),
    marker=emitters.VERCEL_OPERATION,
    fields={
        **aliases(SHARED),
        **counts(
            input_tokens=(
                *(emitters.VERCEL_INPUT, emitters.VERCEL_INPUT_UNTIL_4),
                emitters.VERCEL_EMBEDDING_TOKENS,
            ),
            output_tokens=(emitters.VERCEL_OUTPUT, emitters.VERCEL_OUTPUT_UNTIL_4),
            total_tokens=emitters.VERCEL_TOTAL,
            cached_tokens=(emitters.VERCEL_CACHE_READ, emitters.VERCEL_CACHED),
            cache_write_tokens=emitters.VERCEL_CACHE_WRITE,
            reasoning_tokens=emitters.VERCEL_REASONING,
        ),
        **values(
            operation=emitters.VERCEL_OPERATION,
            provider=emitters.VERCEL_PROVIDER,
            request_model=emitters.VERCEL_MODEL,
            model=emitters.VERCEL_RESPONSE_MODEL,
            response_id=emitters.VERCEL_RESPONSE_ID,
            first_chunk_ms=emitters.VERCEL_FIRST_CHUNK_MS,
        ),
        **columns(feature=emitters.VERCEL_FUNCTION),
        **usage(provider=emitters.VERCEL_PROVIDER_METADATA),
    },
    operations=_CALLS,
    operation="",
    metadata_prefixes=(emitters.VERCEL_METADATA_PREFIX,),
    adjust=_read_milliseconds,
)


def _is_outer_embedding(span_attributes: Mapping[str, AttributeValue], _failed: bool) -> bool:
    """Both spans of an embedding have the same name; the outer one reports no usage."""
    return (
        span_attributes.get(attributes.OPERATION_NAME) == "embeddings"
        and attributes.INPUT_TOKENS not in span_attributes
    )


VERCEL_OTEL: Final = Dialect(
    name="Vercel AI SDK",
    scopes=("gen_ai",),
    fields=SHARED,
    is_repeat=_is_outer_embedding,
)
