"""The parts of OTLP's messages that the ledger reads, defined for the protobuf runtime at import.

On the wire a message looks like bytes, so a descriptor can leave it encoded until it is needed. A
span's attributes stay bytes, which serve as lookup keys. Other attributes are a map, which on the
wire is a repeated key and value (protobuf, "Maps: backwards compatibility", read 2026-11-26), so
that the runtime's C code builds the dictionary. In a large request spans stay bytes until each is
read, so that a body with a million spans does not become a million messages.
Field numbers: opentelemetry-proto 1.9, trace, logs, common and resource v1 (read 2026-11-26).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

    class Owner(Protocol):
        """A resource or an instrumentation scope; a resource has no name."""

        name: str
        attributes: Mapping[str, bytes]

    class Group(Protocol):
        """The data of one resource, or of one of its scopes, still encoded."""

        owner: Owner
        items: Sequence[bytes]

    class SpansOfScope(Protocol):
        """The spans of one scope, decoded."""

        spans: Sequence[WireSpan]

    class Status(Protocol):
        """How a span ended."""

        code: int

    class Pair(Protocol):
        """One attribute, its value still encoded."""

        key: str
        value: bytes

    class Event(Protocol):
        """A span's event."""

        attributes: Mapping[str, bytes]

    class WireSpan(Protocol):
        """One span."""

        trace_id: bytes
        span_id: bytes
        parent_span_id: bytes
        start_ns: int
        end_ns: int
        attributes: Sequence[bytes]
        events: Sequence[bytes]
        status: bytes

    class WireLog(Protocol):
        """One log record."""

        time_ns: int
        observed_ns: int
        body: bytes
        event_name: str
        attributes: Mapping[str, bytes]

    class Request(Protocol):
        """A request with its resources still encoded."""

        items: Sequence[bytes]

    class Parser(Protocol):
        """The part of a message class that is used here."""

        def FromString(self, data: bytes, /) -> Message:  # noqa: N802 - protobuf's name
            """Decode a message; raises `DecodeError`."""
            ...


_Field = descriptor_pb2.FieldDescriptorProto
_TEXT, _BYTES, _FIXED, _INT = (
    _Field.TYPE_STRING,
    _Field.TYPE_BYTES,
    _Field.TYPE_FIXED64,
    _Field.TYPE_INT32,
)
_PACKAGE: Final = "tokenledger.otlp"
_ONE, _MANY = _Field.LABEL_OPTIONAL, _Field.LABEL_REPEATED


def _field(
    message: descriptor_pb2.DescriptorProto,
    name: str,
    number: int,
    kind: _Field.Type.ValueType | str,
    label: _Field.Label.ValueType = _ONE,
) -> None:
    """Add a field of a scalar type, or of one of our messages by its name."""
    if isinstance(kind, str):
        message.field.add(
            name=name,
            number=number,
            label=label,
            type=_Field.TYPE_MESSAGE,
            type_name=f".{_PACKAGE}.{kind}",
        )
    else:
        message.field.add(name=name, number=number, label=label, type=kind)


def _attributes(message: descriptor_pb2.DescriptorProto, number: int) -> None:
    """Add attributes as a map from key to encoded value."""
    entry = message.nested_type.add(name="AttributesEntry")
    entry.options.map_entry = True
    _field(entry, "key", 1, _TEXT)
    _field(entry, "value", 2, _BYTES)
    _field(message, "attributes", number, f"{message.name}.AttributesEntry", _MANY)


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="tokenledger/otlp.proto", package=_PACKAGE, syntax="proto3"
    )
    add = file.message_type.add
    _field(add(name="Request"), "items", 1, _BYTES, _MANY)
    _attributes(add(name="Resource"), 1)
    resource_data = add(name="ResourceData")
    _field(resource_data, "owner", 1, "Resource")
    _field(resource_data, "items", 2, _BYTES, _MANY)
    scope = add(name="Scope")
    _field(scope, "name", 1, _TEXT)
    _attributes(scope, 3)
    scope_data = add(name="ScopeData")
    _field(scope_data, "owner", 1, "Scope")
    _field(scope_data, "items", 2, _BYTES, _MANY)
    _field(add(name="Status"), "code", 3, _INT)
    _attributes(add(name="Event"), 3)
    span = add(name="Span")
    _field(span, "trace_id", 1, _BYTES)
    _field(span, "span_id", 2, _BYTES)
    _field(span, "parent_span_id", 4, _BYTES)
    _field(span, "start_ns", 7, _FIXED)
    _field(span, "end_ns", 8, _FIXED)
    _field(span, "attributes", 9, _BYTES, _MANY)
    _field(span, "events", 11, _BYTES, _MANY)
    _field(span, "status", 15, _BYTES)
    spans_of_scope = add(name="SpansOfScope")
    _field(spans_of_scope, "owner", 1, "Scope")
    _field(spans_of_scope, "spans", 2, "Span", _MANY)
    pair = add(name="Pair")
    _field(pair, "key", 1, _TEXT)
    _field(pair, "value", 2, _BYTES)
    log = add(name="LogRecord")
    _field(log, "time_ns", 1, _FIXED)
    _field(log, "observed_ns", 11, _FIXED)
    _field(log, "body", 5, _BYTES)
    _field(log, "event_name", 12, _TEXT)
    _attributes(log, 6)
    return file


_POOL: Final = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(_file().SerializeToString())


def _class(name: str) -> Parser:
    descriptor = _POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}")
    return cast("Parser", message_factory.GetMessageClass(descriptor))


REQUEST: Final = _class("Request")
"""A request for traces or logs."""

RESOURCE_DATA: Final = _class("ResourceData")
"""The data of one resource."""

SCOPE_DATA: Final = _class("ScopeData")
"""The data of one scope."""

SPANS_OF_SCOPE: Final = _class("SpansOfScope")
"""The data of one scope with decoded spans: faster, but only safe for small data."""

SPAN: Final = _class("Span")
"""One span."""

PAIR: Final = _class("Pair")
"""One attribute."""

STATUS: Final = _class("Status")
"""How a span ended."""

EVENT: Final = _class("Event")
"""One event of a span."""

LOG_RECORD: Final = _class("LogRecord")
"""One log record."""
