"""OpenLLMetry (0.62.4): the conventions, with leftovers of its older names package by package.

Its Bedrock package copies Bedrock's input, which leaves the cached tokens out. Its Gemini package
leaves thinking out of the output; the total it tells says how much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import Dialect, aliases, counts, values
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import emitters

if TYPE_CHECKING:
    from tokenledger_exporter.dialects.dialect import Draft


def _restore_thinking(draft: Draft) -> None:
    """Gemini's total is input, answer and thinking; the answer alone is told as output."""
    total = draft.counts.pop("total_tokens", None)
    told = draft.counts.get("input_tokens"), draft.counts.get("output_tokens")
    if total is not None and told[0] is not None and told[1] is not None:
        thinking = total - told[0] - told[1]
        if thinking > 0:
            draft.counts["output_tokens"] = told[1] + thinking
            draft.counts.setdefault("reasoning_tokens", thinking)


_SLOTS: Final = {
    **SHARED,
    **aliases(values(operation=emitters.LLM_REQUEST_TYPE)),
    **aliases(
        counts(
            input_tokens=emitters.LLM_PROMPT_TOKENS, output_tokens=emitters.LLM_COMPLETION_TOKENS
        )
    ),
}
_OPERATIONS: Final = {"completion": "text_completion", "embedding": "embeddings", "rerank": ""}

OPENLLMETRY: Final = Dialect(
    name="OpenLLMetry",
    scopes=tuple(
        f"opentelemetry.instrumentation.{package}"
        for package in (
            *("openai.v0", "openai.v1", "anthropic", "bedrock", "mistralai", "cohere", "groq"),
            *("ollama", "replicate", "together", "vertexai", "watsonx", "sagemaker", "voyageai"),
            *("alephalpha", "writer", "llamaindex", "langchain"),
        )
    ),
    slots=_SLOTS,
    exclusive=("opentelemetry.instrumentation.bedrock",),
    operations=_OPERATIONS,
    prefixes=(emitters.ASSOCIATION_PREFIX,),
)

OPENLLMETRY_GEMINI: Final = Dialect(
    name="OpenLLMetry",
    scopes=("opentelemetry.instrumentation.google_generativeai",),
    slots={**_SLOTS, **counts(total_tokens=emitters.TOTAL_TOKENS)},
    operations=_OPERATIONS,
    prefixes=(emitters.ASSOCIATION_PREFIX,),
    mend=_restore_thinking,
)
