"""Whom a call was for: the span's own values, then the app's, then the ledger's defaults."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.dialects.dialect import COLUMN
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import attributes, dimensions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.dialects.dialect import Dialect, Draft
    from tokenledger_exporter.domain.span_record import AttributeValue, SpoolHeader

_EMPTY: Final = {dimension.column: "" for dimension in dimensions.DIMENSIONS if dimension.attribute}
_COLUMN_OF: Final = {
    attribute: (name, wins) for attribute, (group, name, wins) in SHARED.items() if group == COLUMN
}

# Foreign metadata under one of these keys attributes by a column of the ledger.
_COLUMN_OF_KEY: Final = {
    **{key: dimension.column for dimension in dimensions.DIMENSIONS for key in dimension.keys},
    **dict.fromkeys(("userId", "user"), "user_id"),
    **dict.fromkeys(("sessionId", "thread_id", "threadId", "conversation_id"), "session_id"),
}


def attributed(
    told: Mapping[str, str],
    metadata: dict[str, str],
    resource: Mapping[str, str],
    header: SpoolHeader,
) -> dict[str, str]:
    """Columns of a call.

    Args:
        told: the span's own.
        metadata: the span's own; the app's and the ledger's are added.
        resource: the app's.
        header: the ledger's.
    """
    columns = _EMPTY.copy()
    for given in (header.defaults, resource):
        for attribute, value in given.items():
            known = _COLUMN_OF.get(attribute)
            if known is not None:
                if value and (known[1] or not columns[known[0]]):
                    columns[known[0]] = value[: dimensions.MAX_VALUE_LENGTH]
            elif attribute.startswith(attributes.METADATA_PREFIX):
                metadata.setdefault(attribute[len(attributes.METADATA_PREFIX) :], value)
    for column, text in told.items():
        columns[column] = text[: dimensions.MAX_VALUE_LENGTH] or columns[column]
    columns["organization_id"] = header.organization or columns["organization_id"]
    columns["app_name"] = header.app_name or columns["app_name"]
    columns["environment"] = header.environment or columns["environment"]
    return columns


def add_metadata(draft: Draft, dialect: Dialect, attribute: str, value: AttributeValue) -> None:
    """Take in an attribute no table holds, if it attributes by a key of the app."""
    if attribute.startswith(attributes.METADATA_PREFIX):
        draft.metadata[attribute[len(attributes.METADATA_PREFIX) :]] = value
        return
    for prefix in dialect.prefixes:
        key = attribute[len(prefix) :][: dimensions.MAX_VALUE_LENGTH]
        if key and attribute.startswith(prefix) and not key.startswith(dialect.noise):
            keep_key(draft, key, _unquoted(value)[: dimensions.MAX_VALUE_LENGTH])


def keep_key(draft: Draft, key: str, text: str) -> None:
    """A key of the app: to its column where the ledger has one, else to the metadata."""
    column = _COLUMN_OF_KEY.get(key)
    if column is None:
        draft.metadata[key] = text
    elif text:
        draft.columns.setdefault(column, text)


def metadata_text(value: AttributeValue) -> str:
    """A value as metadata keeps it."""
    if isinstance(value, list):
        return ", ".join(value)[: dimensions.MAX_VALUE_LENGTH]
    return value if isinstance(value, str) else str(value)


def _unquoted(value: AttributeValue) -> str:
    """A value's text; Langfuse writes strings as JSON."""
    text = value if isinstance(value, str) else str(value)
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            found: object = json.loads(text)
        except (ValueError, RecursionError):
            return text
        return found if isinstance(found, str) else text
    return text
