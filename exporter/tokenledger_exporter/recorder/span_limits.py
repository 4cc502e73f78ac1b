"""Detects a provider whose limits would cut attributes of our spans.

An app sets span limits for its tracing backend (`OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`,
`OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`, `SpanLimits`). They must not change what a call costs.
"""

from __future__ import annotations

from typing import Final

# The SDK's default; a call with 64 metadata keys stays below it.
_ENOUGH_ATTRIBUTES: Final = 128
# The longest text that is recorded: a provider's whole usage object.
_ENOUGH_CHARACTERS: Final = 65_536


def may_cut(provider: object) -> bool:
    """Whether spans of a provider may lose attributes or parts of their values.

    Reads the field in which opentelemetry-sdk 1.40 to 1.45.2 stores the limits (2026-11-28). A
    provider without that field is assumed to cut.
    """
    limits = getattr(provider, "_span_limits", None)
    return _is_below(limits, "max_span_attributes", _ENOUGH_ATTRIBUTES) or _is_below(
        limits, "max_span_attribute_length", _ENOUGH_CHARACTERS
    )


def _is_below(limits: object, name: str, enough: int) -> bool:
    limit = getattr(limits, name, 0)
    return limit is not None and limit < enough
