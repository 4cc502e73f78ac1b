"""Google's Agent Development Kit (2.13.0, 1.39.1): the conventions; version 1: two spans per call.

Version 1 reports cache reads only in the copy of the answer, so the answer's usage is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import Dialect, aliases, columns, counts, usage
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import attributes, emitters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.dialects.dialect import RawFields
    from tokenledger_exporter.domain.span_record import AttributeValue


def _is_inner_span(span_attributes: Mapping[str, AttributeValue], failed: bool) -> bool:
    """Version 1 reports a call twice: `call_llm` with all counts, and this span below it."""
    return (
        not failed
        and span_attributes.get(attributes.OPERATION_NAME) == "generate_content"
        and attributes.PROVIDER_NAME not in span_attributes
    )


def _restore_thinking(raw: RawFields) -> None:
    """Version 1 excludes thinking from the output; the answer's usage, if recorded, includes it."""
    thinking = raw.counts.pop("thinking", None)
    if thinking is not None and "reasoning_tokens" not in raw.counts:
        raw.counts["reasoning_tokens"] = thinking
        raw.counts["output_tokens"] = raw.counts.get("output_tokens", 0) + thinking


GOOGLE_ADK: Final = Dialect(
    name="Google ADK",
    scopes=("gcp.vertex.agent",),
    fields={
        **SHARED,
        **aliases(columns(session_id=emitters.ADK_SESSION)),
        **counts(thinking=emitters.ADK_REASONING),
        **usage(provider=emitters.ADK_RESPONSE),
    },
    operation="generate_content",
    not_providers=frozenset({"gcp.vertex.agent"}),
    is_repeat=_is_inner_span,
    adjust=_restore_thinking,
)
