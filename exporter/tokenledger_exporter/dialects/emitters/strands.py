"""Strands (1.62.0): names old and new together, itself named where the provider belongs.

Its agents and event loop cycles repeat the usage of the calls below them and make no row.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import Dialect, metadata
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import emitters

if TYPE_CHECKING:
    from tokenledger_exporter.dialects.dialect import Draft

# Bedrock's model ids: an optional region group, then who made the model (AWS, "Supported
# foundation models", read 2026-11-25).
_BEDROCK_ID: Final = re.compile(
    r"(?:(?:us|us-gov|eu|apac|jp|au|ca|global)\.)?"
    r"(?:amazon|anthropic|meta|mistral|cohere|ai21|deepseek|openai|qwen|writer|google|nvidia)\."
)


def _know_bedrock(draft: Draft) -> None:
    """Strands calls Bedrock unless told otherwise, and only the model's id shows it."""
    if _BEDROCK_ID.match(str(draft.values.get("request_model", ""))):
        draft.values["provider"] = "aws.bedrock"


STRANDS: Final = Dialect(
    name="Strands",
    scopes=("strands.",),
    slots={**SHARED, **metadata(tags=emitters.STRANDS_TAGS)},
    operation="",
    no_providers=frozenset({"strands-agents"}),
    mend=_know_bedrock,
)
