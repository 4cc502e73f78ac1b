"""Dimensions as SQL: grouping and filters.

Names come from the contract's list of dimensions. Values are parameters, so any text is safe. Text
that Postgres cannot store (NUL, half a surrogate pair) matches no row.
"""

from __future__ import annotations

from datetime import timezone
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from psycopg import sql

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_semconv.dimensions import DIMENSIONS, METADATA_DIMENSION_PREFIX, dimension_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import tzinfo
    from typing import TypeAlias

Where: TypeAlias = "Mapping[str, str | Sequence[str]]"
"""Dimension -> a value or several: any value of it matches, and all dimensions must match."""

UTC: Final = "UTC"
"""Default time zone of days and hours."""

_COLUMNS: Final = {dimension.name: dimension.column for dimension in DIMENSIONS}
_BUCKETS: Final = {"hour": "YYYY-MM-DD HH24:00", "day": "YYYY-MM-DD", "month": "YYYY-MM"}

BUCKETS: Final = tuple(_BUCKETS)
"""Periods that a query can group by."""


def dimension_names() -> tuple[str, ...]:
    """All dimensions that a report can group by."""
    return (*_COLUMNS, *_BUCKETS, f"{METADATA_DIMENSION_PREFIX}<key>")


def zone_of(name: str) -> tzinfo:
    """The time zone of a name such as `Europe/Berlin`; UTC needs no time zone data.

    Raises:
        InvalidRequestError: the name is unknown.
    """
    if name == UTC:
        return timezone.utc
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InvalidRequestError(
            f"unknown time zone {name!r}; use an IANA name such as America/New_York (if this "
            "machine "
            "has no time zone data, run 'pip install tzdata')"
        ) from None


def group(name: str, zone: str = UTC) -> sql.Composable:
    """The SQL expression of one dimension.

    Args:
        name: a dimension, `metadata.<key>`, or one of `BUCKETS`.
        zone: the time zone of its hours, days and months.

    Raises:
        InvalidRequestError: the dimension or zone is unknown.
    """
    name = dimension_name(name)
    if name in _COLUMNS:
        return sql.Identifier(_COLUMNS[name])
    if name in _BUCKETS:
        shape = sql.Literal(_BUCKETS[name])
        zone_of(zone)
        expression = sql.SQL("pg_catalog.to_char(timestamp AT TIME ZONE {}, {})")
        return expression.format(sql.Literal(zone), shape)
    if key := _metadata_key(name):
        # The query has parameters, and a single % would start a placeholder.
        return sql.SQL("COALESCE(metadata ->> {}::text, '')").format(
            sql.Literal(key.replace("%", "%%"))
        )
    raise _unknown(name, dimension_names())


def _metadata_key(name: str) -> str:
    """The key of `metadata.<key>`; "" for another name."""
    key = name.removeprefix(METADATA_DIMENSION_PREFIX)
    return key if key != name and is_storable(key) else ""


def _unknown(name: str, names: Sequence[str]) -> InvalidRequestError:
    return InvalidRequestError(f"unknown dimension {name!r}; use one of {', '.join(names)}")


def by_name(where: Where | None) -> dict[str, str | Sequence[str]]:
    """The filters by the names of their dimensions: `user` for `user_id` too.

    Raises:
        InvalidRequestError: a dimension is there under both names.
    """
    filters: dict[str, str | Sequence[str]] = {}
    for spelling, values in (where or {}).items():
        name = dimension_name(spelling)
        if name in filters:
            raise InvalidRequestError(f"the filter {name!r} is there twice, as {spelling!r} too")
        filters[name] = values
    return filters


def plain_where(where: Where | None) -> dict[str, tuple[str, ...]]:
    """The conditions with every value as a tuple of values."""
    return {
        name: (values,) if isinstance(values, str) else tuple(values)
        for name, values in (where or {}).items()
    }


def read_filters(where: Where) -> dict[str, tuple[str, ...]]:
    """Filters that are stored: the names of their dimensions -> values.

    Raises:
        InvalidRequestError: a dimension is unknown or there twice, or has no value.
    """
    narrowed(where)
    filters = plain_where(by_name(where))
    for name, values in filters.items():
        if not values:
            raise InvalidRequestError(f"the filter {name!r} has no value")
    return filters


def filter_text(filters: Mapping[str, Sequence[str]]) -> str:
    """Filters as on the command line; "all calls" without any."""
    parts = [f"{name}={value}" for name, values in filters.items() for value in values]
    return " ".join(parts) or "all calls"


def narrowed(where: Where | None) -> tuple[sql.Composable, dict[str, object]]:
    """Conditions for a statement's WHERE clause, and their parameters.

    Raises:
        InvalidRequestError: a dimension is unknown.
    """
    return _narrowed(where, group)


def narrowing_values(where: Where | None) -> dict[str, object]:
    """The parameters of the conditions, for a statement that was composed before."""
    values: dict[str, object] = {}
    for number, allowed in enumerate((where or {}).values()):
        texts = [allowed] if isinstance(allowed, str) else list(allowed)
        values[f"where_{number}"] = [text for text in texts if is_storable(text)]
    return values


def narrowed_event(where: Where | None) -> tuple[sql.Composable, dict[str, object]]:
    """The same conditions for a row that is stored as JSON in the column `event`."""
    return _narrowed(where, _in_event)


def _narrowed(
    where: Where | None, column: Callable[[str], sql.Composable]
) -> tuple[sql.Composable, dict[str, object]]:
    parts: list[sql.Composable] = [sql.SQL("")]
    for number, name in enumerate(map(dimension_name, where or {})):
        if name in _BUCKETS:
            raise InvalidRequestError(f"cannot filter by {name!r}; use a start and an end instead")
        if name not in _COLUMNS and not _metadata_key(name):
            raise _unknown(name, [each for each in dimension_names() if each not in _BUCKETS])
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
    """Whether Postgres can store the text: no NUL, no lone surrogates (a shell's invalid UTF-8)."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def label_columns(groups: Sequence[sql.Composable]) -> sql.Composed:
    """The groups as the first columns of a SELECT: `label_0`, `label_1` ..."""
    labels = [
        sql.SQL("{} AS {},").format(column, sql.Identifier(f"label_{number}"))
        for number, column in enumerate(groups)
    ]
    return sql.SQL(" ").join(labels)
