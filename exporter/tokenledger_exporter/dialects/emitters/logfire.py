"""Logfire (5.4.0): the conventions, and the provider's usage object beside them.

Logfire tells a stream by two spans: the request's, without any sign of an answer, and one that is
made when the stream ends, with the usage. The first makes no row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import Dialect, usage
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import attributes, emitters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.domain.span_record import AttributeValue

_SIGNS_OF_AN_ANSWER: Final = frozenset(
    {
        *(attributes.RESPONSE_ID, attributes.FINISH_REASONS),
        *(attributes.INPUT_TOKENS, attributes.OUTPUT_TOKENS, emitters.LOGFIRE_USAGE),
    }
)


def _is_a_streams_request(found: Mapping[str, AttributeValue], failed: bool) -> bool:
    return not failed and _SIGNS_OF_AN_ANSWER.isdisjoint(found)


LOGFIRE: Final = Dialect(
    name="Logfire",
    scopes=("logfire.",),
    slots={**SHARED, **usage(provider=emitters.LOGFIRE_USAGE)},
    is_told_twice=_is_a_streams_request,
)
