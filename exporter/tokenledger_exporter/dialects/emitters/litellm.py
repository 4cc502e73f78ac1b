"""LiteLLM's OpenTelemetry callback (1.110.2): its own operations, its own usage object.

An answer from LiteLLM's own cache was not a provider call, so it gives no row. For a stream without
usage, the counts are from its tokenizer, and nothing marks them. The cost it reports is its own
calculation and not the provider's, so it is not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import Dialect, aliases, columns, usage, values
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_exporter.dialects.totals import TOOL_PROMPT
from tokenledger_semconv import emitters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.dialects.dialect import RawFields
    from tokenledger_exporter.domain.span_record import AttributeValue

# LiteLLM's functions -> the conventions' operations; each also has an asynchronous version.
_FUNCTIONS: Final = {
    **dict.fromkeys(("completion", "responses", "anthropic_messages", "chat"), "chat"),
    "text_completion": "text_completion",
    "generate_content": "generate_content",
    "embedding": "embeddings",
    "image_generation": "image_generation",
    "image_edit": "image_generation",
    "transcription": "transcription",
    "speech": "speech",
    "moderation": "moderation",
}
_OPERATIONS: Final = {
    **_FUNCTIONS,
    **{f"a{name}": operation for name, operation in _FUNCTIONS.items()},
}


def _is_cache_hit(span_attributes: Mapping[str, AttributeValue], failed: bool) -> bool:
    return not failed and span_attributes.get(emitters.LITELLM_CACHE_HIT) in {True, "True"}


def _split_provider(raw: RawFields) -> None:
    """Take the provider from `openai/gpt-4o` if no other attribute names it."""
    model = raw.values.pop("provider_model", "")
    provider, slash, _ = str(model).partition("/")
    if slash:
        raw.values.setdefault("provider", provider)


LITELLM: Final = Dialect(
    name="LiteLLM",
    scopes=("litellm",),
    fields={
        **SHARED,
        **values(
            provider_model=emitters.LITELLM_PROVIDER_MODEL, cache_hit=emitters.LITELLM_CACHE_HIT
        ),
        **usage(provider=emitters.LITELLM_USAGE),
        **aliases(
            columns(
                user_id=(
                    *(emitters.LITELLM_USER, emitters.LITELLM_END_USER),
                    emitters.LITELLM_KEY_USER,
                ),
                team=(emitters.LITELLM_TEAM, emitters.LITELLM_KEY_TEAM),
                organization_id=emitters.LITELLM_KEY_ORGANIZATION,
                project=emitters.LITELLM_KEY_PROJECT,
            )
        ),
    },
    operations=_OPERATIONS,
    operation="",
    is_repeat=_is_cache_hit,
    adjust=_split_provider,
    gemini_surplus=TOOL_PROMPT,
)
