"""One call's cost, followed by hand: the same in SQL, command line, API, page, notebook and MCP.

gpt-4o, 1,000 input tokens, 200 of them from a cache, and 50 output tokens. The list of 2024-10 has
$2.50, $1.25 and $10 per million: 800 x 2.50 + 200 x 1.25 + 50 x 10 = 2,750 millionths of a dollar.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from mcp import Client

from support.command_line import run
from support.dashboard import Dashboard
from support.ledger_rows import ask, chat_attributes
from support.ledgers import opened
from support.mcp_answers import answer_of
from support.page_reader import read
from tokenledger.queries import TokenLedgerQueries
from tokenledger_exporter.mcp_server.server import create_server
from tokenledger_exporter.queries.reader import Reader
from tokenledger_exporter.web.options import DashboardOptions

if TYPE_CHECKING:
    from collections.abc import Generator

COST = (800 * Decimal("2.50") + 200 * Decimal("1.25") + 50 * Decimal(10)) / 1_000_000
TEXT = "0.00275"


@pytest.fixture
def event_id(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of the only call of the ledger."""
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    attributes: dict[str, Any] = {
        **chat_attributes(),
        "gen_ai.response.model": "gpt-4o-2024-11-20",
        "gen_ai.usage.input_tokens": 1_000,
        "gen_ai.usage.cache_read.input_tokens": 200,
        "gen_ai.usage.output_tokens": 50,
        "tokenledger.feature": "summarize",
    }
    with opened(database_url) as ledger:
        tracer = ledger.tracer_provider.get_tracer("tokenledger.openai")
        tracer.start_span("chat gpt-4o", attributes=attributes).end()
    [(event_id,)] = ask(database_url, "SELECT event_id::text FROM token_ledger_events")
    return str(event_id)


@pytest.fixture
def dashboard(database_url: str) -> Generator[Dashboard]:
    with Dashboard(DashboardOptions(database_url=database_url)) as running:
        yield running


def test_the_cost_by_hand_is_that_of_the_row(database_url: str, event_id: str) -> None:
    assert Decimal(TEXT) == COST
    [(cost, status)] = ask(
        database_url,
        f"SELECT cost_usd, cost_status FROM token_ledger_events WHERE event_id = '{event_id}'",
    )
    assert (cost, status) == (COST, "priced")
    views = "SELECT sum(cost_usd) FROM token_ledger_daily_costs"
    assert ask(database_url, views) == [(COST,)]


def test_the_command_line_says_the_same(event_id: str) -> None:
    document = json.loads(run("explain", event_id, "--format", "json").stdout)
    assert document["cost_usd"] == document["sum_usd"] == TEXT
    assert [line["units"] for line in document["lines"]] == [800, 200, 50]
    report = json.loads(run("report", "--by", "model", "--format", "json").stdout)
    assert report["totals"]["cost_usd"] == TEXT
    assert f"{TEXT}" in run("calls", "--format", "csv").stdout


def test_the_api_and_the_pages_say_the_same(dashboard: Dashboard, event_id: str) -> None:
    assert dashboard.json(f"/events/{event_id}/explain")["cost_usd"] == TEXT
    assert dashboard.json("/report?by=feature")["rows"][0]["cost_usd"] == TEXT
    assert dashboard.json("/summary?days=1")["total_cost"] == TEXT
    for path in ("/", "/explore?by=feature", "/calls", f"/calls/{event_id}", "/tops"):
        assert TEXT in read(dashboard, path).values, path


def test_python_and_a_notebook_say_the_same(database_url: str, event_id: str) -> None:
    assert event_id
    with TokenLedgerQueries(database_url) as queries:
        report = queries.get_costs_by("feature", days=1)
        assert report.totals.cost_usd == COST
        assert list(report.to_pandas()["cost_usd"]) == [COST]
        assert report.to_polars()["cost_usd"].to_list() == [COST]
        html = report._repr_html_()  # pyright: ignore[reportPrivateUsage] - what Jupyter calls
        assert f'title="{TEXT}"' in html


def test_an_agent_is_answered_the_same(database_url: str, event_id: str) -> None:
    async def answers() -> tuple[dict[str, Any], dict[str, Any]]:
        with closing(Reader(database_url)) as reader:
            async with Client(create_server(reader.snapshot, lambda _request: "")) as client:
                one = await answer_of(client, "explain_call", event_id=event_id)
                return one, await answer_of(client, "cost_report", by=["feature"], since="1d")

    one, report = asyncio.run(answers())
    assert one["data"]["cost_usd"] == TEXT
    assert report["data"]["totals"]["cost_usd"] == TEXT
