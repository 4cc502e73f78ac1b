"""Attribution of a call, from the span itself down to the sender's resource.

The first source that names a dimension counts: the span, the spans above it, the ledger's defaults
(an app's own `configure()`), the resource (`OTEL_RESOURCE_ATTRIBUTES`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import COLUMN
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import attributes, dimensions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.dialects.dialect import Dialect, RawFields
    from tokenledger_exporter.domain.span_record import AttributeValue, SpanRecord, SpoolHeader

_EMPTY: Final = {dimension.column: "" for dimension in dimensions.DIMENSIONS if dimension.attribute}
_COLUMN_OF: Final = {
    attribute: name for attribute, (group, name, _) in SHARED.items() if group == COLUMN
}

# Keys of other emitters' metadata that fill a column of the ledger.
_COLUMN_OF_KEY: Final = {
    **{key: dimension.column for dimension in dimensions.DIMENSIONS for key in dimension.keys},
    **dict.fromkeys(("userId", "user"), "user_id"),
    **dict.fromkeys(("sessionId", "thread_id", "threadId", "conversation_id"), "session_id"),
}


def attribution_columns(
    span_columns: Mapping[str, str],
    metadata: dict[str, str],
    record: SpanRecord,
    header: SpoolHeader,
) -> dict[str, str]:
    """The attribution columns of a call.

    Args:
        span_columns: columns that the span fills.
        metadata: the span's metadata; that of the other sources is added.
        record: the spans above, and the resource.
        header: defaults of the ledger.
    """
    columns = _EMPTY.copy()
    for column, text in span_columns.items():
        if not text.isspace():
            columns[column] = text[: dimensions.MAX_VALUE_LENGTH]
    for source in (record.inherited, header.defaults, record.resource):
        for attribute, value in source.items() if source else ():
            known = _COLUMN_OF.get(attribute)
            if known is not None:
                columns[known] = columns[known] or value[: dimensions.MAX_VALUE_LENGTH]
            elif attribute.startswith(attributes.METADATA_PREFIX):
                metadata.setdefault(attribute[len(attributes.METADATA_PREFIX) :], value)
    columns["organization_id"] = header.organization or columns["organization_id"]
    columns["app_name"] = header.app_name or columns["app_name"]
    columns["environment"] = header.environment or columns["environment"]
    return columns


def add_metadata(raw: RawFields, dialect: Dialect, attribute: str, value: AttributeValue) -> None:
    """Add an attribute that the dialect's table lacks, if it is metadata of the app."""
    if attribute.startswith(attributes.METADATA_PREFIX):
        raw.metadata[attribute[len(attributes.METADATA_PREFIX) :]] = value
        return
    for prefix in dialect.metadata_prefixes:
        key = attribute[len(prefix) :][: dimensions.MAX_VALUE_LENGTH]
        if key and attribute.startswith(prefix) and not key.startswith(dialect.ignored_keys):
            add_key(raw, key, _unquoted(value)[: dimensions.MAX_VALUE_LENGTH])


def add_key(raw: RawFields, key: str, text: str) -> None:
    """Add a metadata key to its column if the ledger has one, otherwise to the metadata."""
    column = _COLUMN_OF_KEY.get(key)
    if column is None:
        raw.metadata[key] = text
    elif text:
        raw.columns.setdefault(column, text)


def metadata_text(value: AttributeValue) -> str:
    """A metadata value as text."""
    if isinstance(value, list):
        return ", ".join(value)[: dimensions.MAX_VALUE_LENGTH]
    return value if isinstance(value, str) else str(value)


def _unquoted(value: AttributeValue) -> str:
    """A value's text; Langfuse writes strings as JSON."""
    text = value if isinstance(value, str) else str(value)
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            decoded: object = json.loads(text)
        except (ValueError, RecursionError):
            return text
        return decoded if isinstance(decoded, str) else text
    return text
