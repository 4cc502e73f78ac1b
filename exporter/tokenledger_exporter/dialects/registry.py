"""Finds the dialect of a span by its instrumentation scope, or else by a marker attribute."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.emitters.google_adk import GOOGLE_ADK
from tokenledger_exporter.dialects.emitters.langfuse import LANGFUSE
from tokenledger_exporter.dialects.emitters.langsmith import LANGSMITH
from tokenledger_exporter.dialects.emitters.litellm import LITELLM
from tokenledger_exporter.dialects.emitters.logfire import LOGFIRE
from tokenledger_exporter.dialects.emitters.mistral_sdk import MISTRAL_SDK
from tokenledger_exporter.dialects.emitters.openinference import OPENINFERENCE
from tokenledger_exporter.dialects.emitters.openlit import OPENLIT
from tokenledger_exporter.dialects.emitters.openllmetry import OPENLLMETRY, OPENLLMETRY_GEMINI
from tokenledger_exporter.dialects.emitters.pydantic_ai import PYDANTIC_AI
from tokenledger_exporter.dialects.emitters.strands import STRANDS
from tokenledger_exporter.dialects.emitters.vercel_ai import VERCEL_AI, VERCEL_OTEL
from tokenledger_exporter.dialects.otel_genai import ANTHROPIC_SDK, CONVENTIONS, OURS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.dialects.dialect import Dialect
    from tokenledger_exporter.domain.span_record import AttributeValue

DIALECTS: Final = (
    *(OURS, CONVENTIONS, ANTHROPIC_SDK, OPENLLMETRY, OPENLLMETRY_GEMINI, OPENINFERENCE, OPENLIT),
    *(VERCEL_AI, VERCEL_OTEL, LANGFUSE, LOGFIRE, PYDANTIC_AI, LITELLM, STRANDS, GOOGLE_ADK),
    *(LANGSMITH, MISTRAL_SDK),
)
"""Every dialect the ledger reads."""

_MARKED: Final = tuple(dialect for dialect in DIALECTS if dialect.marker)


def dialect_of(scope: str, span_attributes: Mapping[str, AttributeValue]) -> tuple[Dialect, bool]:
    """The dialect of a span, and whether its input excludes cache reads and writes."""
    known = _by_scope(scope)
    if known is not None:
        return known
    for dialect in _MARKED:
        if dialect.marker in span_attributes:
            return dialect, False
    return CONVENTIONS, False


@lru_cache(maxsize=1_024)
def _by_scope(scope: str) -> tuple[Dialect, bool] | None:
    for dialect in DIALECTS:
        if _is_among(scope, dialect.scopes):
            return dialect, _is_among(scope, dialect.exclusive)
    return None


def _is_among(scope: str, names: tuple[str, ...]) -> bool:
    """Whether a scope equals one of the names or is below it; a name may end in `.` or `-`."""
    return any(
        scope == name or scope.startswith(name if name.endswith((".", "-")) else f"{name}.")
        for name in names
    )
