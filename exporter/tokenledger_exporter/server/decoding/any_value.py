"""Decodes attribute values (OTLP's AnyValue) into the types that span records use."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from tokenledger_exporter.server.decoding.decoded_request import MalformedError
from tokenledger_semconv import dimensions

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = str | bool | int | float | list[str]
"""An attribute's value in a record; lists may be shared, so they must not be changed."""

# The first byte of a field of AnyValue: its number and wire type (opentelemetry-proto 1.9).
_STRING, _BOOL, _INT, _DOUBLE = 0x0A, 0x10, 0x18, 0x21
NESTED: Final = frozenset({0x2A, 0x32})
"""First bytes of an array and of a key-value list."""

MAX_ITEMS: Final = 1_024
"""Items of a list; longer lists are ignored, as no allowed attribute has so many."""

_MAX_NESTED_BYTES: Final = 65_536
_ONE_BYTE: Final = 0x80
_MIN_BYTES: Final = 2
_DOUBLE_LENGTH: Final = 9
_LENGTH_DELIMITED: Final = 2
_FIXED_SIZES: Final = {1: 8, 5: 4}
_SIGN: Final = 1 << 63
_WRAP: Final = 1 << 64


def decode_value(data: bytes) -> Value | None:
    """Decode a value; `None` for a missing value, bytes, a key-value list or too long a list.

    Common encodings are decoded here, all others by protobuf's own class.

    Raises:
        MalformedError: the bytes are not a value.
    """
    size = len(data)
    value: Value | None = None
    if size >= _MIN_BYTES:
        kind = data[0]
        if kind == _STRING:
            value = _string(data, size)
        elif kind == _INT:
            value = _integer(data, size)
        elif kind == _BOOL and size == _MIN_BYTES and data[1] <= 1:
            value = data[1] == 1
        elif kind == _DOUBLE and size == _DOUBLE_LENGTH:
            (value,) = struct.unpack_from("<d", data, 1)
        elif kind in NESTED and size > _MAX_NESTED_BYTES:
            return None
    return _from_any(parse_any(data)) if value is None else value


def read_values(encoded: Mapping[str, bytes]) -> dict[str, object]:
    """Decode the values of a small map; missing values are left out."""
    values = ((key, decode_value(data)) for key, data in list(encoded.items()))
    return {key: value for key, value in values if value is not None}


def _string(data: bytes, size: int) -> str | None:
    """Text, if its length covers all bytes; otherwise `None`."""
    first = data[1]
    if first < _ONE_BYTE:
        return _text(data, 2) if size == first + 2 else None
    length, start = _varint(data, 1)
    return _text(data, start) if size == start + length else None


def _integer(data: bytes, size: int) -> int | None:
    """A number, if it covers all bytes; otherwise `None`."""
    number, end = _varint(data, 1)
    if end != size:
        return None
    return number - _WRAP if number >= _SIGN else number


def _text(data: bytes, start: int) -> str:
    try:
        return data[start:].decode()
    except UnicodeDecodeError:
        # Invalid text must not lose the rest of the request.
        return data[start:].decode("utf-8", "replace")


def _varint(data: bytes, start: int) -> tuple[int, int]:
    """A number with seven bits per byte, and its end; the end is -1 if the bytes are invalid."""
    number = shift = 0
    for position in range(start, min(start + 10, len(data))):
        byte = data[position]
        number |= (byte & 0x7F) << shift
        if byte < _ONE_BYTE:
            return (number, position + 1) if number < _WRAP else (0, -1)
        shift += 7
    return 0, -1


def has_more_fields(message: bytes, max_fields: int) -> bool:
    """Whether an encoded message has too many fields; a malformed message is left to its decoder.

    The fields are skipped, not decoded, so that a message with millions of them costs little.
    """
    position, count, size = 0, 0, len(message)
    while position < size:
        count += 1
        if count > max_fields:
            return True
        tag, position = _varint(message, position)
        wire = tag & 7
        if wire == _LENGTH_DELIMITED and position > 0:
            length, position = _varint(message, position)
            position = position + length if position > 0 else position
        elif wire == 0 and position > 0:
            _, position = _varint(message, position)
        else:
            position += _FIXED_SIZES.get(wire, size)
        if position <= 0:
            return False
    return False


def parse_any(data: bytes) -> AnyValue:
    """Decode a value with protobuf's own class.

    Raises:
        MalformedError: the bytes are not a value, or nested too deeply.
    """
    try:
        return AnyValue.FromString(data)
    except DecodeError:
        raise MalformedError("an attribute value is malformed or nested too deeply") from None


def _from_any(value: AnyValue) -> Value | None:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        if len(value.array_value.values) > MAX_ITEMS:
            return None
        # Missing items stay in the list, because the position of an item is its choice index.
        items = map(_from_any, value.array_value.values)
        return [str(item)[: dimensions.MAX_VALUE_LENGTH] for item in items]
    if kind in {"string_value", "bool_value", "int_value", "double_value"}:
        scalar: Value = getattr(value, kind)
        return scalar
    return None
