"""The fast path that encodes our own spans; any span it does not fit goes through `encode`.

An SDK call evicts our code and data from the processor's caches, so each step after it costs three
times what a loop over it shows. So each record is built by one function, and no step is repeated.
It makes no assumptions: what another processor or the app put on a span is read from the span.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec
from opentelemetry.trace import StatusCode

from tokenledger_exporter.dialects import attribute_filter
from tokenledger_exporter.dialects.allowlist import ALLOWED_ATTRIBUTES
from tokenledger_exporter.dialects.span_source import KNOWN_SOURCES
from tokenledger_exporter.recorder import encode
from tokenledger_exporter.spool.open_calls import START_MARK
from tokenledger_semconv.attributes import FINISH_REASONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import ReadableSpan

    from tokenledger_exporter.domain.span_record import Ancestors

# Fields of `ReadableSpan`, `Status` and `BoundedAttributes` in opentelemetry-sdk 1.45.2, read
# 2026-11-26. A span without them takes the slow path.
_span_fields: Final[Callable[[ReadableSpan], Any]] = attrgetter(
    "_instrumentation_scope",
    "_resource",
    "_context",
    "_parent",
    "_start_time",
    "_end_time",
    "_status._status_code",
    "_attributes._dict",
)
_encode: Final = msgspec.msgpack.Encoder().encode
_are_plain: Final = frozenset((str, int, float, bool)).issuperset
_MAX_INTEGER: Final = attribute_filter.MAX_INTEGER
_MAX_BYTES: Final = attribute_filter.MAX_TEXT
_FAILED: Final = StatusCode.ERROR
# The finish reasons that openai 3.54.0 and anthropic 2.12.0 declare, read 2026-11-26. Any other, or
# several at once, takes the slow path.
_REASONS: Final = frozenset(
    {
        None,
        ("stop",),
        ("length",),
        ("tool_calls",),
        ("content_filter",),
        ("completed",),
        ("end_turn",),
        ("max_tokens",),
        ("stop_sequence",),
        ("tool_use",),
        ("pause_turn",),
        ("refusal",),
    }
)
# Raised for a value that msgpack cannot encode, and for a span with other fields.
_UNEXPECTED: Final = (
    AttributeError,
    KeyError,
    OverflowError,
    TypeError,
    UnicodeEncodeError,
    ValueError,
)


def encode_started(span: ReadableSpan) -> bytes | None:
    """The START record of a call whose span has just started; `None` if the span is not ours."""
    try:
        scope, resource, context, parent, start_ns, _, status, span_attributes = _span_fields(span)
        of_resource, of_scope, name, source, is_ours = KNOWN_SOURCES[id(scope)]
        if of_scope is scope and of_resource is resource:
            if not is_ours:
                return None
            if (
                0 <= start_ns <= _MAX_INTEGER
                and status is not _FAILED
                and span_attributes.keys() <= ALLOWED_ATTRIBUTES
                and _are_plain(map(type, span_attributes.values()))
            ):
                # In the order of SpanRecord's fields; a context begins with its ids.
                above = parent[1] if parent else 0
                trace_id = context[0].to_bytes(16, "big")
                record = _encode(
                    (
                        trace_id,
                        context[1],
                        above,
                        start_ns,
                        0,
                        name,
                        False,
                        span_attributes,
                        source,
                        (),
                    )
                )
                if len(record) <= _MAX_BYTES:
                    return START_MARK + record
    except _UNEXPECTED:
        pass
    return encode.encode_started(span)


def encode_ended(span: ReadableSpan, ancestors: Ancestors) -> bytes | None:
    """The record of an ended span if it may report a model call; runs on the caller's thread."""
    try:
        scope, resource, context, parent, start_ns, end_ns, status, span_attributes = _span_fields(
            span
        )
        of_resource, of_scope, name, source, is_ours = KNOWN_SOURCES[id(scope)]
        if (
            of_scope is scope
            and of_resource is resource
            and is_ours
            and 0 <= start_ns <= end_ns <= _MAX_INTEGER
            and status is not _FAILED
        ):
            span_attributes = span_attributes.copy()
            # The only list among our attributes.
            reasons = span_attributes.pop(FINISH_REASONS, None)
            if (
                reasons in _REASONS
                and span_attributes.keys() <= ALLOWED_ATTRIBUTES
                and _are_plain(map(type, span_attributes.values()))
            ):
                if reasons:
                    span_attributes[FINISH_REASONS] = reasons
                above = parent[1] if parent else 0
                trace_id = context[0].to_bytes(16, "big")
                record = _encode(
                    (
                        trace_id,
                        context[1],
                        above,
                        start_ns,
                        end_ns,
                        name,
                        False,
                        span_attributes,
                        source,
                        ancestors,
                    )
                )
                if len(record) <= _MAX_BYTES:
                    return record
    except _UNEXPECTED:
        pass
    return encode.encode_ended(span, ancestors)
