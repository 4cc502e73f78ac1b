"""`get_runs` of both clients: the figures of the runs page, in Python."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from support.run_rows import FAILED, HIGH, LOW, RUN_ROWS
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries import AsyncTokenLedgerQueries, TokenLedgerQueries, as_records
from tokenledger_exporter.queries.lists import runs


@pytest.fixture
def queries(database_url: str) -> TokenLedgerQueries:
    with psycopg.connect(database_url) as connection:
        connection.execute(RUN_ROWS.encode())
    return TokenLedgerQueries(database_url)


def test_runs_have_their_cost_and_the_total_is_that_of_all(queries: TokenLedgerQueries) -> None:
    page = queries.get_runs(limit=2)
    # 0.5 + 0.25, and a part without a price; 0.1.
    assert [(run.run_id, run.cost_usd, run.steps) for run in page] == [
        (HIGH, Decimal("0.75"), 2),
        (LOW, Decimal("0.1"), 1),
    ]
    assert (len(page), page.count, page.total.cost_usd) == (2, 3, Decimal("0.85"))
    assert page.coverage.without_cost == 2
    assert (page.is_cut, page.notes) == (False, ())
    latest = queries.get_runs(order_by="time")
    assert [run.run_id for run in latest] == [FAILED, LOW, HIGH]
    assert latest.runs[0].known_cost_usd is None


def test_sessions_are_runs_and_filters_leave_calls_out(queries: TokenLedgerQueries) -> None:
    [talk] = queries.get_runs("session", days=1)
    assert (talk.run_id, talk.cost_usd, talk.has_users) == ("talk/1", Decimal("0.85"), True)
    [bobs] = queries.get_runs("session", where={"user": "bob"})
    assert (bobs.cost_usd, bobs.calls) == (Decimal("0.1"), 1)


def test_both_clients_answer_the_same(queries: TokenLedgerQueries, database_url: str) -> None:
    page = asyncio.run(AsyncTokenLedgerQueries(database_url).get_runs())
    assert (page.runs, page.total) == (queries.get_runs().runs, queries.get_runs().total)


def test_runs_are_records_and_a_table_in_a_notebook(queries: TokenLedgerQueries) -> None:
    records = as_records(queries.get_runs())
    assert [record["cost_usd"] for record in records] == [Decimal("0.75"), Decimal("0.1"), None]
    assert [record["unpriced"] for record in records] == [1, 0, 0]
    table = queries.get_runs()._repr_html_()  # pyright: ignore[reportPrivateUsage] - what Jupyter calls
    assert "0.750000+" in table
    assert "coverage: 3 of 5 calls priced" in table


def test_a_list_of_too_many_calls_says_from_when(
    queries: TokenLedgerQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MAX_CALLS", 2)
    page = queries.get_runs()
    assert [run.run_id for run in page] == [LOW, FAILED]
    assert page.is_cut
    assert page.notes[0].startswith("the period has more than 2 calls: these are the runs of the")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "agent"}, "unknown kind of run 'agent'; use one of trace, session"),
        ({"order_by": "size"}, "unknown sort key 'size'; use one of cost, time, calls"),
        ({"limit": 0}, "limit must be 1 to 10,000, not 0"),
        ({"days": 0}, "0"),
        ({"where": {"color": "red"}}, "unknown dimension 'color'"),
    ],
)
def test_a_wrong_argument_is_named(
    queries: TokenLedgerQueries, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        queries.get_runs(**arguments)
