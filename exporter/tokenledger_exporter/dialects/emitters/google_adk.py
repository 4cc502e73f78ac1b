"""Google's Agent Development Kit (2.13.0, 1.39.1): the conventions; version 1 in two spans a call.

Version 1 writes cache reads nowhere but into the copy of the answer, whose usage is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import Dialect, aliases, columns, counts, usage
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import attributes, emitters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.dialects.dialect import Draft
    from tokenledger_exporter.domain.span_record import AttributeValue


def _is_below_another(found: Mapping[str, AttributeValue], failed: bool) -> bool:
    """Version 1 tells a call twice: `call_llm` with all counts, and this span below it."""
    return (
        not failed
        and found.get(attributes.OPERATION_NAME) == "generate_content"
        and attributes.PROVIDER_NAME not in found
    )


def _restore_thinking(draft: Draft) -> None:
    """Version 1 leaves thinking out of the output; the answer's own usage, where kept, does not."""
    thinking = draft.counts.pop("thinking", None)
    if thinking is not None and "reasoning_tokens" not in draft.counts:
        draft.counts["reasoning_tokens"] = thinking
        draft.counts["output_tokens"] = draft.counts.get("output_tokens", 0) + thinking


GOOGLE_ADK: Final = Dialect(
    name="Google ADK",
    scopes=("gcp.vertex.agent",),
    slots={
        **SHARED,
        **aliases(columns(session_id=emitters.ADK_SESSION)),
        **counts(thinking=emitters.ADK_REASONING),
        **usage(provider=emitters.ADK_RESPONSE),
    },
    operation="generate_content",
    no_providers=frozenset({"gcp.vertex.agent"}),
    is_told_twice=_is_below_another,
    mend=_restore_thinking,
)
