"""Whether a call would have room is answered as a reservation would be, and reserves nothing."""

from __future__ import annotations

import json
from contextlib import closing
from decimal import Decimal

import psycopg
import pytest
from psycopg.rows import dict_row

from support.ledger_rows import chat_attributes, row
from tokenledger_exporter.budgets.budgets import set_budget
from tokenledger_exporter.budgets.reading import are_hidden, read_room
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv import attributes

RESERVE = "SELECT * FROM token_ledger_reserve('asked', %s::jsonb, %s::numeric)"


@pytest.fixture
def url(database_url: str) -> str:
    """A call of $0.0035 (1,000 x $2.50 + 100 x $10 per million), and one without a price."""
    with closing(BatchWriter(database_url)) as writer:
        unpriced = chat_attributes() | {attributes.RESPONSE_MODEL: "acme-7b"}
        for fields in (chat_attributes(), unpriced):
            writer.write([row(fields | {attributes.TEAM: "ml", attributes.USER_ID: "ada"})])
    return database_url


@pytest.mark.parametrize("unpriced", ["allow", "refuse", "estimate"])
def test_the_answer_is_that_of_a_reservation(url: str, unpriced: str) -> None:
    set_budget(url, "others", limit="0.0001", per="total", where={"team": "web"})
    for limit in ("0.0035", "0.007", "0.010", "0.02"):
        set_budget(url, "all", limit=limit, per="total", unpriced=unpriced)
        set_budget(url, "users", limit=limit, per="total", each="user", unpriced=unpriced)
        for usd in (None, "0", "0.0065", "0.0066", "0.003", "0.0031", "1"):
            for user in ("ada", "new"):
                _compare(url, {"team": "ml", "user": user}, None if usd is None else Decimal(usd))


def _compare(url: str, dimensions: dict[str, str], usd: Decimal | None) -> None:
    """The answers of both, in one transaction that is rolled back."""
    with psycopg.connect(url) as connection:
        rooms = read_room(connection, dimensions, usd)
        assert connection.execute("SELECT FROM token_ledger_budget_holds").rowcount == 0
        cursor = connection.cursor(row_factory=dict_row)
        answers = cursor.execute(RESERVE.encode(), (json.dumps(dimensions), usd)).fetchall()
        connection.rollback()
    assert [room.budget for room in rooms] == ["all", "users"]
    refusing = {room.budget: room.reason for room in rooms if not room.has_room}
    assert refusing == {each["budget"]: each["reason"] for each in answers if each["is_refused"]}
    by_budget = {room.budget: room for room in rooms}
    for answer in answers:
        room = by_budget[answer["budget"]]
        for name in ("value", "limit_usd", "spent_usd", "reserved_usd", "needed_usd", "resets_at"):
            assert getattr(room, name) == answer[name], name


def test_the_owner_sees_budgets(url: str) -> None:
    with psycopg.connect(url) as connection:
        assert are_hidden(connection) is False
