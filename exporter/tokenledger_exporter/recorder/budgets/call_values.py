"""The dimensions of a call before it is sent, from its span attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry import trace

from tokenledger_exporter.dialects.bounds import MAX_WORD_LETTERS
from tokenledger_exporter.dialects.span_source import encodable
from tokenledger_exporter.domain.budget import TRACE
from tokenledger_exporter.domain.provider_names import ledger_name
from tokenledger_semconv import attributes as names
from tokenledger_semconv.dimensions import DIMENSIONS, MAX_VALUE_LENGTH, METADATA_DIMENSION_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tokenledger_semconv.budgets import CallAttributes

# As `dialects.otel_genai` reads them.
_ATTRIBUTES: Final = {
    **{dimension.name: dimension.attribute for dimension in DIMENSIONS if dimension.attribute},
    "provider": names.PROVIDER_NAME,
    "model": names.REQUEST_MODEL,
    "operation": names.OPERATION_NAME,
}
_WORDS: Final = frozenset({"provider", "operation"})


class CallValues:
    """Reads the dimensions that budgets ask for.

    Args:
        of_process: dimension -> value that every call of this process has, such as `app`.
    """

    def __init__(self, of_process: Mapping[str, str]) -> None:
        self._of_process: Final = of_process

    def read(self, attributes: CallAttributes, dimensions: Iterable[str]) -> tuple[str, ...]:
        """The values of some dimensions, in their order; "" where the call has none."""
        return tuple(self._read(attributes, dimension) for dimension in dimensions)

    def _read(self, attributes: CallAttributes, dimension: str) -> str:
        if dimension == TRACE:
            context = trace.get_current_span().get_span_context()
            return trace.format_trace_id(context.trace_id) if context.is_valid else ""
        attribute = _ATTRIBUTES.get(dimension)
        if attribute is None:
            attribute = names.METADATA_PREFIX + dimension.removeprefix(METADATA_DIMENSION_PREFIX)
        value = attributes.get(attribute)
        text = "" if value is None else str(value)
        if not text or text.isspace():
            text = self._of_process.get(dimension, "")
        return stored_text(ledger_name(text) if dimension == "provider" else text, dimension)


def stored_text(text: str, dimension: str = "") -> str:
    """The text as the call's row has it, so that both are in one account.

    It is cut to the length that the ledger stores. What Postgres cannot store is replaced, as in
    `rating.build_rows`.
    """
    text = encodable(text[: MAX_WORD_LETTERS if dimension in _WORDS else MAX_VALUE_LENGTH])
    return text.replace("\0", "\ufffd").replace("\\u0000", "\\ufffd")
