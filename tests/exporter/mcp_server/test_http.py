"""The same tools over streamable HTTP, limited to the organization of the request."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx2
import psycopg
import pytest
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette
from starlette.routing import Mount

from support.database_roles import roles_of
from support.mcp_answers import answer_of, error_of
from support.ports import free_port
from tokenledger_exporter.budgets.budgets import set_budget
from tokenledger_exporter.mcp_server.http import McpApp
from tokenledger_exporter.queries.reader import Reader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

TOKENS: Final = {b"Bearer of-acme": "acme", b"Bearer of-all": ""}


def organization_of(scope: Any) -> str:  # noqa: ANN401 - an ASGI scope
    """Stands for the gate of an application, which knows the tokens."""
    return TOKENS[dict(scope["headers"])[b"authorization"]]


@contextmanager
def served(database_url: str) -> Generator[str]:
    """An application that mounts the server; yields its address."""
    with closing(Reader(database_url)) as reader:
        mcp = McpApp(reader.snapshot, organization_of)

        @asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
            async with mcp.running():
                yield

        app = Starlette(routes=[Mount("/mcp", mcp)], lifespan=lifespan)
        port = free_port()
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical"))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
            yield f"http://127.0.0.1:{port}/mcp/"
        finally:
            server.should_exit = True
            thread.join(20)


@asynccontextmanager
async def session(url: str, token: str) -> AsyncGenerator[Client]:
    headers = {"Authorization": f"Bearer {token}"}
    http = httpx2.AsyncClient(headers=headers, timeout=60)
    async with http, Client(streamable_http_client(url, http_client=http)) as client:
        yield client


@pytest.fixture
def reader_url(ledger: str) -> Generator[str]:
    """A login of the reader role that may see every organization."""
    with roles_of(ledger) as roles:
        login = roles.login("agents", roles.reader)
        with psycopg.connect(ledger) as connection:
            connection.execute(
                "INSERT INTO token_ledger_reader_organizations"
                " SELECT oid, '', now(), true FROM pg_roles WHERE rolname = %s",
                (login,),
            )
        yield roles.url(login)


def test_a_token_of_an_organization_sees_its_calls_alone(reader_url: str) -> None:
    async def steps(url: str) -> None:
        async with session(url, "of-acme") as acme, session(url, "of-all") as everyone:
            for _ in range(3):
                assert (await answer_of(acme, "coverage"))["data"]["cost_usd"] == "0.1"
                assert (await answer_of(everyone, "coverage"))["data"]["cost_usd"] == "0.35"
            other = await answer_of(
                acme, "cost_report", by=["organization"], where={"organization": "globex"}
            )
            assert other["data"]["rows"] == []
            calls = (await answer_of(acme, "find_calls"))["data"]["calls"]
            assert {call["feature"] for call in calls} == {"chat"}
            [bobs] = (await answer_of(everyone, "find_calls", where={"user": "bob"}))["data"][
                "calls"
            ]
            message = await error_of(acme, "explain_call", event_id=bobs["event_id"])
            assert "not found" in message

    with served(reader_url) as url:
        asyncio.run(steps(url))


def test_a_token_of_an_organization_is_answered_why_it_sees_no_budget(
    reader_url: str, ledger: str
) -> None:
    set_budget(ledger, "chat", limit="0.60", where={"feature": "chat"}, per="30d")
    asked = {"estimate_usd": "9", "dimensions": {"feature": "chat"}}

    async def steps(url: str) -> None:
        async with session(url, "of-acme") as acme, session(url, "of-all") as everyone:
            for tool, arguments in (
                ("list_budgets", {}),
                ("budget_status", {}),
                ("may_i_spend", asked),
            ):
                hidden = await answer_of(acme, tool, **arguments)
                assert "bound to one" in " ".join(hidden["notes"])
                assert "chat" not in str(hidden["data"])
                assert "chat" in str((await answer_of(everyone, tool, **arguments))["data"])
            assert (await answer_of(acme, "may_i_spend", **asked))["data"]["may_spend"] is None
            assert (await answer_of(everyone, "may_i_spend", **asked))["data"]["may_spend"] is False

    with served(reader_url) as url:
        asyncio.run(steps(url))


def test_a_user_without_row_level_security_is_refused_for_an_organization(ledger: str) -> None:
    async def steps(url: str) -> None:
        async with session(url, "of-acme") as client:
            assert "tokenledger_reader" in await error_of(client, "coverage")

    with served(ledger) as url:
        asyncio.run(steps(url))


def test_requests_are_answered_only_while_the_application_runs(ledger: str) -> None:
    async def steps() -> None:
        with closing(Reader(ledger)) as reader:
            mcp = McpApp(reader.snapshot, organization_of)
            transport = httpx2.ASGITransport(app=mcp)
            client = httpx2.AsyncClient(transport=transport, base_url="http://app")
            async with client:
                for _ in range(2):
                    with pytest.raises(RuntimeError, match=r"McpApp\.running"):
                        await client.post("/", json={})
                    async with mcp.running():
                        response = await client.post("/", json={}, headers={"accept": "x/y"})
                        assert response.status_code >= 400

    asyncio.run(steps())
