"""Defines a dialect: a table from an emitter's attributes to the ledger's fields, and exceptions.

A span's attributes are read in one pass, each with one lookup in the table. Attributes that the
dialect does not use cost one lookup, and no alias is looked up unless the span has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from tokenledger_exporter.dialects.totals import EITHER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tokenledger_exporter.domain.span_record import AttributeValue
    from tokenledger_semconv.tokens import TokenVector

# Groups of fields. They are plain integers, because the pass over a span's attributes compares them
# and uses them as an index.
COUNT: Final = 0
"""A count of the token vector."""

VALUE: Final = 1
"""A value of the call, such as its model."""

COLUMN: Final = 2
"""The column of a dimension."""

DETAIL: Final = 3
"""A detail, stored under the attribute's name."""

METADATA: Final = 4
"""A metadata key."""

USAGE: Final = 5
"""A usage object in JSON."""

Field: TypeAlias = tuple[int, str, bool]
"""The field that an attribute fills: group, name, and whether the attribute overrides aliases."""

Fields: TypeAlias = "Mapping[str, Field]"


@dataclass(slots=True)
class RawFields:
    """The fields of one span as read from its attributes; a dialect may adjust them.

    Args:
        counts: fields of the token vector, and counts that only the dialect uses.
        values: model, provider, operation and other values of the call.
        columns: dimensions.
        details: settings, by attribute.
        metadata: more attribution keys.
        usage: usage objects, by field.
    """

    counts: dict[str, int]
    values: dict[str, AttributeValue]
    columns: dict[str, AttributeValue]
    details: dict[str, AttributeValue]
    metadata: dict[str, AttributeValue]
    usage: dict[str, AttributeValue]


TEXTS: Final = (
    *("operation", "provider", "model", "request_model", "response_id", "error_type"),
    *("service_tier", "speed", "inference_geo", "usage"),
)
"""Values of a call that are text, in the order of `SpanFields.texts`."""

COST_AMOUNT: Final = "cost_amount"
"""Value of a call that is a reported cost only with the right currency and source."""

OTHERS: Final = ("first_chunk_seconds", "estimated", "reported_cost")
"""Values of a call that are not text, in the order of `SpanFields.others`."""


class SpanFields(msgspec.Struct, frozen=True, gc=False):
    """The fields of one span.

    Args:
        tokens: counts in the emitter's convention.
        is_counted: whether the span has any counts.
        texts: values in the order of `TEXTS`; "" for a missing one.
        others: values in the order of `OTHERS`; `None` for a missing one.
        columns: dimension -> text.
        details: settings, by attribute.
        metadata: more attribution keys.
        usage: the provider's usage object, if it was read from an attribute of the emitter.
        refused: the provider refused the call.
        total_tokens: the total, if the counts are not known to add up to it.
    """

    tokens: TokenVector
    is_counted: bool
    texts: Sequence[str]
    others: Sequence[AttributeValue | None]
    columns: dict[str, str]
    details: dict[str, AttributeValue]
    metadata: dict[str, str]
    usage: str | None = None
    refused: bool = False
    total_tokens: int | None = None


# Compared by identity: there are few dialects, and plans are cached by dialect.
@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """How one emitter reports a model call.

    Args:
        name: its name in docs/reference/emitters.md.
        scopes: prefixes of its instrumentation scopes.
        fields: attribute -> the field it fills.
        marker: an attribute that only its spans have, for spans of an unknown scope.
        trusted: our own emitters: their counts are not corrected, their operations not rejected.
        exclusive: those of `scopes` whose input tokens exclude cache reads and writes.
        operations: its operation names -> the conventions' names; "" for one that is not a call.
        operation: operation of a span without an operation name; "" if it is not a call.
        not_providers: values of its provider attribute that do not name a provider.
        metadata_prefixes: prefixes of its attributes that hold metadata of the app.
        ignored_keys: prefixes of metadata keys that the emitter sets itself.
        is_repeat: given a span's attributes and whether it failed: whether another span of this
            emitter reports the same call, or no provider was called.
        adjust: changes the raw fields where the table is not enough.
        gemini_surplus: what the total of a Gemini call has in addition to the counts; see `totals`.
    """

    name: str
    scopes: tuple[str, ...]
    fields: Fields
    marker: str = ""
    trusted: bool = False
    exclusive: tuple[str, ...] = ()
    operations: Mapping[str, str] = field(default_factory=dict[str, str])
    operation: str = "chat"
    not_providers: frozenset[str] = frozenset()
    metadata_prefixes: tuple[str, ...] = ()
    ignored_keys: tuple[str, ...] = ()
    is_repeat: Callable[[Mapping[str, AttributeValue], bool], bool] | None = None
    adjust: Callable[[RawFields], None] | None = None
    gemini_surplus: str = EITHER


def counts(**attributes_of: str | tuple[str, ...]) -> dict[str, Field]:
    """Table entries of counts: field = attribute, or the current attribute and its aliases."""
    return _fields(COUNT, attributes_of)


def values(**attributes_of: str | tuple[str, ...]) -> dict[str, Field]:
    """Table entries of values of the call, like `counts`."""
    return _fields(VALUE, attributes_of)


def columns(**attributes_of: str | tuple[str, ...]) -> dict[str, Field]:
    """Table entries of dimensions, like `counts`."""
    return _fields(COLUMN, attributes_of)


def metadata(**attributes_of: str | tuple[str, ...]) -> dict[str, Field]:
    """Table entries of metadata keys, like `counts`."""
    return _fields(METADATA, attributes_of)


def usage(**attributes_of: str | tuple[str, ...]) -> dict[str, Field]:
    """Table entries of usage objects, like `counts`."""
    return _fields(USAGE, attributes_of)


def aliases(fields: Fields) -> dict[str, Field]:
    """The same entries as aliases: they fill a field only if no other attribute does."""
    return {attribute: (group, name, False) for attribute, (group, name, _) in fields.items()}


def _fields(group: int, attributes_of: Mapping[str, str | tuple[str, ...]]) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    for name, attribute_names in attributes_of.items():
        names = (attribute_names,) if isinstance(attribute_names, str) else attribute_names
        for position, attribute in enumerate(names):
            fields[attribute] = (group, name, position == 0)
    return fields
