"""The short way to what a span tells: by the places its attributes stand at.

Spans of one emitter have the same attributes in the same order, call after call. Where each goes is
looked up once for such a list of names, and after that the values are picked by their places.
Whatever is out of the ordinary is left to the walk (`reading`), which finds the same for any span.
"""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenledger_exporter.dialects.dialect import (
    COLUMN,
    COUNT,
    DETAIL,
    OTHERS,
    TEXTS,
    VALUE,
    SpanFacts,
)
from tokenledger_semconv import attributes
from tokenledger_semconv.tokens import MAX_COUNT, TokenVector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tokenledger_exporter.dialects.dialect import Dialect
    from tokenledger_exporter.domain.span_record import AttributeValue

    Picks = Callable[[Sequence[Any]], tuple[Any, ...]]
    Places = tuple[tuple[str, int], ...]

_MAX_PLANS: Final = 1_024
_INTEGERS: Final = frozenset((int,))

# What stands behind a span's own values, for what it does not tell: a text, and anything else.
_NO_TEXT, _NOTHING = -2, -1
_METADATA: Final = -1


class _Plan(msgspec.Struct, frozen=True, gc=False):
    """Where the values of a list of attributes go.

    Args:
        texts: picks the facts that are texts, then the dimensions, then the metadata.
        columns: the dimensions, each with its place.
        metadata: the keys, in the same way.
        counts: picks every count that is told.
        vector: picks the token vector.
        others: picks the other facts.
        settings: picks the details.
        details: their names, each with its place.
    """

    texts: Picks
    columns: Places
    metadata: Places
    counts: Picks
    vector: Picks
    others: Picks
    settings: Picks
    details: Places


def told_plainly(dialect: Dialect, found: Mapping[str, AttributeValue]) -> SpanFacts | None:
    """What a span tells; `None` if only the walk can say."""
    plan = _plan(dialect, tuple(found))
    if plan is None:
        return None
    values: tuple[Any, ...] = (*found.values(), "", None)
    texts, counts, settings = plan.texts(values), plan.counts(values), plan.settings(values)
    try:
        # Only of texts alone can one be made.
        "".join(texts)
    except TypeError:
        return None
    are_counts = _INTEGERS.issuperset(map(type, counts))
    if not are_counts or min(counts) < 0 or sum(counts) > MAX_COUNT or "" in settings:
        return None
    return SpanFacts(
        TokenVector._make(plan.vector(values)),
        True,
        texts[: len(TEXTS)],
        plan.others(values),
        {column: values[place] for column, place in plan.columns},
        {attribute: values[place] for attribute, place in plan.details},
        {key: values[place] for key, place in plan.metadata},
    )


@lru_cache(maxsize=_MAX_PLANS)
def _plan(dialect: Dialect, names: tuple[str, ...]) -> _Plan | None:
    """The plan for spans with these attributes; `None` if each has to be walked."""
    groups: dict[int, dict[str, int]] = {group: {} for group in range(_METADATA, DETAIL + 1)}
    for place, attribute in enumerate(names):
        slot = dialect.slots.get(attribute)
        if slot is not None:
            group, name, _ = slot
        elif attribute.startswith(attributes.METADATA_PREFIX):
            group, name = _METADATA, attribute[len(attributes.METADATA_PREFIX) :]
        elif attribute.startswith(dialect.prefixes):
            return None
        else:
            continue
        # Two names of one field: which of them holds depends on their values.
        if group not in groups or name in groups[group]:
            return None
        groups[group][name] = place
    counts, facts = groups[COUNT], groups[VALUE]
    if dialect.mend is not None or not _are_whole(counts):
        return None
    texts = [facts.get(name, _NO_TEXT) for name in TEXTS]
    return _Plan(
        texts=_picks([*texts, *groups[COLUMN].values(), *groups[_METADATA].values()]),
        columns=tuple(groups[COLUMN].items()),
        metadata=tuple(groups[_METADATA].items()),
        counts=_picks(counts.values()),
        vector=_picks(counts.get(name, _NOTHING) for name in TokenVector._fields),
        others=_picks(facts.get(name, _NOTHING) for name in OTHERS),
        settings=_picks(groups[DETAIL].values()),
        details=tuple(groups[DETAIL].items()),
    )


def _are_whole(counts: Mapping[str, int]) -> bool:
    """Whether there are counts, and none that follows from others."""
    if "cache_write_5m_tokens" in counts and "cache_write_tokens" not in counts:
        return False
    if counts.keys() & {"cached_audio_tokens", "cached_image_tokens"}:
        return "cached_tokens" in counts
    return bool(counts)


def _picks(places: Iterable[int]) -> Picks:
    """What gives the values at these places, as a tuple, however few they are."""
    wanted = list(places)
    if len(wanted) > 1:
        return itemgetter(*wanted)
    return lambda values: tuple(values[place] for place in wanted)
