"""Vercel's AI SDK (5.0.277, 6.0.326) and @ai-sdk/otel (1.0.173).

Each call is told twice, by what the app called and by its `do...` child; the child is the call.
Up to version 5 the input of an Anthropic call leaves cached tokens out, and some calls tell no
cache counts; what Anthropic itself told is in the provider's metadata and wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import Dialect, aliases, columns, counts, usage, values
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import attributes, emitters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.dialects.dialect import Draft
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


def _read_milliseconds(draft: Draft) -> None:
    waited = draft.values.pop("first_chunk_ms", None)
    if isinstance(waited, int | float) and not isinstance(waited, bool):
        draft.values.setdefault("first_chunk_seconds", waited / 1000)


VERCEL_AI: Final = Dialect(
    name="Vercel AI SDK",
    scopes=("ai",),
    mark=emitters.VERCEL_OPERATION,
    slots={
        **aliases(SHARED),
        **counts(
            input_tokens=(
                *(emitters.VERCEL_INPUT, emitters.VERCEL_INPUT_UNTIL_4),
                emitters.VERCEL_EMBEDDING_TOKENS,
            ),
            output_tokens=(emitters.VERCEL_OUTPUT, emitters.VERCEL_OUTPUT_UNTIL_4),
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
    prefixes=(emitters.VERCEL_METADATA_PREFIX,),
    mend=_read_milliseconds,
)


def _is_around_an_embedding(found: Mapping[str, AttributeValue], _failed: bool) -> bool:
    """Both spans of an embedding have the same name; the outer one tells no usage."""
    return (
        found.get(attributes.OPERATION_NAME) == "embeddings"
        and attributes.INPUT_TOKENS not in found
    )


VERCEL_OTEL: Final = Dialect(
    name="Vercel AI SDK",
    scopes=("gen_ai",),
    slots=SHARED,
    is_told_twice=_is_around_an_embedding,
)
