"""Logfire (5.4.0): the conventions and, in addition, the provider's usage object.

Logfire reports a stream with two spans: one for the request, which has no attributes of an answer,
and one with the usage, created when the stream ends. The first gives no row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import Dialect, usage
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import attributes, emitters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.domain.span_record import AttributeValue

_ANSWER_ATTRIBUTES: Final = frozenset(
    {
        *(attributes.RESPONSE_ID, attributes.FINISH_REASONS),
        *(attributes.INPUT_TOKENS, attributes.OUTPUT_TOKENS, emitters.LOGFIRE_USAGE),
    }
)


def _is_a_streams_request(span_attributes: Mapping[str, AttributeValue], failed: bool) -> bool:
    return not failed and _ANSWER_ATTRIBUTES.isdisjoint(span_attributes)


LOGFIRE: Final = Dialect(
    name="Logfire",
    scopes=("logfire.",),
    fields={**SHARED, **usage(provider=emitters.LOGFIRE_USAGE)},
    is_repeat=_is_a_streams_request,
)
