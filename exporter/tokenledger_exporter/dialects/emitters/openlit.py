"""OpenLIT (1.45.0): the conventions; Anthropic's and Bedrock's input excludes cached tokens.

If a stream reports no usage, OpenLIT counts with a tokenizer and does not mark the counts. It then
writes no cache counts, which it always writes for a real usage object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import Dialect
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from tokenledger_exporter.dialects.dialect import RawFields


def _detect_estimate(raw: RawFields) -> None:
    counts, details = raw.counts, raw.details
    is_stream = details.get(attributes.REQUEST_STREAM) is True
    is_chat = details.get(attributes.OPENAI_API_TYPE) == "chat_completions"
    if is_stream and is_chat and "output_tokens" in counts and "cached_tokens" not in counts:
        raw.values["estimated"] = True


OPENLIT: Final = Dialect(
    name="OpenLIT",
    scopes=("openlit.instrumentation.", "openlit"),
    exclusive=("openlit.instrumentation.anthropic", "openlit.instrumentation.bedrock"),
    fields=SHARED,
    adjust=_detect_estimate,
)
