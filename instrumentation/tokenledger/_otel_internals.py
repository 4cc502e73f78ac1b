"""Shortcuts past OpenTelemetry's public functions, each with a self-check and a fallback.

A call pays for every step, and the public functions cost as much as the rest of recording it. Each
shortcut is checked against the public function. Where a release of OpenTelemetry works differently,
the public function is used instead, which is slower but correct.
"""

from __future__ import annotations

from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import baggage, trace
from opentelemetry.context.context import Context
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

SUPPRESSED: Final = "suppress_instrumentation"
"""The context key by which OpenTelemetry's own instrumentations are switched off."""


def _key_of_baggage() -> str:
    """The context key of the baggage; "" if contexts are not the dictionaries we know."""
    try:
        key = next(iter(baggage.set_baggage("name", "value", Context())))
        is_known = dict(baggage.get_all(Context({key: {"name": "other"}}))) == {"name": "other"}
    except Exception:  # noqa: BLE001 - another release: the public functions are used
        return ""
    return key if is_known else ""


def _key_of_span() -> str:
    """The context key of the current span; "" if contexts are not the dictionaries we know."""
    # Not the invalid span itself, which any context without a span would return.
    span = NonRecordingSpan(INVALID_SPAN.get_span_context())
    try:
        key = next(iter(trace.set_span_in_context(span, Context())))
        is_known = trace.get_current_span(Context({key: span})) is span
    except Exception:  # noqa: BLE001 - another release: the public functions are used
        return ""
    return key if is_known else ""


_BAGGAGE_KEY: Final = _key_of_baggage()

SPAN_KEY: Final = _key_of_span()
"""The context key of the span; "" if unknown: use `with_span`."""


def _baggage_in(current: Context) -> Mapping[str, object] | None:
    return baggage.get_all(current) or None


baggage_in: Final[Callable[[Context], Mapping[str, object] | None]] = (
    methodcaller("get", _BAGGAGE_KEY) if _BAGGAGE_KEY else _baggage_in
)
"""The baggage of a context; `None` if it has none."""


def with_span(current: Context, span: Span) -> Context:
    """A context with another span."""
    if SPAN_KEY:
        return Context(current, **{SPAN_KEY: span})
    return trace.set_span_in_context(span, current)


def without_baggage(current: Context) -> Context:
    """A context without its baggage."""
    if _BAGGAGE_KEY:
        members = dict(current)
        members.pop(_BAGGAGE_KEY, None)
        return Context(members)
    return baggage.clear(current)


# Class of spans -> its `set_attributes`, if that was seen to store values unchanged; else `None`.
_CHECKED: Final[dict[type, object]] = {}
_SDK: Final = "opentelemetry.sdk.trace"


def set_attributes(span: Any, attributes: Mapping[str, AttributeValue]) -> None:  # noqa: ANN401 - any release's span
    """Set a span's attributes: text, numbers, or tuples of text.

    The SDK checks every value and takes a lock for each, which for a dozen attributes costs as much
    as the whole span. Ours need no check, so they are stored directly in a span whose class was
    seen to store them that way. Any other span gets them by its own `set_attributes`.
    """
    kind = span.__class__
    try:
        if _CHECKED[kind] is kind.set_attributes:
            bounded = span._attributes  # noqa: SLF001
            limit, stored = bounded.maxlen, bounded._dict  # noqa: SLF001
            # The SDK itself handles a span that is full, that cuts values, or that has ended.
            if (
                (limit is None or len(stored) + len(attributes) <= limit)
                and bounded.max_value_len is None
                and not bounded._immutable  # noqa: SLF001
            ):
                stored.update(attributes)
                return
    except (AttributeError, KeyError):
        pass
    span.set_attributes(attributes)
    if attributes and kind not in _CHECKED:
        _check(span, kind, attributes)


def _check(span: Any, kind: Any, attributes: Mapping[str, AttributeValue]) -> None:  # noqa: ANN401 - any release's
    """Note whether the SDK's `set_attributes` did exactly what `set_attributes` above would do."""
    _CHECKED[kind] = None
    stored: Any
    try:
        bounded = span._attributes  # noqa: SLF001
        stored, limit = bounded._dict, bounded.maxlen  # noqa: SLF001
        is_open = bounded._immutable is False  # noqa: SLF001
        may_cut = bounded.max_value_len is not None or (limit is not None and len(stored) >= limit)
    except (AttributeError, TypeError):
        return
    if may_cut:
        # This span may have cut a value; another span of its class will decide.
        del _CHECKED[kind]
    elif (
        kind.set_attributes.__module__ == _SDK
        and stored.__class__ is dict
        and is_open
        and all(_is_same(stored.get(name), attributes[name]) for name in attributes)
    ):
        _CHECKED[kind] = kind.set_attributes


def _is_same(stored: object, value: object) -> bool:
    return type(stored) is type(value) and stored == value
