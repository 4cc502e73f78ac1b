"""OpenLLMetry (0.62.4): the conventions; some of its packages still use older names.

Its Bedrock package copies Bedrock's input, which excludes cached tokens. Its Gemini package leaves
thinking and the prompts of tools out of the counts; only the total has them.
"""

from __future__ import annotations

from typing import Final

from tokenledger_exporter.dialects.dialect import Dialect, aliases, counts, values
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_exporter.dialects.totals import THINKING
from tokenledger_semconv import emitters

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
    gemini_surplus=THINKING,
    operations=_OPERATIONS,
    metadata_prefixes=(emitters.ASSOCIATION_PREFIX,),
)

OPENLLMETRY_GEMINI: Final = Dialect(
    name="OpenLLMetry",
    scopes=("opentelemetry.instrumentation.google_generativeai",),
    fields=_FIELDS,
    operations=_OPERATIONS,
    metadata_prefixes=(emitters.ASSOCIATION_PREFIX,),
)
