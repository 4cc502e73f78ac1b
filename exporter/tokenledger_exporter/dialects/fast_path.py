"""Reads plain spans quickly, by the positions of their attributes.

Spans of one emitter have the same attributes in the same order. The fields of such a list of names
are looked up once; after that, values are picked by position. All other spans are read attribute by
attribute (`read`), with the same result.
"""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenledger_exporter.dialects.dialect import (
    COLUMN,
    COST_AMOUNT,
    COUNT,
    DETAIL,
    OTHERS,
    TEXTS,
    VALUE,
    SpanFields,
)
from tokenledger_semconv import attributes
from tokenledger_semconv.tokens import MAX_COUNT, TokenVector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tokenledger_exporter.dialects.dialect import Dialect
    from tokenledger_exporter.domain.span_record import AttributeValue

    Picker = Callable[[Sequence[Any]], tuple[Any, ...]]
    Positions = tuple[tuple[str, int], ...]

_MAX_PLANS: Final = 1_024
_INTEGERS: Final = frozenset((int,))

# Positions of the defaults that are appended to a span's values: for text, and for anything else.
_NO_TEXT, _NOTHING = -2, -1
# Group of metadata, which here precedes the groups of `dialect`.
_METADATA: Final = -1


class _Plan(msgspec.Struct, frozen=True, gc=False):
    """How to pick the fields of spans that have a certain list of attributes.

    Args:
        texts: picks the text values, then the dimensions, then the metadata.
        columns: the dimensions with their positions.
        metadata: the metadata keys with their positions.
        counts: picks every count of the span.
        vector: picks the token vector.
        others: picks the values that are not text.
        settings: picks the values of the details.
        details: the names of the details with their positions.
        total: the position of the reported total; negative if there is none.
    """

    texts: Picker
    columns: Positions
    metadata: Positions
    counts: Picker
    vector: Picker
    others: Picker
    settings: Picker
    details: Positions
    total: int


def read_plain(
    dialect: Dialect, span_attributes: Mapping[str, AttributeValue]
) -> SpanFields | None:
    """The fields of a span; `None` if it must be read attribute by attribute."""
    plan = _plan(dialect, tuple(span_attributes))
    if plan is None:
        return None
    values: tuple[Any, ...] = (*span_attributes.values(), "", None)
    texts, counts, settings = plan.texts(values), plan.counts(values), plan.settings(values)
    try:
        # `join` raises TypeError if a value is not text.
        "".join(texts)
    except TypeError:
        return None
    are_counts = _INTEGERS.issuperset(map(type, counts))
    if not are_counts or min(counts) < 0 or sum(counts) > MAX_COUNT or "" in settings:
        return None
    tokens = TokenVector._make(plan.vector(values))
    if plan.total >= 0 and values[plan.total] != tokens.total_tokens:
        return None
    return SpanFields(
        tokens,
        True,
        texts[: len(TEXTS)],
        plan.others(values),
        {column: values[position] for column, position in plan.columns},
        {attribute: values[position] for attribute, position in plan.details},
        {key: values[position] for key, position in plan.metadata},
    )


@lru_cache(maxsize=_MAX_PLANS)
def _plan(dialect: Dialect, names: tuple[str, ...]) -> _Plan | None:
    """The plan for spans with these attributes; `None` if there is none."""
    groups: dict[int, dict[str, int]] = {group: {} for group in range(_METADATA, DETAIL + 1)}
    for position, attribute in enumerate(names):
        field = dialect.fields.get(attribute)
        if field is not None:
            group, name, _ = field
        elif attribute.startswith(attributes.METADATA_PREFIX):
            group, name = _METADATA, attribute[len(attributes.METADATA_PREFIX) :]
        elif attribute.startswith(dialect.metadata_prefixes):
            return None
        else:
            continue
        # Two attributes fill one field: which of them applies depends on their values.
        if group not in groups or name in groups[group]:
            return None
        groups[group][name] = position
    counts, call_values = groups[COUNT], groups[VALUE]
    if dialect.adjust is not None or COST_AMOUNT in call_values or not _are_complete(counts):
        return None
    texts = [call_values.get(name, _NO_TEXT) for name in TEXTS]
    return _Plan(
        texts=_picker([*texts, *groups[COLUMN].values(), *groups[_METADATA].values()]),
        columns=tuple(groups[COLUMN].items()),
        metadata=tuple(groups[_METADATA].items()),
        counts=_picker(counts.values()),
        vector=_picker(counts.get(name, _NOTHING) for name in TokenVector._fields),
        others=_picker(call_values.get(name, _NOTHING) for name in OTHERS),
        settings=_picker(groups[DETAIL].values()),
        details=tuple(groups[DETAIL].items()),
        total=counts.get("total_tokens", _NOTHING),
    )


def _are_complete(counts: Mapping[str, int]) -> bool:
    """Whether there are counts, and none must be computed from others."""
    if "cache_write_5m_tokens" in counts and "cache_write_tokens" not in counts:
        return False
    if "text_output_tokens" in counts and "image_output_tokens" not in counts:
        return False
    if counts.keys() & {"cached_audio_tokens", "cached_image_tokens"}:
        return "cached_tokens" in counts
    return bool(counts)


def _picker(positions: Iterable[int]) -> Picker:
    """A function that returns the values at some positions as a tuple, also for one or none."""
    picked = list(positions)
    if len(picked) > 1:
        return itemgetter(*picked)
    return lambda values: tuple(values[position] for position in picked)
