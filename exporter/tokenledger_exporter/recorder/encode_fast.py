"""The records of our own calls, by the shortest way; what that does not fit goes the long one.

A call of an SDK leaves little of ours in the processor's caches, so each step behind it costs three
times what a loop over it shows. Hence one function a record, and no step twice. Nothing is taken on
trust: what another processor or the app put on a span is read off it as it stands.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec
from opentelemetry.trace import StatusCode

from tokenledger_exporter.dialects import attribute_filter
from tokenledger_exporter.dialects.allowlist import ALLOWED_ATTRIBUTES
from tokenledger_exporter.dialects.span_source import KNOWN_ORIGINS
from tokenledger_exporter.recorder import encode
from tokenledger_exporter.spool.open_calls import START_MARK
from tokenledger_semconv.attributes import FINISH_REASONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import ReadableSpan

    from tokenledger_exporter.domain.span_record import Ancestors

# Fields of `ReadableSpan`, `Status` and `BoundedAttributes` in opentelemetry-sdk 1.45.2, read
# 2026-11-26. A span without them goes the long way.
_held: Final[Callable[[ReadableSpan], Any]] = attrgetter(
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
_MAX_NS: Final = attribute_filter.MAX_NS
_MAX_BYTES: Final = attribute_filter.MAX_TEXT
_FAILED: Final = StatusCode.ERROR
# As openai 3.54.0 and anthropic 2.12.0 declare them, read 2026-11-26; one that is missing here only
# goes the long way, as several at once do.
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
# What a value beyond msgpack, or a span that is built otherwise, ends in.
_OTHERWISE: Final = (
    AttributeError,
    KeyError,
    OverflowError,
    TypeError,
    UnicodeEncodeError,
    ValueError,
)


def encode_start(span: ReadableSpan) -> bytes | None:
    """What is known of a call whose span has just started; `None` for spans that are not ours."""
    try:
        scope, resource, context, parent, start_ns, _, status, told = _held(span)
        of_resource, of_scope, name, origin, is_ours = KNOWN_ORIGINS[id(scope)]
        if of_scope is scope and of_resource is resource:
            if not is_ours:
                return None
            if (
                0 <= start_ns <= _MAX_NS
                and status is not _FAILED
                and told.keys() <= ALLOWED_ATTRIBUTES
                and _are_plain(map(type, told.values()))
            ):
                # Places are SpanRecord's fields, and of a context the ids.
                above = parent[1] if parent else 0
                trace_id = context[0].to_bytes(16, "big")
                record = _encode(
                    (trace_id, context[1], above, start_ns, 0, name, False, told, origin, ())
                )
                if len(record) <= _MAX_BYTES:
                    return START_MARK + record
    except _OTHERWISE:
        pass
    return encode.encode_start(span)


def encode_call(span: ReadableSpan, ancestors: Ancestors) -> bytes | None:
    """The record of an ended span if it may tell of a model call; runs on the caller's thread."""
    try:
        scope, resource, context, parent, start_ns, end_ns, status, told = _held(span)
        of_resource, of_scope, name, origin, is_ours = KNOWN_ORIGINS[id(scope)]
        if (
            of_scope is scope
            and of_resource is resource
            and is_ours
            and 0 <= start_ns <= end_ns <= _MAX_NS
            and status is not _FAILED
        ):
            told = told.copy()
            # The one list among our attributes.
            reasons = told.pop(FINISH_REASONS, None)
            if (
                reasons in _REASONS
                and told.keys() <= ALLOWED_ATTRIBUTES
                and _are_plain(map(type, told.values()))
            ):
                if reasons:
                    told[FINISH_REASONS] = reasons
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
                        told,
                        origin,
                        ancestors,
                    )
                )
                if len(record) <= _MAX_BYTES:
                    return record
    except _OTHERWISE:
        pass
    return encode.encode_call(span, ancestors)
