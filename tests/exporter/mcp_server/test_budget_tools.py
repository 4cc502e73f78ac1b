"""Budgets as an agent asks for them: what is left, and whether a call would have room."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from support.mcp_answers import answer_of, error_of
from tokenledger_exporter.budgets.budgets import budget_status, set_budget

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from mcp import Client

    Start = Callable[..., AbstractAsyncContextManager[Client]]


def in_session(start: Start, steps: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
    async def session() -> None:
        async with start() as client:
            await steps(client)

    asyncio.run(session())


@pytest.fixture
def budgets(ledger: str) -> str:
    """Chat: $0.50 of $0.60 are spent in 30 days, and one call has no known cost."""
    set_budget(ledger, "chat", limit="0.60", where={"feature": "chat"}, per="30d", warn="80")
    set_budget(ledger, "per-user", limit="0.70", each="user", per="30d")
    set_budget(ledger, "watched", limit="0.01", per="30d", action="alert")
    return ledger


def test_an_agent_learns_what_is_left_and_whether_it_may_spend(stdio: Start, budgets: str) -> None:
    async def steps(client: Client) -> None:
        listed = await answer_of(client, "list_budgets")
        assert [each["budget"] for each in listed["data"]["budgets"]] == [
            *("chat", "per-user", "watched")
        ]
        status = await answer_of(client, "budget_status", budget="chat")
        [account] = status["data"]["accounts"]
        assert (account["spent_usd"], account["left_usd"], account["state"]) == (
            *("0.5", "0.1", "warned"),
        )
        assert "2 of 3 calls priced" in status["coverage"]
        spender = {"feature": "chat", "user_id": "ann"}
        may = await answer_of(client, "may_i_spend", estimate_usd="0.1", dimensions=spender)
        assert may["data"]["may_spend"] is True
        assert [each["budget"] for each in may["data"]["budgets"]] == ["chat", "per-user"]
        not_now = await answer_of(client, "may_i_spend", estimate_usd="0.11", dimensions=spender)
        assert not_now["data"]["may_spend"] is False
        [refusing] = [each for each in not_now["data"]["budgets"] if not each["has_room"]]
        assert (refusing["budget"], refusing["reason"]) == ("chat", "limit")
        assert "--limit" in refusing["remedy"]
        free = await answer_of(client, "may_i_spend", estimate_usd="9")
        assert (free["data"]["may_spend"], free["data"]["budgets"]) == (True, [])

    in_session(stdio, steps)
    # Asking has reserved nothing, and refused nothing.
    assert sum(each.reserved_usd for each in budget_status(budgets)) == 0
    with psycopg.connect(budgets) as connection:
        assert connection.execute("SELECT FROM token_ledger_refusals").rowcount == 0


def test_a_wrong_argument_names_the_remedy(stdio: Start, budgets: str) -> None:
    del budgets

    async def steps(client: Client) -> None:
        for estimate in ("NaN", "-1", "two", "1e99"):
            message = await error_of(client, "may_i_spend", estimate_usd=estimate)
            assert "use US dollars, such as 0.02" in message
        wrong: dict[str, Any] = {"estimate_usd": "1", "dimensions": {"color": "red"}}
        assert "unknown dimension 'color'; use" in await error_of(client, "may_i_spend", **wrong)
        wrong["dimensions"] = {"team": ["ml"]}
        assert "'team' must be one text" in await error_of(client, "may_i_spend", **wrong)
        assert "use one of chat" in await error_of(client, "budget_status", budget="x")

    in_session(stdio, steps)
