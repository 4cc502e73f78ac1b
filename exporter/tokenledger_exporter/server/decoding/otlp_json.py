"""Decodes an OTLP/JSON request into records of model calls.

OTLP/JSON is protobuf's JSON with hexadecimal ids and lowerCamelCase names (OTLP specification 1.9,
"JSON Protobuf Encoding", read 2026-11-26). 64-bit numbers may be text or numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from tokenledger_exporter.dialects.allowlist import (
    ALLOWED_ATTRIBUTES,
    ALLOWED_PREFIXES,
    MARKS,
    REDUCED,
)
from tokenledger_exporter.dialects.attribute_filter import allowed_attributes, is_class_name
from tokenledger_exporter.dialects.span_source import resource_attributes
from tokenledger_exporter.domain.span_record import SpanRecord
from tokenledger_exporter.server.decoding.ancestors import RequestSpans
from tokenledger_exporter.server.decoding.any_value import MAX_ITEMS
from tokenledger_exporter.server.decoding.decoded_request import (
    BAD_IDS,
    LARGE_BODY,
    MAX_ELEMENTS,
    MAX_EVENTS,
    MAX_SPAN_FIELDS,
    TOO_MANY_ELEMENTS,
    TOO_MANY_FIELDS,
    DecodedRequest,
    MalformedError,
    TooLargeError,
    are_valid_ids,
    check_attributes,
    check_elements,
)
from tokenledger_semconv import attributes, dimensions, emitters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tokenledger_exporter.server.decoding.any_value import Value

Number: TypeAlias = int | float | str
"""A 64-bit number, or the value or name of an enumeration."""

_ERRORS: Final = frozenset({2, "2", "STATUS_CODE_ERROR"})
_MAX_NS: Final = 2**63 - 1
MIN_INTEGER: Final = -(2**63)
# Every message has an opening brace; 4 MiB of real spans have fewer than 150,000.
_MAX_BRACES: Final = 4 * MAX_ELEMENTS
_WANTED: Final = ALLOWED_ATTRIBUTES | frozenset(REDUCED) | MARKS
_WANTED_PREFIXES: Final = (attributes.METADATA_PREFIX, *ALLOWED_PREFIXES)


class _Message(msgspec.Struct, rename="camel", gc=False):
    """Any message; a missing or null field has its default."""


class Array(_Message):
    """A list of values."""

    values: list[AnyValue] | None = None


class AnyValue(_Message):
    """A value; bytes and key-value lists are ignored."""

    string_value: str | None = None
    bool_value: bool | None = None
    int_value: Number | None = None
    double_value: Number | None = None
    array_value: Array | None = None


class KeyValue(_Message):
    """An attribute."""

    key: str = ""
    value: AnyValue | None = None


class Owner(_Message):
    """A resource or a scope."""

    name: str | None = None
    attributes: list[KeyValue] | None = None


class Status(_Message):
    """How a span ended."""

    code: Number | None = None


class Event(_Message):
    """A span's event."""

    attributes: list[KeyValue] | None = None


class Span(_Message):
    """One span."""

    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    start_time_unix_nano: Number | None = None
    end_time_unix_nano: Number | None = None
    attributes: list[KeyValue] | None = None
    events: list[Event] | None = None
    status: Status | None = None


class LogRecord(_Message):
    """One log record."""

    time_unix_nano: Number | None = None
    observed_time_unix_nano: Number | None = None
    body: AnyValue | None = None
    event_name: str | None = None
    attributes: list[KeyValue] | None = None


class ScopeData(_Message):
    """The spans or log records of one scope."""

    scope: Owner | None = None
    spans: list[Span] | None = None
    log_records: list[LogRecord] | None = None


class ResourceData(_Message):
    """The data of one resource, by scope."""

    resource: Owner | None = None
    scope_spans: list[ScopeData] | None = None
    scope_logs: list[ScopeData] | None = None


class Request(_Message):
    """A request for traces or logs."""

    resource_spans: list[ResourceData] | None = None
    resource_logs: list[ResourceData] | None = None


_DECODER: Final = msgspec.json.Decoder(Request)


def decode_request(body: bytes) -> Request:
    """Decode a request.

    Raises:
        MalformedError: the body is not OTLP/JSON, or is nested too deeply.
        TooLargeError: the request has too many elements.
    """
    if body.count(b"{") > _MAX_BRACES:
        raise TooLargeError(TOO_MANY_ELEMENTS)
    try:
        return _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedError(f"the body is not OTLP JSON: {error}") from None
    except RecursionError:
        raise MalformedError("the body is nested too deeply") from None


