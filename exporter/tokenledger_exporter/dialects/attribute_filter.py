"""Which attributes of a span are recorded: an allow-list of facts, never a prompt or an answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

from tokenledger_exporter.dialects.allowlist import ALLOWED_ATTRIBUTES, ALLOWED_PREFIXES, REDUCED
from tokenledger_exporter.dialects.span_source import encodable
from tokenledger_semconv import attributes, dimensions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tokenledger_exporter.domain.span_record import AttributeValue


_CLASS_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}")


MAX_TEXT: Final = 8_192
"""The longest text recorded of an attribute, in characters. The values of a record of at most this
many bytes need no check."""


# A cut usage object would not be JSON, and only it holds the counts of additional models.
_USAGES: Final = frozenset({attributes.PROVIDER_USAGE, attributes.FURTHER_USAGE})


_MAX_USAGE_TEXT: Final = 65_536


# The SDK's own limit: an app that lifts it must not fill the spool with metadata.
_MAX_ATTRIBUTES: Final = 128


MIN_INTEGER, MAX_INTEGER, _MAX_ENCODED = -(2**63), 2**63 - 1, 2**64 - 1


def allowed_attributes(span_attributes: Mapping[str, object]) -> dict[str, AttributeValue]:
    """The attributes of a span that are recorded; runs on the caller's thread."""
    allowed: dict[str, AttributeValue] = {}
    metadata_keys = 0
    for key, value in span_attributes.items():
        if key in ALLOWED_ATTRIBUTES:
            # Nearly every value is a short ASCII text or a small number, which needs no call.
            if type(value) is str:
                fits = len(value) <= MAX_TEXT and value.isascii()
                allowed[key] = value if fits else encodable(value[: longest_text(key)])
            elif type(value) is int:
                allowed[key] = value if MIN_INTEGER <= value <= _MAX_ENCODED else str(value)
            else:
                allowed[key] = _plain(value)
        elif key.startswith(attributes.METADATA_PREFIX):
            metadata_keys += 1
            if metadata_keys <= dimensions.MAX_METADATA_KEYS:
                allowed[encodable(key)] = _plain(value)
        else:
            _add_foreign(allowed, key, value)
    return allowed


def longest_text(name: str) -> int:
    """How many characters of an attribute's text are recorded."""
    return _MAX_USAGE_TEXT if name in _USAGES else MAX_TEXT


def is_class_name(name: object) -> bool:
    """Whether the exception type of a span is a class name, and not the exception's text."""
    return isinstance(name, str) and _CLASS_NAME.fullmatch(name) is not None


def _add_foreign(allowed: dict[str, AttributeValue], key: str, value: object) -> None:
    """Add another emitter's attribute: counts, tiers and ids of its JSON, or short metadata."""
    reduce = REDUCED.get(key)
    if reduce is not None:
        reduced = reduce(value) if isinstance(value, str) else ""
        if reduced:
            allowed[key] = reduced
    elif key.startswith(ALLOWED_PREFIXES) and len(allowed) < _MAX_ATTRIBUTES:
        short = value[: dimensions.MAX_VALUE_LENGTH] if isinstance(value, str) else value
        allowed[encodable(key)] = _plain(short)


def _plain(value: object) -> AttributeValue:
    # One type per test: `isinstance` takes twice as long with a union.
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        # msgpack integers have 64 bits; the dialect reports a count above that as a fault.
        return int(value) if MIN_INTEGER <= value <= _MAX_ENCODED else str(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[object]", value)
        return [encodable(str(item)[: dimensions.MAX_VALUE_LENGTH]) for item in items]
    return encodable(str(value)[:MAX_TEXT])
