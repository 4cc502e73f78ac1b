"""An attribute's value off the wire: OTLP's AnyValue, still encoded, into what the records keep."""

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
"""An attribute's value as records keep it; a list may be shared and is never changed."""

# What a field of AnyValue begins with: its number and wire type (opentelemetry-proto 1.9).
_STRING, _BOOL, _INT, _DOUBLE = 0x0A, 0x10, 0x18, 0x21
NESTED: Final = frozenset({0x2A, 0x32})
"""First bytes of an array and of a key-value list."""

MAX_ITEMS: Final = 1_024
"""Items of a list; a longer one is left out, as no attribute that is read has so many."""

_LONGEST_NESTED: Final = 65_536
_ONE_BYTE: Final = 0x80
_SHORTEST: Final = 2
_DOUBLE_LENGTH: Final = 9
_LENGTH_DELIMITED: Final = 2
_FIXED_SIZES: Final = {1: 8, 5: 4}
_SIGN: Final = 1 << 63
_WRAP: Final = 1 << 64


def decode_value(told: bytes) -> Value | None:
    """The value of encoded bytes; `None` for none, bytes, a key-value list or too long a list.

    The usual encodings at once; whatever else the wire allows, by the stock class.

    Raises:
        MalformedError: the bytes are no value.
    """
    size = len(told)
    value: Value | None = None
    if size >= _SHORTEST:
        kind = told[0]
        if kind == _STRING:
            value = _string(told, size)
        elif kind == _INT:
            value = _integer(told, size)
        elif kind == _BOOL and size == _SHORTEST and told[1] <= 1:
            value = told[1] == 1
        elif kind == _DOUBLE and size == _DOUBLE_LENGTH:
            (value,) = struct.unpack_from("<d", told, 1)
        elif kind in NESTED and size > _LONGEST_NESTED:
            return None
    return _of_any(parse_any(told)) if value is None else value


def read_values(found: Mapping[str, bytes]) -> dict[str, object]:
    """Every value of a small map, those that are none left out."""
    values = ((key, decode_value(told)) for key, told in list(found.items()))
    return {key: value for key, value in values if value is not None}


def _string(told: bytes, size: int) -> str | None:
    """Text whose length says that it is the whole."""
    first = told[1]
    if first < _ONE_BYTE:
        return _text(told, 2) if size == first + 2 else None
    length, start = _varint(told, 1)
    return _text(told, start) if size == start + length else None


def _integer(told: bytes, size: int) -> int | None:
    """A number that is the whole."""
    number, end = _varint(told, 1)
    if end != size:
        return None
    return number - _WRAP if number >= _SIGN else number


def _text(told: bytes, start: int) -> str:
    try:
        return told[start:].decode()
    except UnicodeDecodeError:
        # One emitter's broken text is no reason to lose what came with it.
        return told[start:].decode("utf-8", "replace")


def _varint(told: bytes, start: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends; -1 where it does not."""
    number = shift = 0
    for place in range(start, min(start + 10, len(told))):
        byte = told[place]
        number |= (byte & 0x7F) << shift
        if byte < _ONE_BYTE:
            return (number, place + 1) if number < _WRAP else (0, -1)
        shift += 7
    return 0, -1


def has_more_fields(message: bytes, most: int) -> bool:
    """Whether an encoded message has more fields than some; malformed ones are left to its reader.

    The fields are walked, not read: what unfolds into millions is seen after the first few.
    """
    place, count, size = 0, 0, len(message)
    while place < size:
        count += 1
        if count > most:
            return True
        tag, place = _varint(message, place)
        wire = tag & 7
        if wire == _LENGTH_DELIMITED and place > 0:
            length, place = _varint(message, place)
            place = place + length if place > 0 else place
        elif wire == 0 and place > 0:
            _, place = _varint(message, place)
        else:
            place += _FIXED_SIZES.get(wire, size)
        if place <= 0:
            return False
    return False


def parse_any(told: bytes) -> AnyValue:
    """The value by the stock class.

    Raises:
        MalformedError: the bytes are no value, or nest too deep for one.
    """
    try:
        return AnyValue.FromString(told)
    except DecodeError:
        raise MalformedError("an attribute's value is malformed or nests too deep") from None


def _of_any(value: AnyValue) -> Value | None:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        if len(value.array_value.values) > MAX_ITEMS:
            return None
        # An item that is none is an item all the same: the places of the others tell of choices.
        items = map(_of_any, value.array_value.values)
        return [str(item)[: dimensions.MAX_VALUE_LENGTH] for item in items]
    if kind in {"string_value", "bool_value", "int_value", "double_value"}:
        plain: Value = getattr(value, kind)
        return plain
    return None
