"""LangSmith's OpenTelemetry mode around LangChain (0.15.1): runs of every kind, of which one bills.

A chain repeats the usage of the model runs below it; a prompt's run calls itself a chat.
"""

from __future__ import annotations

from typing import Final

from tokenledger_exporter.dialects.dialect import Dialect, aliases, metadata, usage, values
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import emitters

LANGSMITH: Final = Dialect(
    name="LangSmith",
    scopes=("langsmith",),
    mark=emitters.LANGSMITH_KIND,
    slots={
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
    no_providers=frozenset({"langchain"}),
    prefixes=(emitters.LANGSMITH_METADATA_PREFIX,),
    noise=("LANGSMITH_", "LANGCHAIN_", "ls_", "lc_", "_", "revision_id", "model", "stream"),
)
