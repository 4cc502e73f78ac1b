"""Distinguishes baggage that this process set from baggage that arrived with a request.

Anyone on the network can send `baggage: user.id=...`. When a propagator extracts members, they are
noted under a private context key. They count as attribution only if `TOKENLEDGER_TRUST_BAGGAGE`
names their key. This holds for every propagator: those of Jaeger and OpenTracing have baggage
headers of their own.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry import baggage, context

from tokenledger._attribution.layers import NOTHING, clean
from tokenledger._guard import Guard
from tokenledger_semconv.attributes import METADATA_PREFIX
from tokenledger_semconv.dimensions import ATTRIBUTION_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.context import Context

    from tokenledger._attribution.layers import Layer

TRUST_VARIABLE: Final = "TOKENLEDGER_TRUST_BAGGAGE"
"""Comma list of baggage keys, attribution keywords and `metadata.<key>` to trust from outside; `*`
trusts all."""

_PROPAGATION: Final = "opentelemetry.baggage.propagation"
# It calls all propagators that an app names in `OTEL_PROPAGATORS`, including unknown ones.
_COMPOSITE: Final = "opentelemetry.propagators.composite"
_MAX_QUOTE: Final = 64
# How reports spell a key of metadata.
_METADATA: Final = "metadata."
_REMOTE: Final = context.create_key("tokenledger-remote-baggage")
_ATTRIBUTES: Final = frozenset(ATTRIBUTION_KEYS.values())


def split_baggage(
    current: Context, members: Mapping[str, object], scoped: Layer
) -> tuple[Layer, Layer]:
    """The attribution in baggage, as (set by this process, trusted from outside).

    Args:
        current: the context of the call.
        members: its baggage.
        scoped: what `attribution` set there. A remote member with the same value stays remote.
    """
    if not members:
        return NOTHING, NOTHING
    remote = _remote(current)
    local: dict[str, str] = {}
    trusted: dict[str, str] = {}
    for name, value in members.items():
        if not _is_attribution(name):
            continue
        if name not in remote or remote[name] != value:
            local[name] = clean(value)
        elif name not in scoped and _is_trusted(name):
            trusted[name] = clean(value)
    return local, trusted


def without_untrusted(current: Context) -> Context:
    """A context whose baggage lacks untrusted attribution from outside.

    The rest travels on to the services we call: other members of the app's are not touched.
    """
    for name, value in _remote(current).items():
        is_unchanged = baggage.get_baggage(name, current) == value
        if is_unchanged and _is_attribution(name) and not _is_trusted(name):
            current = baggage.remove_baggage(name, current)
    return current


def _remote(current: Context) -> Mapping[str, object]:
    return cast("Mapping[str, object]", context.get_value(_REMOTE, current) or NOTHING)


def _is_attribution(name: str) -> bool:
    return name in _ATTRIBUTES or name.startswith(METADATA_PREFIX)


def _is_trusted(name: str) -> bool:
    trusted = _trusted_names(os.environ.get(TRUST_VARIABLE, ""))
    return "*" in trusted or name in trusted


@functools.lru_cache(maxsize=8)
def _trusted_names(text: str) -> frozenset[str]:
    return frozenset(_key_of(name.strip()) for name in text.split(","))


def _key_of(name: str) -> str:
    if name.startswith(_METADATA):
        return METADATA_PREFIX + name.removeprefix(_METADATA)
    return ATTRIBUTION_KEYS.get(name, name)


@functools.cache
def note_remote_baggage() -> None:
    """Wrap every propagator's `extract`, once per process, and shorten the log lines of W3C's.

    This stays in effect for the life of the process: a request may still be handled long after an
    instrumentor was removed.
    """
    logging.getLogger(_PROPAGATION).addFilter(_shorten)
    wrapt: Any = importlib.import_module("wrapt")
    # Loaded before the search below: an app may use only these two, and load them later.
    for module in (_PROPAGATION, _COMPOSITE):
        importlib.import_module(module)
    textmap: Any = importlib.import_module("opentelemetry.propagators.textmap")
    for propagator in _subclasses(textmap.TextMapPropagator):
        if "extract" in vars(propagator):
            wrapt.wrap_function_wrapper(propagator, "extract", _extract)


def _subclasses(kind: type) -> Iterator[type]:
    subclass: type
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _shorten(record: logging.LogRecord) -> bool:
    """Cut long texts in a log line: the propagator quotes the whole header that it rejects."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            f"{value[:_MAX_QUOTE]}..."
            if isinstance(value, str) and len(value) > _MAX_QUOTE
            else value
            for value in record.args
        )
    return True


def _extract(
    wrapped: Callable[..., Context],
    _instance: object,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Context:
    before = kwargs.get("context") or (args[1] if len(args) > 1 else None)
    extracted = wrapped(*args, **kwargs)
    with Guard("noting remote baggage"):
        return _with_remote(baggage.get_all(before), extracted)
    return extracted


def _with_remote(before: Mapping[str, object], extracted: Context) -> Context:
    arrived = {
        name: value
        for name, value in baggage.get_all(extracted).items()
        if before.get(name) != value
    }
    if not arrived:
        return extracted
    return context.set_value(_REMOTE, {**_remote(extracted), **arrived}, extracted)
