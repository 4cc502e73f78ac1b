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
"""The longest text kept of an attribute, in characters, and the longest record that needs no look
at each of its values, in bytes."""


# Half of it would be no JSON, and what further models are billed for stands in it alone.
_USAGES: Final = frozenset({attributes.PROVIDER_USAGE, attributes.FURTHER_USAGE})


_LONGEST_USAGE: Final = 65_536


# As the SDK's own limit: an exporter that lifts it must not fill the spool with metadata.
_MAX_ALLOWED: Final = 128


_LEAST, MAX_NS, _MAX_ENCODED = -(2**63), 2**63 - 1, 2**64 - 1


def allowed_attributes(found: Mapping[str, object]) -> dict[str, AttributeValue]:
    """What is kept of a span's attributes; runs on the caller's thread, once a value."""
    kept: dict[str, AttributeValue] = {}
    metadata_keys = 0
    for key, value in found.items():
        if key in ALLOWED_ATTRIBUTES:
            # Nearly every value is short plain text or a small number: it pays no call.
            if type(value) is str:
                fits = len(value) <= MAX_TEXT and value.isascii()
                kept[key] = value if fits else encodable(value[: longest_text(key)])
            elif type(value) is int:
                kept[key] = value if _LEAST <= value <= _MAX_ENCODED else str(value)
            else:
                kept[key] = _plain(value)
        elif key.startswith(attributes.METADATA_PREFIX):
            metadata_keys += 1
            if metadata_keys <= dimensions.MAX_METADATA_KEYS:
                kept[encodable(key)] = _plain(value)
        else:
            _keep_foreign(kept, key, value)
    return kept


def longest_text(name: str) -> int:
    """How many characters of an attribute's text are kept."""
    return _LONGEST_USAGE if name in _USAGES else MAX_TEXT


def is_class_name(name: object) -> bool:
    """Whether what a span calls the class of its exception is one, and not the exception's text."""
    return isinstance(name, str) and _CLASS_NAME.fullmatch(name) is not None


def _keep_foreign(kept: dict[str, AttributeValue], key: str, value: object) -> None:
    """Keep what another emitter writes: of JSON its counts, tiers and ids, and short metadata."""
    reduce = REDUCED.get(key)
    if reduce is not None:
        told = reduce(value) if isinstance(value, str) else ""
        if told:
            kept[key] = told
    elif key.startswith(ALLOWED_PREFIXES) and len(kept) < _MAX_ALLOWED:
        short = value[: dimensions.MAX_VALUE_LENGTH] if isinstance(value, str) else value
        kept[encodable(key)] = _plain(short)


def _plain(value: object) -> AttributeValue:
    # One type a test: `isinstance` takes twice as long with a union of them.
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        # msgpack ends at 64 bits; a count beyond is a fault the dialect will name.
        return int(value) if _LEAST <= value <= _MAX_ENCODED else str(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[object]", value)
        return [encodable(str(item)[: dimensions.MAX_VALUE_LENGTH]) for item in items]
    return encodable(str(value)[:MAX_TEXT])
