"""What is written down of a span: an allow-list of facts, never a prompt or an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from opentelemetry.trace import StatusCode

from tokenledger_exporter.dialects.allowlist import MARKS
from tokenledger_exporter.dialects.attribute_filter import (
    _LEAST,
    MAX_NS,
    allowed_attributes,
    is_class_name,
)
from tokenledger_exporter.dialects.span_source import origin_of
from tokenledger_exporter.spool.open_calls import START_MARK
from tokenledger_semconv import attributes, emitters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import Event, ReadableSpan

    from tokenledger_exporter.dialects.span_source import Origin
    from tokenledger_exporter.domain.span_record import Ancestors


_ENCODER: Final = msgspec.msgpack.Encoder()


def attributes_of(span: ReadableSpan) -> dict[str, object]:
    """A span's attributes, as a plain dict of one's own: the SDK's mapping is slow to ask twice."""
    told = span.attributes
    if told is None:
        return {}
    copy = getattr(told, "copy", None)
    return dict(told) if copy is None else copy()


def is_model_call(span: ReadableSpan) -> bool:
    """Whether a span may tell of a model call; the dialect decides for good."""
    scope = span.instrumentation_scope
    if scope is not None and scope.name.startswith(attributes.SCOPE_PREFIX):
        return True
    return not MARKS.isdisjoint(attributes_of(span))


def encode_span(span: ReadableSpan) -> bytes:
    """The record of an ended span; runs on the caller's thread."""
    return _record(
        span, origin_of(span.resource, span.instrumentation_scope), attributes_of(span), ()
    )


def encode_call(span: ReadableSpan, ancestors: Ancestors) -> bytes | None:
    """The record of an ended span if it may tell of a model call; runs on the caller's thread.

    Args:
        span: the span.
        ancestors: the spans above it that may tell of the same call.
    """
    origin, told = origin_of(span.resource, span.instrumentation_scope), attributes_of(span)
    if not origin.is_ours and MARKS.isdisjoint(told):
        return None
    return _record(span, origin, told, ancestors)


def _record(
    span: ReadableSpan, origin: Origin, told: dict[str, object], ancestors: Ancestors
) -> bytes:
    failed = span.status.status_code is StatusCode.ERROR
    if failed and attributes.ERROR_TYPE not in told and (error := _error_class(span.events)):
        told[attributes.ERROR_TYPE] = error
    context, parent = span.context, span.parent
    # Positions are SpanRecord's fields: the struct itself would only cost the caller's thread.
    return _ENCODER.encode(
        (
            (context.trace_id if context else 0).to_bytes(16, "big"),
            context.span_id if context else 0,
            parent.span_id if parent else 0,
            _bounded(span.start_time or 0),
            _bounded(span.end_time or 0),
            origin.name,
            failed,
            allowed_attributes(told),
            origin.kept,
            ancestors,
        )
    )


def encode_start(span: ReadableSpan) -> bytes | None:
    """What is known of a call whose span has just started; `None` for spans that are not ours."""
    origin = origin_of(span.resource, span.instrumentation_scope)
    return START_MARK + _record(span, origin, attributes_of(span), ()) if origin.is_ours else None


def _error_class(events: Sequence[Event]) -> str:
    """The class of the exception a span recorded, where its emitter names none; never its text."""
    for event in reversed(events):
        name = (event.attributes or {}).get(emitters.EXCEPTION_TYPE)
        if is_class_name(name):
            return str(name)
    return ""


def _bounded(number: int) -> int:
    return max(_LEAST, min(number, MAX_NS))
