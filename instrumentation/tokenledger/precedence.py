"""Which attribution wins: functions over layers of attribute -> value.

A layer maps span attributes (which are the baggage keys too) to cleaned strings. Layers are given
strongest first; the first that knows an attribute settles it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from tokenledger.failures import report
from tokenledger_semconv.attributes import METADATA_PREFIX
from tokenledger_semconv.dimensions import (
    ATTRIBUTION_KEYS,
    MAX_METADATA_KEYS,
    MAX_VALUE_LENGTH,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

Layer = Mapping[str, str]
"""Span attribute -> cleaned value."""

NOTHING: Final[Layer] = {}
"""The layer of a source that says nothing."""

_JSON_TYPES: Final = (dict, list, tuple)
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


class Layers(NamedTuple):
    """Every source of attribution, strongest first."""

    per_call: Layer = NOTHING
    inner: Layer = NOTHING
    outer: Layer = NOTHING
    middleware: Layer = NOTHING
    provider_field: Layer = NOTHING
    trusted_baggage: Layer = NOTHING
    defaults: Layer = NOTHING


def settle(layers: Iterable[Layer]) -> dict[str, str]:
    """One attribution out of layers given strongest first, within the limit of metadata keys."""
    settled: dict[str, str] = {}
    metadata_keys = 0
    for layer in layers:
        for attribute, value in layer.items():
            if attribute in settled:
                continue
            if attribute.startswith(METADATA_PREFIX):
                if metadata_keys == MAX_METADATA_KEYS:
                    continue
                metadata_keys += 1
            settled[attribute] = value
    return settled


def clean(value: object) -> str:
    """A value as a row can hold it: text without NUL or lone surrogates, cut at the limit."""
    text = value if type(value) is str else _text(value)
    if not text.isascii():
        text = text[:MAX_VALUE_LENGTH].encode("utf-8", "replace").decode("utf-8")
    return text[:MAX_VALUE_LENGTH].replace("\0", _REPLACEMENT)


def keyword_layer(given: Mapping[str, object]) -> dict[str, str]:
    """Keywords of `attribution(...)`: known keys fill their attribute, any other is metadata."""
    return {
        ATTRIBUTION_KEYS.get(key) or METADATA_PREFIX + clean(key): clean(value)
        for key, value in given.items()
        if value is not None
    }


def metadata_layer(given: Mapping[str, object]) -> dict[str, str]:
    """A metadata mapping: every key stays metadata, a known one also fills its attribute."""
    layer: dict[str, str] = {}
    for key, value in given.items():
        if value is None:
            continue
        name, text = clean(key), clean(value)
        layer[METADATA_PREFIX + name] = text
        if attribute := ATTRIBUTION_KEYS.get(name):
            layer[attribute] = text
    return layer


def given_layer(
    known: Mapping[str, object], metadata: object, place: str = "attribution(metadata=)"
) -> dict[str, str]:
    """Keywords over the metadata given beside them.

    Args:
        known: the keywords.
        metadata: further keys; anything but a mapping is left off and reported.
        place: what the app calls it.
    """
    keywords = keyword_layer(known)
    if metadata is None:
        return keywords
    if not isinstance(metadata, Mapping):
        report(place, f"{type(metadata).__name__} that is no mapping")
        return keywords
    return {**metadata_layer(cast("Mapping[str, object]", metadata)), **keywords}


def _text(value: object) -> str:
    """Any value as text; the class name stands in for one that cannot be printed."""
    try:
        if type(value) in _JSON_TYPES:
            return json.dumps(value, default=str, ensure_ascii=False)
        return str(value)
    except Exception:  # noqa: BLE001 - the value's own code failed; attribution must not
        return type(value).__name__
