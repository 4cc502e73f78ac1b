"""LangSmith's OpenTelemetry mode for LangChain (0.15.1): runs of many kinds; only `llm` is billed.

A chain repeats the usage of the model runs below it. A prompt's run has the operation `chat`.
"""

from __future__ import annotations

from typing import Final

from tokenledger_exporter.dialects.dialect import Dialect, aliases, metadata, usage, values
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import emitters

LANGSMITH: Final = Dialect(
    name="LangSmith",
    scopes=("langsmith",),
    marker=emitters.LANGSMITH_KIND,
    fields={
        **aliases(SHARED),
        **values(operation=emitters.LANGSMITH_KIND, provider=emitters.LANGSMITH_PROVIDER),
        **aliases(values(request_model=emitters.LANGSMITH_MODEL)),
        **usage(
            provider=emitters.LANGSMITH_USAGE,
            input_details=emitters.LANGSMITH_INPUT_DETAILS,
            output_details=emitters.LANGSMITH_OUTPUT_DETAILS,
        ),
        **metadata(tags=emitters.LANGSMITH_TAGS),
    },
    operations={"llm": "chat", "embedding": "embeddings"},
    operation="",
    not_providers=frozenset({"langchain"}),
    metadata_prefixes=(emitters.LANGSMITH_METADATA_PREFIX,),
    ignored_keys=("LANGSMITH_", "LANGCHAIN_", "ls_", "lc_", "_", "revision_id", "model", "stream"),
)
