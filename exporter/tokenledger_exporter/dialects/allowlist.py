"""What of a span may enter the spool: what some dialect reads, and of JSON its counts alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import USAGE
from tokenledger_exporter.dialects.emitters.openinference import id_alone
from tokenledger_exporter.dialects.registry import DIALECTS
from tokenledger_exporter.dialects.usage_json import details, plain_values, reduced
from tokenledger_semconv import attributes, emitters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REDUCED: Final[Mapping[str, Callable[[str], str]]] = {
    **{
        attribute: reduced
        for dialect in DIALECTS
        for attribute, (group, _, _) in dialect.slots.items()
        if group == USAGE
    },
    emitters.OI_METADATA: plain_values,
    emitters.OI_OUTPUT_VALUE: id_alone,
    emitters.LANGSMITH_INPUT_DETAILS: details,
    emitters.LANGSMITH_OUTPUT_DETAILS: details,
}
"""Attribute -> what is kept of its text; "" keeps nothing."""

ALLOWED_ATTRIBUTES: Final = frozenset(
    {
        value
        for name, value in vars(attributes).items()
        if name.isupper() and isinstance(value, str) and not value.endswith(".")
    }
    | {attribute for dialect in DIALECTS for attribute in dialect.slots}
) - frozenset(REDUCED)
"""Every attribute of the contract and of a dialect; all else on a span stays out of the spool."""

ALLOWED_PREFIXES: Final = tuple({prefix for dialect in DIALECTS for prefix in dialect.prefixes})
"""How other emitters' attributes begin that attribute by further keys."""

MARKS: Final = frozenset(
    {
        attributes.OPERATION_NAME,
        attributes.PROVIDER_NAME,
        attributes.PROVIDER_NAME_UNTIL_1_36,
        *(dialect.mark for dialect in DIALECTS if dialect.mark),
    }
)
"""Attributes of which every model call has one."""
