"""OpenLLMetry (0.62.4): the conventions; some of its packages still use older names.

Its Bedrock package copies Bedrock's input, which excludes cached tokens. Its Gemini package
excludes thinking from the output; the total shows how much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import Dialect, aliases, counts, values
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import emitters

if TYPE_CHECKING:
    from tokenledger_exporter.dialects.dialect import RawFields


def _restore_thinking(raw: RawFields) -> None:
    """Add thinking to the output: Gemini's total is input, answer and thinking."""
    total = raw.counts.pop("total_tokens", None)
    input_tokens, answer = raw.counts.get("input_tokens"), raw.counts.get("output_tokens")
    if total is not None and input_tokens is not None and answer is not None:
        thinking = total - input_tokens - answer
        if thinking > 0:
            raw.counts["output_tokens"] = answer + thinking
            raw.counts.setdefault("reasoning_tokens", thinking)


_FIELDS: Final = {
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
    fields=_FIELDS,
    exclusive=("opentelemetry.instrumentation.bedrock",),
    operations=_OPERATIONS,
    metadata_prefixes=(emitters.ASSOCIATION_PREFIX,),
)

OPENLLMETRY_GEMINI: Final = Dialect(
    name="OpenLLMetry",
    scopes=("opentelemetry.instrumentation.google_generativeai",),
    fields={**_FIELDS, **counts(total_tokens=emitters.TOTAL_TOKENS)},
    operations=_OPERATIONS,
    metadata_prefixes=(emitters.ASSOCIATION_PREFIX,),
    adjust=_restore_thinking,
)
