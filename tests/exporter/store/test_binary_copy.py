"""What a COPY says of rows is what Postgres then holds, whatever their values."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict, replace
from psycopg import sql

from support.ledger_rows import row
from tokenledger_exporter.domain.ledger_row import COLUMNS
from tokenledger_exporter.store.binary_copy import encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenledger_exporter.domain.ledger_row import LedgerRow

_EVERY_COLUMN: Final = sql.SQL(", ").join(map(sql.Identifier, (*COLUMNS, "settled")))
_JSON: Final = ("usage", "details", "metadata")

_TEXT: Final = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
_COUNT: Final = st.none() | st.integers(0, 2**63 - 1)
_AMOUNT: Final = st.none() | st.decimals(
    min_value=0, max_value=10**12, places=12, allow_nan=False, allow_infinity=False
)
_MOMENT: Final = st.datetimes(
    datetime(1970, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    datetime(2200, 1, 1),  # noqa: DTZ001 - as above
    timezones=st.just(timezone.utc),
)
_FLOAT: Final = st.floats(0, 1e12)
_UUID: Final = st.integers(0, 2**128 - 1).map(lambda number: UUID(int=number))
_OBJECT: Final = st.dictionaries(_TEXT, _TEXT | st.integers(-(2**53), 2**53), max_size=3).map(
    json.dumps
)
_OWN: Final[dict[str, st.SearchStrategy[Any]]] = {
    "event_id": _UUID,
    "timestamp": _MOMENT,
    "ended_at": _MOMENT,
    "duration_ms": _FLOAT,
    "time_to_first_token_ms": st.none() | _FLOAT,
    "usage_hash": st.binary(max_size=20),
    "ancestors": st.lists(_UUID, max_size=3),
    "usage": st.none() | _OBJECT,
    "details": st.just("{}") | _OBJECT,
    "metadata": st.just("{}") | _OBJECT,
}


def _values(column: str) -> st.SearchStrategy[Any]:
    if column in _OWN:
        return _OWN[column]
    if column.endswith("cost_usd"):
        return _AMOUNT
    is_count = column.endswith(("_tokens", "_requests"))
    is_count = is_count or column in {"audio_seconds", "input_characters", "images"}
    return _COUNT if is_count else _TEXT


_ROWS: Final = st.lists(
    st.fixed_dictionaries({column: _values(column) for column in COLUMNS}).map(
        lambda changes: replace(row(), **changes)
    ),
    min_size=1,
    max_size=5,
)


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A table of the ledger's columns and defaults, without what refuses a row."""
    with psycopg.connect(database_url, autocommit=True) as made:
        made.execute("CREATE TABLE copied (LIKE token_ledger_events INCLUDING DEFAULTS)")
        yield made


def _copied(
    connection: psycopg.Connection[Any], rows: list[LedgerRow], unsettled: set[int]
) -> list[tuple[Any, ...]]:
    connection.execute("TRUNCATE copied")
    columns, parts = encoded(rows, unsettled)
    statement = sql.SQL("COPY copied ({}) FROM STDIN (FORMAT BINARY)").format(columns)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for part in parts:
            copy.write(part)
    return connection.execute(sql.SQL("SELECT {} FROM copied").format(_EVERY_COLUMN)).fetchall()


def _expected(row: LedgerRow, unsettled: set[int]) -> tuple[Any, ...]:
    values = asdict(row)
    for name in _JSON:
        values[name] = None if values[name] is None else json.loads(values[name])
    return (*values.values(), row.event_id.int not in unsettled)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=_ROWS, waits=st.booleans())
def test_postgres_holds_every_value_as_the_row_has_it(
    connection: psycopg.Connection[Any], rows: list[LedgerRow], waits: bool
) -> None:
    unsettled = {rows[0].event_id.int} if waits else set[int]()
    wanted = [_expected(row, unsettled) for row in rows]
    assert _copied(connection, rows, unsettled) == wanted


def test_an_amount_keeps_every_digit_it_was_written_with(
    connection: psycopg.Connection[Any],
) -> None:
    # 3 tokens at 0.15 USD a million, and a zero that was written with its decimals.
    rows = [
        replace(row(), cost_usd=Decimal("0.00000045")),
        replace(row(), cost_usd=Decimal("1.50")),
    ]
    _copied(connection, rows, set())
    found = connection.execute("SELECT cost_usd::text FROM copied").fetchall()
    assert found == [("0.00000045",), ("1.50",)]


def _amount(digits: int, exponent: int) -> Decimal:
    return Decimal(digits).scaleb(exponent)


_ANY_AMOUNT: Final = st.decimals() | st.builds(
    _amount, st.integers(-(10**20), 10**20) | st.integers(0, 10**9), st.integers(-20, 3)
)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(amounts=st.lists(_ANY_AMOUNT.filter(bool), min_size=1, max_size=40))
def test_every_amount_is_stored_as_psycopg_stores_it(
    connection: psycopg.Connection[Any], amounts: list[Decimal]
) -> None:
    first = datetime(2026, 11, 1, tzinfo=timezone.utc)
    rows = [
        replace(row(), timestamp=first + timedelta(seconds=number), cost_usd=amount)
        for number, amount in enumerate(amounts)
    ]
    _copied(connection, rows, set())
    found = connection.execute("SELECT cost_usd::text FROM copied ORDER BY timestamp")
    wanted = connection.execute("SELECT unnest(%b::numeric[])::text", [amounts])
    assert found.fetchall() == wanted.fetchall()


def test_a_column_that_is_empty_in_every_row_is_not_sent() -> None:
    columns, _ = encoded([row(), row()], set())
    sent = columns.as_string(None)
    assert '"model"' in sent
    assert '"image_output_tokens"' not in sent
    assert '"settled"' not in sent


def test_many_rows_are_sent_in_parts_and_none_is_left_out(
    connection: psycopg.Connection[Any],
) -> None:
    first = datetime(2026, 11, 1, tzinfo=timezone.utc)
    rows = [
        replace(row(), timestamp=first + timedelta(seconds=number), user_id=f"user {number}")
        for number in range(1_203)
    ]
    _copied(connection, rows, set())
    found = connection.execute(
        "SELECT count(*), count(DISTINCT user_id), max(timestamp) FROM copied"
    ).fetchone()
    assert found == (1_203, 1_203, first + timedelta(seconds=1_202))


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_tokens": 2**63},
        {"user_id": "\ud800"},
        {"duration_ms": "long"},
        {"timestamp": datetime(1, 1, 1)},  # noqa: DTZ001 - the fault itself
    ],
    ids=["a count too great", "half a character", "a word for a number", "a time of nowhere"],
)
def test_a_value_no_column_can_hold_is_a_data_error(wrong: dict[str, Any]) -> None:
    _, parts = encoded([replace(row(), **wrong)], set())
    with pytest.raises(psycopg.DataError):
        list(parts)


def test_a_duration_of_zero_is_distinguished_from_an_unknown_one(
    connection: psycopg.Connection[Any],
) -> None:
    rows = [
        replace(row(), time_to_first_token_ms=0.0),
        replace(row(), time_to_first_token_ms=None),
        replace(row(), time_to_first_token_ms=math.pi),
    ]
    _copied(connection, rows, set())
    found = connection.execute("SELECT time_to_first_token_ms FROM copied").fetchall()
    assert found == [(0.0,), (None,), (math.pi,)]
