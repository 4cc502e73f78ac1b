"""Strands (1.62.0): old and new names together; it names itself as the provider.

Its agents and event loop cycles repeat the usage of the calls below them and give no rows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import Dialect, metadata
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import emitters

if TYPE_CHECKING:
    from tokenledger_exporter.dialects.dialect import RawFields

# Bedrock's model ids: an optional region group, then the model's maker (AWS, "Supported foundation
# models", read 2026-11-25).
_BEDROCK_ID: Final = re.compile(
    r"(?:(?:us|us-gov|eu|apac|jp|au|ca|global)\.)?"
    r"(?:amazon|anthropic|meta|mistral|cohere|ai21|deepseek|openai|qwen|writer|google|nvidia)\."
)


def _detect_bedrock(raw: RawFields) -> None:
    """Strands calls Bedrock by default, which only the model id shows."""
    if _BEDROCK_ID.match(str(raw.values.get("request_model", ""))):
        raw.values["provider"] = "aws.bedrock"


STRANDS: Final = Dialect(
    name="Strands",
    scopes=("strands.",),
    fields={**SHARED, **metadata(tags=emitters.STRANDS_TAGS)},
    operation="",
    not_providers=frozenset({"strands-agents"}),
    adjust=_detect_bedrock,
)
