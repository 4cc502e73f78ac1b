"""Putting what an answer said on a call's span, once, as OpenTelemetry would have it.

The SDK looks at every value it is given and takes a lock for each: for the dozen attributes an
answer brings, that costs as much as the whole span. Ours are plain already, so where a span keeps
its attributes in the way we have seen its class keep them, they are put there at once. Any other
span, and any class whose `set_attributes` is no longer the one that was looked at, is asked by
`set_attributes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tokenledger.reading import Found

# Class of spans -> its `set_attributes` where that was seen to keep what it is given as it is,
# `None` where it was not.
_KNOWN: Final[dict[type, object]] = {}
_SDK: Final = "opentelemetry.sdk.trace"


def put(span: Any, found: Found) -> None:  # noqa: ANN401 - any release's span, or an app's own
    """Set attributes whose values are text, numbers, or tuples of text."""
    kind = span.__class__
    try:
        if _KNOWN[kind] is kind.set_attributes:
            held = span._attributes  # noqa: SLF001
            room, kept = held.maxlen, held._dict  # noqa: SLF001
            # Full, cut to a length, or ended: the SDK knows what to do then, and what to say.
            if (
                (room is None or len(kept) + len(found) <= room)
                and held.max_value_len is None
                and not held._immutable  # noqa: SLF001
            ):
                kept.update(found)
                return
    except (AttributeError, KeyError):
        pass
    span.set_attributes(found)
    if found and kind not in _KNOWN:
        _get_to_know(span, kind, found)


def _get_to_know(span: Any, kind: Any, found: Found) -> None:  # noqa: ANN401 - any release's
    """Note whether the SDK's own `set_attributes` did nothing but what `put` would have done."""
    _KNOWN[kind] = None
    kept: Any
    try:
        held = span._attributes  # noqa: SLF001
        kept, room, longest = held._dict, held.maxlen, held.max_value_len  # noqa: SLF001
        is_open = held._immutable is False  # noqa: SLF001
        is_cut = longest is not None or (room is not None and len(kept) >= room)
    except (AttributeError, TypeError):
        return
    if is_cut:
        # It may have cut what it was given: another span of this class will tell.
        del _KNOWN[kind]
    elif (
        kind.set_attributes.__module__ == _SDK
        and kept.__class__ is dict
        and is_open
        and all(_is_same(kept.get(name), found[name]) for name in found)
    ):
        _KNOWN[kind] = kind.set_attributes


def _is_same(kept: object, given: object) -> bool:
    return type(kept) is type(given) and kept == given
