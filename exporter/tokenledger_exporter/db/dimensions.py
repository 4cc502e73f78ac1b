"""Dimensions as SQL: what a question is grouped by, and what it is narrowed to.

Names come from the one list of the contract; values travel as parameters, so any text is safe. Text
no Postgres can hold (NUL, half a surrogate pair) is a value no row has.
"""

from __future__ import annotations

from datetime import timezone
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from psycopg import sql

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_semconv.dimensions import DIMENSIONS, METADATA_DIMENSION_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import tzinfo
    from typing import TypeAlias

Where: TypeAlias = "Mapping[str, str | Sequence[str]]"
"""Dimension -> the value, or the values of which any will do; every dimension must agree."""

UTC: Final = "UTC"
"""The time zone of days and hours unless another is asked for."""

_COLUMNS: Final = {dimension.name: dimension.column for dimension in DIMENSIONS}
_BUCKETS: Final = {"hour": "YYYY-MM-DD HH24:00", "day": "YYYY-MM-DD", "month": "YYYY-MM"}

BUCKETS: Final = tuple(_BUCKETS)
"""Stretches of time a question can be grouped by."""


def dimension_names() -> tuple[str, ...]:
    """What a report can be grouped by."""
    return (*_COLUMNS, *_BUCKETS, f"{METADATA_DIMENSION_PREFIX}<key>")


def zone_of(name: str) -> tzinfo:
    """The time zone of a name such as `Europe/Berlin`; UTC needs no data of the machine's.

    Raises:
        UsageError: there is none.
    """
    if name == UTC:
        return timezone.utc
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InvalidRequestError(
            f"{name!r} is no time zone: write it as in the IANA list, like Europe/Berlin (on a "
            "machine without that list, pip install tzdata)"
        ) from None


def group(name: str, zone: str = UTC) -> sql.Composable:
    """The SQL of one dimension.

    Args:
        name: a dimension, `metadata.<key>`, or one of `BUCKETS`.
        zone: the time zone of its hours, days and months.

    Raises:
        UsageError: there is no such dimension or zone.
    """
    if name in _COLUMNS:
        return sql.Identifier(_COLUMNS[name])
    if name in _BUCKETS:
        shape = sql.Literal(_BUCKETS[name])
        zone_of(zone)
        told = sql.SQL("pg_catalog.to_char(timestamp AT TIME ZONE {}, {})")
        return told.format(sql.Literal(zone), shape)
    key = name.removeprefix(METADATA_DIMENSION_PREFIX)
    if key != name and key and is_storable(key):
        # The query takes parameters, where a bare % would begin one.
        return sql.SQL("COALESCE(metadata ->> {}::text, '')").format(
            sql.Literal(key.replace("%", "%%"))
        )
    raise InvalidRequestError(
        f"{name!r} is no dimension: group by one or more of {', '.join(dimension_names())}"
    )


def narrowed(where: Where | None) -> tuple[sql.Composable, dict[str, object]]:
    """Conditions to add to a statement's WHERE, and their parameters.

    Raises:
        UsageError: there is no such dimension.
    """
    return _narrowed(where, group)


def narrowing_values(where: Where | None) -> dict[str, object]:
    """The parameters of those conditions, for a statement that was put together before."""
    values: dict[str, object] = {}
    for number, wanted in enumerate((where or {}).values()):
        given = [wanted] if isinstance(wanted, str) else list(wanted)
        values[f"where_{number}"] = [value for value in given if is_storable(value)]
    return values


def narrowed_event(where: Where | None) -> tuple[sql.Composable, dict[str, object]]:
    """The same conditions on a row kept whole in a column `event`."""
    return _narrowed(where, _in_event)


def _narrowed(
    where: Where | None, column: Callable[[str], sql.Composable]
) -> tuple[sql.Composable, dict[str, object]]:
    parts: list[sql.Composable] = [sql.SQL("")]
    for number, name in enumerate(where or {}):
        if name in _BUCKETS:
            raise InvalidRequestError(
                f"{name!r} is a stretch of time: give its start and end instead"
            )
        condition = sql.SQL("AND {} = ANY({}::text[])")
        parts.append(condition.format(column(name), sql.Placeholder(f"where_{number}")))
    return sql.SQL(" ").join(parts), narrowing_values(where)


def _in_event(name: str) -> sql.Composable:
    if name in _COLUMNS:
        return sql.SQL("COALESCE(event ->> {}::text, '')").format(sql.Literal(_COLUMNS[name]))
    key = sql.Literal(name.removeprefix(METADATA_DIMENSION_PREFIX).replace("%", "%%"))
    return sql.SQL(
        "COALESCE(token_ledger_as_object(event -> 'metadata'::text) ->> {}::text, '')"
    ).format(key)


def is_storable(text: str) -> bool:
    """Whether Postgres can hold it: a shell's bytes that are no UTF-8 arrive as lone surrogates."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def label_columns(groups: Sequence[sql.Composable]) -> sql.Composed:
    """The groups as columns `label_0`, `label_1` ... at the head of a SELECT."""
    labels = [
        sql.SQL("{} AS {},").format(column, sql.Identifier(f"label_{number}"))
        for number, column in enumerate(groups)
    ]
    return sql.SQL(" ").join(labels)