def decode_json_traces(body: bytes) -> DecodedRequest:
    """Decode the same request as `decode_traces`, from JSON."""
    decoded = DecodedRequest()
    spans = RequestSpans()
    request = decode_request(body)
    is_large = len(body) > LARGE_BODY
    for resource_data in request.resource_spans or ():
        check_elements(len(resource_data.scope_spans or ()))
        for group in resource_data.scope_spans or ():
            check_elements(len(group.spans or ()))
            scope = (group.scope and group.scope.name) or ""
            resource = resource_of(resource_data.resource, group.scope)
            for span in group.spans or ():
                _add_span(span, (scope, resource), decoded, spans, is_large=is_large)
    spans.complete(decoded.records)
    return decoded


def resource_of(resource: Owner | None, scope: Owner | None) -> dict[str, str]:
    """The allowed attributes of a resource and a scope."""
    return resource_attributes(
        *(dict(_values((owner and owner.attributes) or ())) for owner in (resource, scope))
    )


def attributes_of(pairs: Sequence[KeyValue] | None) -> dict[str, object]:
    """Attributes by name; for a repeated name the last value counts."""
    check_attributes(len(pairs or ()))
    return dict(_values(pairs or ()))


def nanoseconds(number: Number | None) -> int:
    """Decode a time.

    Raises:
        MalformedError: it is not a number.
    """
    try:
        time_ns = int(number or 0)
    except (ValueError, OverflowError):
        raise MalformedError(f"{str(number)[:40]!r} is not a time in nanoseconds") from None
    return max(0, min(time_ns, _MAX_NS))


def _add_span(
    span: Span,
    origin: tuple[str, dict[str, str]],
    decoded: DecodedRequest,
    spans: RequestSpans,
    *,
    is_large: bool,
) -> None:
    trace_id, span_id = _id(span.trace_id), _id(span.span_id)
    parent = _id(span.parent_span_id)
    if parent:
        spans.parents[trace_id + span_id] = trace_id + parent
    scope, resource = origin
    pairs = (span.attributes or ())[:MAX_SPAN_FIELDS]
    values = dict(_values(pairs, lambda key: key in _WANTED or key.startswith(_WANTED_PREFIXES)))
    if not scope.startswith(attributes.SCOPE_PREFIX) and MARKS.isdisjoint(values):
        decoded.dropped += 1
        spans.add_other(trace_id + span_id, scope, values)
        return
    if len(span.attributes or ()) + len(span.events or ()) > MAX_SPAN_FIELDS:
        decoded.quarantined[TOO_MANY_FIELDS] += 1
        return
    if not are_valid_ids(trace_id, span_id):
        decoded.quarantined[BAD_IDS] += 1
        return
    failed = span.status is not None and span.status.code in _ERRORS
    allowed = allowed_attributes(values)
    if failed and attributes.ERROR_TYPE not in values and (error := _error_class(span)):
        allowed[attributes.ERROR_TYPE] = error
    decoded.add(
        SpanRecord(
            trace_id,
            int.from_bytes(span_id, "big"),
            int.from_bytes(parent[:8], "big"),
            nanoseconds(span.start_time_unix_nano),
            nanoseconds(span.end_time_unix_nano),
            scope,
            failed,
            allowed,
            resource,
        ),
        is_large=is_large,
    )


def _values(
    pairs: Sequence[KeyValue], is_wanted: Callable[[str], bool] | None = None
) -> Iterator[tuple[str, object]]:
    for pair in pairs:
        if pair.value is not None and (is_wanted is None or is_wanted(pair.key)):
            value = value_of(pair.value)
            if value is not None:
                yield pair.key, value


def value_of(value: AnyValue) -> Value | None:
    """Decode a value with the result of the protobuf decoder; `None` for a missing value.

    Raises:
        MalformedError: a number is malformed.
    """
    if value.string_value is not None:
        return value.string_value
    if value.bool_value is not None:
        return value.bool_value
    try:
        if value.int_value is not None:
            number = int(value.int_value)
            if not MIN_INTEGER <= number <= _MAX_NS:
                raise MalformedError("an intValue exceeds 64 bits")
            return number
        if value.double_value is not None:
            return float(value.double_value)
    except (ValueError, OverflowError):
        raise MalformedError("an intValue or doubleValue is not a number") from None
    if value.array_value is not None:
        return _list_of(value.array_value.values or [])
    return None


def _list_of(values: list[AnyValue]) -> list[str] | None:
    if len(values) > MAX_ITEMS:
        return None
    return [str(item)[: dimensions.MAX_VALUE_LENGTH] for item in map(value_of, values)]


def _id(text: str | None) -> bytes:
    """The bytes of an id; empty if it is not hexadecimal, which is an invalid id."""
    try:
        return bytes.fromhex(text or "")
    except ValueError:
        return b""


def _error_class(span: Span) -> str:
    for event in (span.events or ())[: -MAX_EVENTS - 1 : -1]:
        name = dict(_values(event.attributes or ())).get(emitters.EXCEPTION_TYPE)
        if is_class_name(name):
            return str(name)
    return ""
