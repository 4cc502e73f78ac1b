"""Whether a call would have room is answered as a reservation would be, and reserves nothing."""

from __future__ import annotations

import json
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.rows import dict_row

from support.ledger_rows import chat_attributes, row
from tokenledger_exporter.budgets.budgets import set_budget
from tokenledger_exporter.budgets.reading import are_hidden, read_room
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from tokenledger_exporter.budgets.reading import Room

SHARED = ("value", "limit_usd", "spent_usd", "reserved_usd", "needed_usd", "resets_at")
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
    compared = 0
    for limit in ("0.0035", "0.007", "0.010", "0.02"):
        set_budget(url, "all", limit=limit, per="total", unpriced=unpriced)
        set_budget(url, "users", limit=limit, per="total", each="user", unpriced=unpriced)
        for text in (None, "0", "0.0065", "0.0066", "0.003", "0.0031", "1"):
            usd = None if text is None else Decimal(text)
            for user in ("ada", "new"):
                rooms, answers = both_answers(url, {"team": "ml", "user": user}, usd)
                assert [room.budget for room in rooms] == ["all", "users"]
                assert refusing(rooms) == {
                    answer["budget"]: answer["reason"] for answer in answers if answer["is_refused"]
                }
                by_budget = {room.budget: room for room in rooms}
                for answer in answers:
                    room = by_budget[answer["budget"]]
                    shared = {name: answer[name] for name in SHARED}
                    assert {name: getattr(room, name) for name in SHARED} == shared
                    compared += 1
    # A refusal names the budgets that refuse, an answer both.
    assert compared > 4 * 7 * 2


def both_answers(
    url: str, dimensions: dict[str, str], usd: Decimal | None
) -> tuple[list[Room], list[dict[str, Any]]]:
    """The room for a call and the answer to a reservation, which is rolled back."""
    with psycopg.connect(url) as connection:
        rooms = read_room(connection, dimensions, usd)
        assert connection.execute("SELECT FROM token_ledger_budget_holds").rowcount == 0
        cursor = connection.cursor(row_factory=dict_row)
        answers = cursor.execute(RESERVE.encode(), (json.dumps(dimensions), usd)).fetchall()
        connection.rollback()
    return rooms, answers


def refusing(rooms: list[Room]) -> dict[str, str]:
    """The budgets without room, and why."""
    return {room.budget: room.reason for room in rooms if not room.has_room}


def test_the_owner_sees_budgets(url: str) -> None:
    with psycopg.connect(url) as connection:
        assert are_hidden(connection) is False
