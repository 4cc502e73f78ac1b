"""Whose a span is: its scope and what is kept of its resource, read once and kept encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from tokenledger_semconv import attributes, dimensions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

_KEPT_RESOURCE: Final = (
    attributes.SERVICE_NAME,
    attributes.SERVICE_VERSION,
    attributes.DEPLOYMENT_ENVIRONMENT,
    attributes.DEPLOYMENT_ENVIRONMENT_UNTIL_1_26,
)
_UNNAMED_SERVICE: Final = "unknown_service"
# A process has few of both; an app that makes them anew for each request must not fill memory.
_MAX_ORIGINS: Final = 1_024
_ENCODER: Final = msgspec.msgpack.Encoder()


class Origin(NamedTuple):
    """Whose a span is, read once: its scope's name, and the kept attributes of both, encoded.

    Args:
        resource: the span's.
        scope: the span's.
        name: of the scope.
        kept: of both.
        is_ours: whether our own instrumentation made it.
    """

    resource: Resource
    scope: InstrumentationScope | None
    name: str
    kept: msgspec.Raw
    is_ours: bool


KNOWN_ORIGINS: Final[dict[int, Origin]] = {}
"""Those read so far, by the place of the scope in memory, which may become another's: what is found
is right only where its scope and its resource are the span's own."""


def origin_of(resource: Resource, scope: InstrumentationScope | None) -> Origin:
    """Whose a span of that resource and scope is."""
    origin = KNOWN_ORIGINS.get(id(scope))
    if origin is None or origin.resource is not resource or origin.scope is not scope:
        origin = _read(resource, scope)
    return origin


def _read(resource: Resource, scope: InstrumentationScope | None) -> Origin:
    kept = kept_resource(resource.attributes, (scope.attributes or {}) if scope else {})
    if len(KNOWN_ORIGINS) >= _MAX_ORIGINS:
        KNOWN_ORIGINS.clear()
    name = encodable(scope.name) if scope else ""
    is_ours = name.startswith(attributes.SCOPE_PREFIX)
    found = Origin(resource, scope, name, msgspec.Raw(_ENCODER.encode(kept)), is_ours)
    KNOWN_ORIGINS[id(scope)] = found
    return found


def kept_resource(found: Mapping[str, object], scope: Mapping[str, object]) -> dict[str, str]:
    """What is kept of the attributes of a span's resource and of its scope."""
    kept = {
        key: encodable(str(found[key])[: dimensions.MAX_VALUE_LENGTH])
        for key in _KEPT_RESOURCE
        if key in found
    }
    if kept.get(attributes.SERVICE_NAME, "").startswith(_UNNAMED_SERVICE):
        del kept[attributes.SERVICE_NAME]
    if version := scope.get(attributes.SDK_VERSION):
        kept[attributes.SDK_VERSION] = encodable(str(version)[: dimensions.MAX_VALUE_LENGTH])
    return kept


def encodable(text: str) -> str:
    """Text without lone surrogates, which an environment that is no UTF-8 brings in."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
