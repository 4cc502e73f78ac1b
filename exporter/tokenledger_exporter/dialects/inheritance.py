"""Attribution that a call gets from the spans above it, where its own span names none.

Only spans that arrive together are known to each other: those of one OTLP request, or of one batch
of a span exporter. The nearest span that names a dimension counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from tokenledger_exporter.dialects.allowlist import ALLOWED_PREFIXES
from tokenledger_exporter.dialects.dialect import COLUMN
from tokenledger_exporter.dialects.read import read_attribution
from tokenledger_exporter.dialects.registry import DIALECTS, dialect_of
from tokenledger_semconv import attributes, dimensions, emitters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tokenledger_exporter.domain.span_record import AttributeValue

Carrier: TypeAlias = "tuple[str, Mapping[str, AttributeValue]]"
"""Scope and allowed attributes of a span."""

Key = TypeVar("Key")
"""What identifies a span: its trace id and span id."""

MAX_CARRIERS: Final = 16_384
"""Spans of a request that carry attribution and are not calls. With more, no call inherits any: a
value of a farther span in place of the nearest one's would be wrong."""

MAX_INHERITED_VALUES: Final = 32_768
"""Values that the calls of a request inherit, each distinct set counted once. Calls below a span
whose values exceed it inherit none."""

_ATTRIBUTE_OF: Final = {
    dimension.column: dimension.attribute for dimension in dimensions.DIMENSIONS if dimension.keys
}
_MAX_VALUES_PER_CALL: Final = dimensions.MAX_METADATA_KEYS + len(_ATTRIBUTE_OF)
_CARRIERS: Final = frozenset(
    attribute
    for dialect in DIALECTS
    for attribute, (group, name, _) in dialect.fields.items()
    if group == COLUMN and name in _ATTRIBUTE_OF
) | {emitters.OI_METADATA}
_PREFIXES: Final = (attributes.METADATA_PREFIX, *ALLOWED_PREFIXES)
_NOTHING: Final[dict[str, str]] = {}


def carries_attribution(names: Iterable[str]) -> bool:
    """Whether a span with these attributes may name who a call below it is for."""
    return any(name in _CARRIERS or name.startswith(_PREFIXES) for name in names)


class Inheritance(Generic[Key]):
    """The attribution on the spans of one request or batch.

    Args:
        find: returns scope and allowed attributes of a span, calls included; `None` if unknown.
        parents: the key of the parent of each span.
    """

    def __init__(
        self,
        find: Callable[[Key], Carrier | None],
        parents: Mapping[Key, Key],
    ) -> None:
        self._find: Final = find
        self._parents: Final = parents
        self._known: Final[dict[Key, dict[str, str]]] = {}
        self._values = 0

    def above(self, key: Key) -> dict[str, str] | None:
        """What the spans above a span say, by attribute; do not change it."""
        path: list[Key] = []
        span = self._parents.get(key)
        # Spans that are their own ancestors end the search.
        while span is not None and span != key and span not in self._known:
            self._known[span] = _NOTHING
            path.append(span)
            span = self._parents.get(span)
        attribution = _NOTHING if span is None else self._known.get(span, _NOTHING)
        for span in reversed(path):
            attribution = self._known[span] = self._with_own(span, attribution)
        return attribution or None

    def _with_own(self, key: Key, above: dict[str, str]) -> dict[str, str]:
        span = self._find(key)
        own = attribution_of(*span) if span is not None else _NOTHING
        if not own:
            return above
        if self._values >= MAX_INHERITED_VALUES:
            return _NOTHING
        for name, value in above.items():
            if len(own) >= _MAX_VALUES_PER_CALL:
                break
            own.setdefault(name, value)
        self._values += len(own)
        return own


def attribution_of(scope: str, span_attributes: Mapping[str, AttributeValue]) -> dict[str, str]:
    """What a span says about who its calls are for: attribute of the contract -> text."""
    columns, metadata = read_attribution(dialect_of(scope, span_attributes)[0], span_attributes)
    own = {
        _ATTRIBUTE_OF[column]: text[: dimensions.MAX_VALUE_LENGTH]
        for column, text in columns.items()
        if text and not text.isspace() and column in _ATTRIBUTE_OF
    }
    for key, text in metadata.items():
        if len(own) >= _MAX_VALUES_PER_CALL:
            break
        own[attributes.METADATA_PREFIX + key] = text[: dimensions.MAX_VALUE_LENGTH]
    return own
