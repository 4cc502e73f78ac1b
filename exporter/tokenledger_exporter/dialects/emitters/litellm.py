"""LiteLLM's OpenTelemetry callback (1.110.2): its own operations, its own usage object.

An answer from LiteLLM's own cache asked no provider, so it makes no row. Counts of a stream without
usage are its tokenizer's, and nothing says so. The cost it tells is its own reckoning and not the
provider's, so it is not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import Dialect, aliases, columns, usage, values
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import emitters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.dialects.dialect import Draft
    from tokenledger_exporter.domain.span_record import AttributeValue

# Names of LiteLLM's functions -> the conventions' operations; each has an asynchronous twin.
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
_OPERATIONS: Final = {**_FUNCTIONS, **{f"a{name}": told for name, told in _FUNCTIONS.items()}}


def _came_from_a_cache(found: Mapping[str, AttributeValue], failed: bool) -> bool:
    return not failed and found.get(emitters.LITELLM_CACHE_HIT) in {True, "True"}


def _split_provider(draft: Draft) -> None:
    """`openai/gpt-4o` names the provider where nothing else does."""
    named = draft.values.pop("provider_model", "")
    provider, slash, _ = str(named).partition("/")
    if slash:
        draft.values.setdefault("provider", provider)


LITELLM: Final = Dialect(
    name="LiteLLM",
    scopes=("litellm",),
    slots={
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
    is_told_twice=_came_from_a_cache,
    mend=_split_provider,
)
