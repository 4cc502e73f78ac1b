"""Resolves which attribution applies: functions over layers of attribute -> value.

A layer maps span attributes, which are also the baggage keys, to cleaned text. Layers are ordered
from strongest to weakest; the first one that has an attribute decides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from tokenledger._guard import report
from tokenledger_semconv.attributes import METADATA_PREFIX
from tokenledger_semconv.dimensions import (
    ATTRIBUTION_KEYS,
    MAX_METADATA_KEYS,
    MAX_VALUE_LENGTH,
    USUAL_KEYS,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

Layer = Mapping[str, str]
"""Span attribute -> cleaned value."""

NOTHING: Final[Layer] = {}
"""The layer of a source without attribution."""

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


def merge_layers(layers: Iterable[Layer]) -> dict[str, str]:
    """Merge layers, strongest first, within the limit of metadata keys."""
    merged: dict[str, str] = {}
    metadata_keys = 0
    for layer in layers:
        for attribute, value in layer.items():
            if attribute in merged:
                continue
            if attribute.startswith(METADATA_PREFIX):
                if metadata_keys == MAX_METADATA_KEYS:
                    continue
                metadata_keys += 1
            merged[attribute] = value
    return merged


def clean(value: object) -> str:
    """A value as a row can hold it: text without NUL or lone surrogates, cut to the limit."""
    text = value if type(value) is str else _text(value)
    if not text.isascii():
        text = text[:MAX_VALUE_LENGTH].encode("utf-8", "replace").decode("utf-8")
    return text[:MAX_VALUE_LENGTH].replace("\0", _REPLACEMENT)


def keyword_layer(keywords: Mapping[str, object]) -> dict[str, str]:
    """The layer of `attribution(...)` keywords: an unknown keyword becomes metadata."""
    layer: dict[str, str] = {}
    for key, value in keywords.items():
        if value is not None:
            name = clean(key)
            attribute = ATTRIBUTION_KEYS.get(name) or METADATA_PREFIX + name
            if attribute not in layer or name in USUAL_KEYS:
                layer[attribute] = clean(value)
    return layer


def metadata_layer(metadata: Mapping[str, object]) -> dict[str, str]:
    """The layer of a metadata mapping: a known key also fills its attribute."""
    layer: dict[str, str] = {}
    for key, value in metadata.items():
        if value is None:
            continue
        name, text = clean(key), clean(value)
        layer[METADATA_PREFIX + name] = text
        attribute = ATTRIBUTION_KEYS.get(name)
        if attribute and (attribute not in layer or name in USUAL_KEYS):
            layer[attribute] = text
    return layer


def layer_of(
    keywords: Mapping[str, object], metadata: object, place: str = "attribution(metadata=)"
) -> dict[str, str]:
    """The layer of keywords together with metadata; the keywords win.

    Args:
        keywords: the keywords.
        metadata: further keys; anything but a mapping is ignored and reported.
        place: the name of the metadata argument in reports.
    """
    layer = keyword_layer(keywords)
    if metadata is None:
        return layer
    if not isinstance(metadata, Mapping):
        report(place, f"expected a mapping, not {type(metadata).__name__}")
        return layer
    try:
        return {**metadata_layer(cast("Mapping[str, object]", metadata)), **layer}
    except Exception as error:  # noqa: BLE001 - the mapping's own code failed; the call goes on
        report(place, f"the mapping cannot be read ({type(error).__name__})")
        return layer


def _text(value: object) -> str:
    """Any value as text; the class name replaces a value that cannot be printed."""
    try:
        if type(value) in _JSON_TYPES:
            return json.dumps(value, default=str, ensure_ascii=False)
        # A subclass of str may override any method: this makes a plain copy.
        return str.__str__(str(value))
    except Exception:  # noqa: BLE001 - the value's own code failed; attribution must not
        return type(value).__name__
