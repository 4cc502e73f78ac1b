"""A budget of the ledger refuses the calls of the real SDKs before they are sent."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

import tokenledger
from support.ledger_rows import ask
from tokenledger_exporter.budgets.budgets import budget_status, set_budget

if TYPE_CHECKING:
    from pathlib import Path

    from tokenledger_exporter.demo.provider import DemoProvider

pytestmark = pytest.mark.integration

HELLO: Any = [{"role": "user", "content": "hello"}]

SCRIPT = """
import openai
import tokenledger

tokenledger.configure()
tokenledger.patch_openai()
try:
    openai.OpenAI().chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hello"}], max_tokens=100
    )
    print("sent")
except tokenledger.BudgetExceeded as refusal:
    print(f"refused by {refusal.budget}")
"""


@pytest.fixture
def _app(database_url: str, sdks: DemoProvider, unpatched: None) -> None:  # noqa: ARG001
    tokenledger.configure(database_url=database_url, app_name="shop")
    tokenledger.patch_openai()
    tokenledger.patch_anthropic()


def chat(**more: object) -> object:
    client: Any = openai.OpenAI()
    return client.chat.completions.create(model="gpt-4o", messages=HELLO, max_tokens=100, **more)


@pytest.mark.usefixtures("_app")
def test_the_calls_of_both_sdks_are_refused_and_nothing_is_sent(database_url: str) -> None:
    set_budget(database_url, "team-ml", where={"team": "ml"}, limit="0.000001")
    client: Any = anthropic.Anthropic()
    with tokenledger.attribution(team="ml"):
        for send in (
            chat,
            lambda: chat(stream=True),
            lambda: client.messages.create(model="claude-opus-5", max_tokens=100, messages=HELLO),
        ):
            with pytest.raises(tokenledger.BudgetExceeded, match="team-ml") as refused:
                send()
            assert refused.value.limit_usd == Decimal("0.000001")
        with pytest.raises(tokenledger.BudgetExceeded):
            asyncio.run(_chat_async())
    chat()
    tokenledger.flush()
    assert ask(database_url, "SELECT team FROM token_ledger_events") == [("",)]
    assert ask(database_url, "SELECT sum(refused_calls) FROM token_ledger_refusals") == [(4,)]


@pytest.mark.usefixtures("_app")
def test_calls_settle_at_what_they_cost(database_url: str) -> None:
    set_budget(database_url, "b", each="user", per="day", limit=5)
    with tokenledger.attribution(user_id="ada"):
        chat()
        for _ in chat(stream=True, stream_options={"include_usage": True}):  # type: ignore[attr-defined]
            pass
        asyncio.run(_chat_async())
    tokenledger.flush()
    [(cost, calls)] = ask(database_url, "SELECT sum(cost_usd), count(*) FROM token_ledger_events")
    [status] = budget_status(database_url, "b")
    assert (status.value, status.spent_usd, status.calls) == ("ada", cost, calls)
    assert (status.calls, status.unreserved_calls) == (3, 0)


@pytest.mark.usefixtures("sdks")
def test_a_script_is_refused_at_its_first_call(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    script = tmp_path / "job.py"
    script.write_text(SCRIPT)

    def run() -> str:
        return subprocess.check_output([sys.executable, str(script)], text=True).strip()

    assert run() == "sent"
    set_budget(database_url, "nightly", limit="0.000001")
    assert run() == "refused by nightly"


async def _chat_async() -> object:
    async with openai.AsyncOpenAI() as client:
        create: Any = client.chat.completions.create
        return await create(model="gpt-4o", messages=HELLO, max_tokens=100)
