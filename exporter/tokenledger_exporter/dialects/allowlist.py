"""Which span attributes may enter the spool: those a dialect reads, and only counts from JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import USAGE
from tokenledger_exporter.dialects.emitters.openinference import id_only
from tokenledger_exporter.dialects.registry import DIALECTS
from tokenledger_exporter.dialects.usage_json import numbers_text, plain_values, usage_text
from tokenledger_semconv import attributes, emitters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REDUCED: Final[Mapping[str, Callable[[str], str]]] = {
    **{
        attribute: usage_text
        for dialect in DIALECTS
        for attribute, (group, _, _) in dialect.fields.items()
        if group == USAGE
    },
    emitters.OI_METADATA: plain_values,
    emitters.OI_OUTPUT_VALUE: id_only,
    emitters.LANGSMITH_INPUT_DETAILS: numbers_text,
    emitters.LANGSMITH_OUTPUT_DETAILS: numbers_text,
}
"""Attribute -> function that returns the allowed part of its text; "" if none is allowed."""

ALLOWED_ATTRIBUTES: Final = frozenset(
    {
        value
        for name, value in vars(attributes).items()
        if name.isupper() and isinstance(value, str) and not value.endswith(".")
    }
    | {attribute for dialect in DIALECTS for attribute in dialect.fields}
) - frozenset(REDUCED)
"""Every attribute of the contract and of a dialect; no other attribute enters the spool."""

ALLOWED_PREFIXES: Final = tuple(
    {prefix for dialect in DIALECTS for prefix in dialect.metadata_prefixes}
)
"""Prefixes of other emitters' attributes that hold metadata."""

MARKS: Final = frozenset(
    {
        attributes.OPERATION_NAME,
        attributes.PROVIDER_NAME,
        attributes.PROVIDER_NAME_UNTIL_1_36,
        *(dialect.marker for dialect in DIALECTS if dialect.marker),
    }
)
"""Every span of a model call has at least one of these attributes."""
