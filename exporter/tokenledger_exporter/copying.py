"""What a COPY of ledger rows sends: the columns the rows use, in Postgres' binary format.

Most of a row's columns are empty for most calls. A column that is empty in a whole batch is not
sent at all: its default says the same, at less cost on both sides.
"""

from __future__ import annotations

from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import psycopg
from msgspec.structs import astuple
from psycopg import pq, sql
from psycopg.adapt import Dumper

from tokenledger_exporter.rows import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from psycopg.abc import AdaptContext, Buffer

    from tokenledger_exporter.rows import LedgerRow

_TYPES: Final = {
    "event_id": "uuid",
    "usage_hash": "bytea",
    "timestamp": "timestamptz",
    "ended_at": "timestamptz",
    "duration_ms": "float8",
    "time_to_first_token_ms": "float8",
    "usage": "jsonb",
    "details": "jsonb",
    "metadata": "jsonb",
    "ancestors": "uuid[]",
    "settled": "bool",
    "audio_seconds": "int8",
    "input_characters": "int8",
    "images": "int8",
}


def _postgres_type(column: str) -> str:
    if column.endswith(("_tokens", "_requests")):
        return "int8"
    return _TYPES.get(column, "numeric" if column.endswith("cost_usd") else "text")


# A row says beside its own columns whether somebody has looked for another telling of its call.
_COLUMNS: Final = (*COLUMNS, "settled")
_COLUMN_TYPES: Final = tuple(map(_postgres_type, _COLUMNS))
# What a column holds where nothing is sent for it (the defaults of the migrations). Text columns
# whose default is a word are always sent.
_WORDS: Final = frozenset({"operation", "cost_status", "status"})
_EMPTY: Final[dict[str, object]] = {"text": "", "jsonb": "{}", "uuid[]": [], "bool": True}
_NOTHING: Final[tuple[object, ...]] = tuple(
    _EMPTY.get(kind) if name not in {"usage", *_WORDS} else None
    for name, kind in zip(_COLUMNS, _COLUMN_TYPES, strict=True)
)


def sent_columns(
    rows: Sequence[LedgerRow], unsettled: Collection[int]
) -> tuple[sql.Composed, tuple[str, ...], Iterable[tuple[object, ...]]]:
    """The columns that say something, their types, and the rows' values in them.

    Args:
        rows: at least one.
        unsettled: numbers of the identities of rows somebody else may tell of too.
    """
    if unsettled:
        whole = [(*astuple(row), row.event_id.int not in unsettled) for row in rows]
    else:
        whole = [(*astuple(row), True) for row in rows]
    columns = list(zip(*whole, strict=True))
    used = [number for number, column in enumerate(columns) if _says_something(number, column)]
    names = sql.SQL(", ").join(sql.Identifier(_COLUMNS[number]) for number in used)
    types = tuple(_COLUMN_TYPES[number] for number in used)
    return names, types, map(itemgetter(*used), whole)


def _says_something(number: int, column: tuple[object, ...]) -> bool:
    nothing = _NOTHING[number]
    # Most columns show it in their first row; in the others nearly every value is that very object.
    return column[0] != nothing or column.count(nothing) != len(column)


class _JsonText(str):
    """JSON that is text already; only names its dumper."""

    __slots__ = ()


class _Money(Decimal):
    """An amount; only names its dumper."""

    __slots__ = ()


class _JsonTextDumper(Dumper):
    """Sends JSON text as jsonb without parsing it again: a version byte, then the text."""

    format = pq.Format.BINARY
    oid = psycopg.adapters.types["jsonb"].oid

    def dump(self, obj: str) -> bytes:
        return b"\x01" + obj.encode()


class _MoneyDumper(Dumper):
    """Sends amounts as psycopg does, but nothing, as half of a row's amounts are, at no cost."""

    format = pq.Format.BINARY
    oid = psycopg.adapters.types["numeric"].oid

    def __init__(self, cls: type, context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        plain = psycopg.adapters.get_dumper_by_oid(self.oid, pq.Format.BINARY)
        self._dump = plain(Decimal, context).dump

    def dump(self, obj: Decimal) -> Buffer | None:
        return self._dump(obj) if obj else _NO_MONEY


# A numeric without digits: digit groups, weight, sign and scale are all 0.
_NO_MONEY: Final = bytes(8)


def register(context: AdaptContext) -> None:
    """Teach a connection to send rows as they are."""
    context.adapters.register_dumper(_JsonText, _JsonTextDumper)
    context.adapters.register_dumper(_Money, _MoneyDumper)
