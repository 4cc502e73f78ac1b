"""What a dialect is: a table from its attributes to the ledger's fields, and its few exceptions.

A span's attributes are walked once, each looked up in one table: what no dialect names costs one
look-up, and no alias is probed for in vain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tokenledger_exporter.domain.span_record import AttributeValue
    from tokenledger_semconv.tokens import TokenVector

COUNT, VALUE, COLUMN, DETAIL, METADATA, USAGE = range(6)
"""Groups a field can belong to: a count of the token vector, a fact of the call, a dimension's
column, a detail kept under its own name, a metadata key, a usage object in JSON."""

Slot: TypeAlias = tuple[int, str, bool]
"""Where an attribute's value goes: group, field, and whether it stands against an alias."""

Slots: TypeAlias = "Mapping[str, Slot]"


@dataclass(slots=True)
class Draft:
    """What the walk over one span found, by field; a dialect may mend it.

    Args:
        counts: fields of the token vector, and helpers of a dialect that the vector lacks.
        values: model, provider, operation and the other facts of the call.
        columns: dimensions.
        details: settings, by attribute.
        metadata: further attribution.
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
"""Facts of a call that are texts, in the order in which `SpanFacts` has them."""

OTHERS: Final = ("first_chunk_seconds", "estimated", "reported_cost")
"""Facts of a call that are none, in the same way."""


class SpanFacts(msgspec.Struct, frozen=True, gc=False):
    """What a span tells of its call, each value in its place.

    Args:
        tokens: counts, as the emitter takes them.
        is_counted: whether it tells any.
        texts: by `TEXTS`; "" where nothing was told.
        others: by `OTHERS`, `None` where nothing was told.
        columns: dimension -> text.
        details: settings, by attribute.
        metadata: further attribution.
        usage: the provider's own usage object, where it was read already.
        refused: the provider refused the call.
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


# A dialect is one of few, and known by itself: plans are looked up by it.
@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """How one emitter tells of a model call.

    Args:
        name: what docs/reference/emitters.md calls it.
        scopes: beginnings of its instrumentation scopes.
        slots: attribute -> where its value goes.
        mark: an attribute only its spans have, where the scope is not known.
        trusted: our own emitters: their counts are never mended, their operations never refused.
        exclusive: scopes among `scopes` whose input leaves out what a cache read or wrote.
        operations: its names of operations -> the conventions'; "" for one that is no call.
        operation: what a span without an operation's name is; "" if it is no call.
        no_providers: what it writes where the provider belongs, and is none.
        prefixes: of its attributes that attribute by further keys.
        noise: beginnings of further keys that it sets itself and that attribute nothing.
        is_told_twice: of a span's attributes and whether it failed: whether another span of this
            emitter tells of the same call, or no provider was asked.
        mend: brings what the table cannot express into the draft.
    """

    name: str
    scopes: tuple[str, ...]
    slots: Slots
    mark: str = ""
    trusted: bool = False
    exclusive: tuple[str, ...] = ()
    operations: Mapping[str, str] = field(default_factory=dict[str, str])
    operation: str = "chat"
    no_providers: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    noise: tuple[str, ...] = ()
    is_told_twice: Callable[[Mapping[str, AttributeValue], bool], bool] | None = None
    mend: Callable[[Draft], None] | None = None


def counts(**attributes_of: str | tuple[str, ...]) -> dict[str, Slot]:
    """Slots of counts: field = attribute, or today's attribute and its aliases."""
    return _slots(COUNT, attributes_of)


def values(**attributes_of: str | tuple[str, ...]) -> dict[str, Slot]:
    """Slots of facts of the call, as `counts`."""
    return _slots(VALUE, attributes_of)


def columns(**attributes_of: str | tuple[str, ...]) -> dict[str, Slot]:
    """Slots of dimensions, as `counts`."""
    return _slots(COLUMN, attributes_of)


def metadata(**attributes_of: str | tuple[str, ...]) -> dict[str, Slot]:
    """Slots of metadata keys, as `counts`."""
    return _slots(METADATA, attributes_of)


def usage(**attributes_of: str | tuple[str, ...]) -> dict[str, Slot]:
    """Slots of usage objects, as `counts`."""
    return _slots(USAGE, attributes_of)


def aliases(slots: Slots) -> dict[str, Slot]:
    """The same slots as aliases: they fill only what no better attribute fills."""
    return {attribute: (group, name, False) for attribute, (group, name, _) in slots.items()}


def _slots(group: int, attributes_of: Mapping[str, str | tuple[str, ...]]) -> dict[str, Slot]:
    found: dict[str, Slot] = {}
    for name, given in attributes_of.items():
        names = (given,) if isinstance(given, str) else given
        for place, attribute in enumerate(names):
            found[attribute] = (group, name, place == 0)
    return found
