"""OpenLIT (1.45.0): the conventions; of Anthropic and Bedrock it copies input as they count it.

Where a stream told no usage it counts with a tokenizer and does not say so. It then writes no
cache counts, which it always writes of a real usage object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import Dialect
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from tokenledger_exporter.dialects.dialect import Draft


def _know_a_guess(draft: Draft) -> None:
    counts, details = draft.counts, draft.details
    is_stream = details.get(attributes.REQUEST_STREAM) is True
    is_chat = details.get(attributes.OPENAI_API_TYPE) == "chat_completions"
    if is_stream and is_chat and "output_tokens" in counts and "cached_tokens" not in counts:
        draft.values["estimated"] = True


OPENLIT: Final = Dialect(
    name="OpenLIT",
    scopes=("openlit.instrumentation.", "openlit"),
    exclusive=("openlit.instrumentation.anthropic", "openlit.instrumentation.bedrock"),
    slots=SHARED,
    mend=_know_a_guess,
)
