"""The source of a span: its scope and resource attributes, read and encoded once per scope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from tokenledger_semconv import attributes, dimensions
from tokenledger_semconv.bounded_cache import BoundedCache

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

# Resource attribute -> the name it is recorded under; the first one that is set counts.
_RESOURCE_ATTRIBUTES: Final = {
    attributes.SERVICE_NAME: attributes.SERVICE_NAME,
    attributes.SERVICE_VERSION: attributes.SERVICE_VERSION,
    attributes.DEPLOYMENT_ENVIRONMENT: attributes.DEPLOYMENT_ENVIRONMENT,
    attributes.DEPLOYMENT_ENVIRONMENT_UNTIL_1_26: attributes.DEPLOYMENT_ENVIRONMENT,
    **dimensions.RESOURCE_ATTRIBUTES,
}
_UNNAMED_SERVICE: Final = "unknown_service"
# A process has few; an app that creates new ones for each request must not fill memory.
_MAX_SOURCES: Final = 1_024
_ENCODER: Final = msgspec.msgpack.Encoder()


class SpanSource(NamedTuple):
    """The source of a span, read once.

    Args:
        resource: the span's resource.
        scope: the span's instrumentation scope.
        name: the scope's name.
        encoded_attributes: the recorded attributes of resource and scope, as msgpack.
        is_ours: whether our own instrumentation made the span.
    """

    resource: Resource
    scope: InstrumentationScope | None
    name: str
    encoded_attributes: msgspec.Raw
    is_ours: bool


KNOWN_SOURCES: Final[BoundedCache[int, SpanSource]] = BoundedCache(_MAX_SOURCES)
"""Sources read so far, by the `id()` of the scope. An id may be reused, so an entry is valid only
if its scope and resource are the span's own."""


def source_of(resource: Resource, scope: InstrumentationScope | None) -> SpanSource:
    """The source of a span with this resource and scope."""
    source = KNOWN_SOURCES.get(id(scope))
    if source is None or source.resource is not resource or source.scope is not scope:
        source = _read(resource, scope)
    return source


def _read(resource: Resource, scope: InstrumentationScope | None) -> SpanSource:
    recorded = resource_attributes(resource.attributes, (scope.attributes or {}) if scope else {})
    name = encodable(scope.name) if scope else ""
    is_ours = name.startswith(attributes.SCOPE_PREFIX)
    source = SpanSource(resource, scope, name, msgspec.Raw(_ENCODER.encode(recorded)), is_ours)
    KNOWN_SOURCES[id(scope)] = source
    return source


def resource_attributes(
    resource: Mapping[str, object], scope: Mapping[str, object]
) -> dict[str, str]:
    """The attributes of a span's resource and scope that are recorded."""
    recorded: dict[str, str] = {}
    for key, name in _RESOURCE_ATTRIBUTES.items():
        if key in resource and name not in recorded and (text := _short(resource[key])):
            recorded[name] = text
    if recorded.get(attributes.SERVICE_NAME, "").startswith(_UNNAMED_SERVICE):
        del recorded[attributes.SERVICE_NAME]
    if version := scope.get(attributes.SDK_VERSION):
        recorded[attributes.SDK_VERSION] = _short(version)
    metadata = [key for key in resource if key.startswith(attributes.METADATA_PREFIX)]
    for key in metadata[: dimensions.MAX_METADATA_KEYS]:
        recorded[encodable(key)] = _short(resource[key])
    return recorded


def _short(value: object) -> str:
    return encodable(str(value)[: dimensions.MAX_VALUE_LENGTH])


def encodable(text: str) -> str:
    """Text without lone surrogates, which come from an environment that is not UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
