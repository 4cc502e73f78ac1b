"""Whether a provider's own limits would cut what our spans say: decided once a provider.

The app sets them for what its backend takes (`OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`,
`OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`, `SpanLimits`); money must not fall to them.
"""

from __future__ import annotations

from typing import Final

# The SDK's default, which a call with 64 keys of metadata stays below.
_ENOUGH_ATTRIBUTES: Final = 128
# The longest text that is kept of a span: a provider's whole usage object.
_ENOUGH_CHARACTERS: Final = 65_536


def may_cut(provider: object) -> bool:
    """Whether spans of a provider may lose attributes, or the ends of their values.

    Read where opentelemetry-sdk 1.40 to 1.45.2 keeps the limits (2026-11-28); a provider that has
    none there is taken to cut.
    """
    limits = getattr(provider, "_span_limits", None)
    return _is_below(limits, "max_span_attributes", _ENOUGH_ATTRIBUTES) or _is_below(
        limits, "max_span_attribute_length", _ENOUGH_CHARACTERS
    )


def _is_below(limits: object, name: str, enough: int) -> bool:
    limit = getattr(limits, name, 0)
    return limit is not None and limit < enough
