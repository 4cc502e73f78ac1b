"""Encodes a span as a spool record: an allow-list of facts, never a prompt or an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from opentelemetry.trace import StatusCode

from tokenledger_exporter.dialects.allowlist import MARKS
from tokenledger_exporter.dialects.attribute_filter import (
    MAX_INTEGER,
    MIN_INTEGER,
    allowed_attributes,
    is_class_name,
)
from tokenledger_exporter.dialects.span_source import source_of
from tokenledger_exporter.spool.open_calls import START_MARK
from tokenledger_semconv import attributes, emitters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace import Event, ReadableSpan

    from tokenledger_exporter.dialects.span_source import SpanSource
    from tokenledger_exporter.domain.span_record import Ancestors


_ENCODER: Final = msgspec.msgpack.Encoder()


def attributes_of(span: ReadableSpan) -> dict[str, object]:
    """A copy of a span's attributes as a plain dict: reading the SDK's mapping twice is slow."""
    span_attributes = span.attributes
    if span_attributes is None:
        return {}
    copy = getattr(span_attributes, "copy", None)
    return dict(span_attributes) if copy is None else copy()


def is_model_call(span: ReadableSpan) -> bool:
    """Whether a span may report a model call; its dialect makes the final decision."""
    scope = span.instrumentation_scope
    if scope is not None and scope.name.startswith(attributes.SCOPE_PREFIX):
        return True
    return not MARKS.isdisjoint(attributes_of(span))


def encode_span(span: ReadableSpan, inherited: Mapping[str, str] | None = None) -> bytes:
    """The record of an ended span.

    Args:
        span: the span.
        inherited: the attribution of the spans above it.
    """
    source = source_of(span.resource, span.instrumentation_scope)
    return _record(span, source, attributes_of(span), (), inherited)


def encode_ended(span: ReadableSpan, ancestors: Ancestors) -> bytes | None:
    """The record of an ended span if it may report a model call; runs on the caller's thread.

    Args:
        span: the span.
        ancestors: the spans above it that may report the same call.
    """
    source = source_of(span.resource, span.instrumentation_scope)
    span_attributes = attributes_of(span)
    if not source.is_ours and MARKS.isdisjoint(span_attributes):
        return None
    return _record(span, source, span_attributes, ancestors)


def _record(
    span: ReadableSpan,
    source: SpanSource,
    span_attributes: dict[str, object],
    ancestors: Ancestors,
    inherited: Mapping[str, str] | None = None,
) -> bytes:
    failed = span.status.status_code is StatusCode.ERROR
    if failed and attributes.ERROR_TYPE not in span_attributes:
        error = _error_class(span.events)
        if error:
            span_attributes[attributes.ERROR_TYPE] = error
    context, parent = span.context, span.parent
    # In the order of SpanRecord's fields: building the struct would only cost the caller time.
    fields = (
        (context.trace_id if context else 0).to_bytes(16, "big"),
        context.span_id if context else 0,
        parent.span_id if parent else 0,
        _bounded(span.start_time or 0),
        _bounded(span.end_time or 0),
        source.name,
        failed,
        allowed_attributes(span_attributes),
        source.encoded_attributes,
        ancestors,
    )
    return _ENCODER.encode(fields if inherited is None else (*fields, inherited))


def encode_started(span: ReadableSpan) -> bytes | None:
    """The START record of a call whose span has just started; `None` if the span is not ours."""
    source = source_of(span.resource, span.instrumentation_scope)
    return START_MARK + _record(span, source, attributes_of(span), ()) if source.is_ours else None


def _error_class(events: Sequence[Event]) -> str:
    """The class of the exception that a span recorded as an event; never its text."""
    for event in reversed(events):
        name = (event.attributes or {}).get(emitters.EXCEPTION_TYPE)
        if is_class_name(name):
            return str(name)
    return ""


def _bounded(number: int) -> int:
    return max(MIN_INTEGER, min(number, MAX_INTEGER))
