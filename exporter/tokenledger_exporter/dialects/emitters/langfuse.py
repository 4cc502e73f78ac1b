"""Langfuse's SDK (5.0.4): usage as one JSON object, in the provider's shape or in its own.

Langfuse's own keys are disjoint: `input` excludes the counts of the other `input_...` keys. It
reports no provider and no response id.
"""

from __future__ import annotations

from typing import Final

from tokenledger_exporter.dialects.dialect import Dialect, aliases, columns, metadata, usage, values
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import emitters

LANGFUSE: Final = Dialect(
    name="Langfuse",
    scopes=("langfuse-sdk",),
    marker=emitters.LANGFUSE_TYPE,
    fields={
        **aliases(SHARED),
        **values(operation=emitters.LANGFUSE_TYPE, model=emitters.LANGFUSE_MODEL),
        **usage(provider=emitters.LANGFUSE_USAGE),
        **aliases(columns(user_id=emitters.LANGFUSE_USER, session_id=emitters.LANGFUSE_SESSION)),
        **metadata(tags=emitters.LANGFUSE_TAGS),
    },
    operations={"generation": "chat", "embedding": "embeddings"},
    operation="",
    metadata_prefixes=(emitters.LANGFUSE_METADATA_PREFIX,),
)
