"""Single calls: the newest of a period, and the one that an id or the start of an id names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from psycopg import sql
from psycopg.rows import dict_row

from tokenledger_exporter.db.dimensions import narrowed
from tokenledger_exporter.db.shown_sql import show
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import psycopg

    from tokenledger_exporter.db.dimensions import Where

_SQL: Final = statements("queries")
_START: Final = re.compile(r"[0-9a-f]{8,32}", re.ASCII)
_HEX: Final = frozenset("0123456789abcdef")
_DIGITS: Final = 32
_MAX_SHOWN: Final = 5

CALL_COLUMNS: Final = (
    *("event_id", "timestamp", "provider", "model", "operation", "user_id", "session_id"),
    *("feature", "team", "input_tokens", "output_tokens", "cached_tokens", "total_tokens"),
    *("cost_usd", "cost_status", "cost_note", "status", "error_type", "duration_ms"),
)
"""What is known of each call, in order."""

FOLLOWED_COLUMNS: Final = (*CALL_COLUMNS, "trace_id", "settled")
"""What is known of a call that may not be checked for duplicates yet."""


def newest_calls(  # noqa: PLR0913, PLR0917 - one argument per part of the statement
    connection: psycopg.Connection[Any],
    since: datetime,
    until: datetime,
    where: Where | None = None,
    limit: int = 20,
    columns: Sequence[str] = CALL_COLUMNS,
) -> list[dict[str, Any]]:
    """The newest calls of a period, newest first, with these columns.

    Raises:
        InvalidRequestError: a dimension is unknown.
    """
    condition, values = narrowed(where)
    query = sql.SQL(_SQL["newest_calls"]).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)), where=condition
    )
    values |= {"since": since, "until": until, "limit": limit}
    show(connection, query, values)
    return connection.cursor(row_factory=dict_row).execute(query, values).fetchall()


def has_calls(connection: psycopg.Connection[Any]) -> bool:
    """Whether the ledger has any call that this database user may see."""
    row = connection.execute(_SQL["has_calls"]).fetchone()
    return bool(row and row[0])


def event_id_of(
    connection: psycopg.Connection[Any], text: str, *, listed_by: str = "'tokenledger calls'"
) -> UUID:
    """The id of the call that an id, or at least the first eight digits of one, names.

    Args:
        connection: to the ledger.
        text: the id or its first digits.
        listed_by: what lists ids of calls, for the error.

    Raises:
        InvalidRequestError: it is not such a text, or no call or several calls have it.
    """
    digits = text.strip().lower().replace("-", "")
    if not _START.fullmatch(digits):
        is_short = bool(digits) and set(digits) <= _HEX
        remedy = "give at least eight digits" if is_short and len(digits) < _DIGITS else ""
        raise InvalidRequestError(
            f"invalid event id {text!r}; " + (remedy or f"{listed_by} lists the ids of calls")
        )
    if len(digits) == _DIGITS:
        return UUID(digits)
    first, last = UUID(digits.ljust(_DIGITS, "0")), UUID(digits.ljust(_DIGITS, "f"))
    values = {"first": first, "last": last, "limit": _MAX_SHOWN}
    ids = [event_id for (event_id,) in connection.execute(_SQL["ids_between"], values)]
    if len(ids) == 1:
        return UUID(str(ids[0]))
    if not ids:
        raise InvalidRequestError(
            f"no event id begins with {text!r}; {listed_by} lists the ids of calls"
        )
    raise InvalidRequestError(
        f"several event ids begin with {text!r}; use one of {', '.join(map(str, ids))}"
    )
