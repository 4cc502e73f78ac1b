"""The attribution that calls get from other spans of the batch that an SDK exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tokenledger_exporter.dialects.attribute_filter import allowed_attributes
from tokenledger_exporter.dialects.inheritance import Inheritance, carries_attribution
from tokenledger_exporter.recorder.encode import attributes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from tokenledger_exporter.dialects.inheritance import Carrier

_SpanKey: TypeAlias = "tuple[int, int]"


def inherited_in(spans: Sequence[ReadableSpan]) -> Callable[[ReadableSpan], dict[str, str] | None]:
    """A function that returns the attribution on the spans above a span of this batch."""
    by_key = {key: span for span in spans if (key := _key(span)) is not None}
    parents = {
        key: (span.parent.trace_id, span.parent.span_id)
        for key, span in by_key.items()
        if span.parent is not None
    }

    def find(key: _SpanKey) -> Carrier | None:
        span = by_key.get(key)
        if span is None:
            return None
        span_attributes = attributes_of(span)
        if not carries_attribution(span_attributes):
            return None
        scope = span.instrumentation_scope
        return scope.name if scope else "", allowed_attributes(span_attributes)

    inheritance = Inheritance(find, parents)

    def attribution_above(span: ReadableSpan) -> dict[str, str] | None:
        key = _key(span)
        return None if key is None else inheritance.above(key)

    return attribution_above


def _key(span: ReadableSpan) -> _SpanKey | None:
    context = span.get_span_context()
    return None if context is None else (context.trace_id, context.span_id)
