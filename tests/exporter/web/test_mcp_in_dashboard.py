"""Coding agents at the dashboard's address: the same gate, the same figures."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from support.ledger_rows import ask as select
from support.mcp_answers import answer_of
from tokenledger_exporter.access.tokens import new_token, token_line
from tokenledger_exporter.cli.mounted_mcp import mounted_mcp
from tokenledger_exporter.web.options import DashboardOptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from support.dashboard import Dashboard

ACME = new_token()
TOKENS = token_line("acme", ACME)


@asynccontextmanager
async def agent(dashboard: Dashboard) -> AsyncGenerator[Client]:
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {ACME}"}, timeout=60)
    url = f"{dashboard.url}/mcp"
    async with http, Client(streamable_http_client(url, http_client=http)) as client:
        yield client


def test_an_agent_sees_what_the_token_sees_on_the_pages(
    opened: Callable[..., Dashboard], reader_url: str
) -> None:
    """$0.1 of acme's $0.1 and an unknown cost; globex's $0.25 is not there."""
    options = DashboardOptions(database_url=reader_url, tokens=TOKENS)
    dashboard = opened(database_url=reader_url, tokens=TOKENS, mounted=[mounted_mcp(options)])

    async def ask() -> str:
        async with agent(dashboard) as client:
            answer = await answer_of(client, "cost_report", by=["organization"], since="7d")
        return str(answer)

    answer = asyncio.run(ask())
    assert "acme" in answer
    assert "globex" not in answer
    headers = [("Authorization", f"Bearer {ACME}")]
    report = dashboard.send("/api/v1/report?by=organization", "GET", headers).json()
    [row] = report["rows"]
    assert row["cost_usd"] == "0.1"
    assert f"'{row['cost_usd']}'" in answer


def test_without_a_token_an_agent_gets_401(
    opened: Callable[..., Dashboard], reader_url: str
) -> None:
    options = DashboardOptions(database_url=reader_url, tokens=TOKENS)
    dashboard = opened(database_url=reader_url, tokens=TOKENS, mounted=[mounted_mcp(options)])
    assert dashboard.send("/mcp", "POST", [], body=b"{}").status == 401


def test_what_an_agent_reads_about_a_person_is_logged(
    opened: Callable[..., Dashboard], reader_url: str, filled_url: str
) -> None:
    options = DashboardOptions(database_url=reader_url, tokens=TOKENS)
    dashboard = opened(database_url=reader_url, tokens=TOKENS, mounted=[mounted_mcp(options)])

    async def ask() -> None:
        async with agent(dashboard) as client:
            await answer_of(client, "find_calls", where={"user": "ann"}, since="7d")
            await answer_of(client, "cost_report", by=["team"], since="7d")

    asyncio.run(ask())
    rows = select(filled_url, "SELECT page, dimension, value FROM token_ledger_person_views")
    assert rows == [("/mcp find_calls", "user", "ann")]
