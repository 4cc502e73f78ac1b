"""Another application in the same service: behind the same gate, and safe from other pages."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from support.asgi_requests import ask
from tokenledger_exporter.access.tokens import new_token, token_line
from tokenledger_exporter.web.app import create_app
from tokenledger_exporter.web.gate import ORGANIZATION
from tokenledger_exporter.web.mounted import MountedApp
from tokenledger_exporter.web.options import DashboardOptions
from tokenledger_exporter.web.sign_in.viewer import viewer_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, MutableMapping

    from support.dashboard import Dashboard

ACME = new_token()
TOKENS = token_line("acme", ACME)


async def echo(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
    """Answer who sent what."""
    message = await receive()
    document = {
        "method": scope["method"],
        "path": scope["path"],
        "organization": scope[ORGANIZATION],
        "viewer": viewer_of(scope).kind,
        "body": message.get("body", b"").decode(),
    }
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(document).encode()})


MOUNTED = (MountedApp("/mcp", echo),)


def test_it_gets_any_method_and_who_sent_it(opened: Callable[..., Dashboard]) -> None:
    dashboard = opened(tokens=TOKENS, mounted=MOUNTED)
    headers = [("Authorization", f"Bearer {ACME}")]
    for path in ("/mcp", "/mcp/", "/mcp/tools"):
        response = dashboard.send(path, "POST", headers, body=b"{}")
        assert response.json() == {
            "method": "POST",
            "path": path,
            "organization": "acme",
            "viewer": "token",
            "body": "{}",
        }
        assert response.headers["x-content-type-options"] == "nosniff"
    assert dashboard.send("/mcp", "DELETE", headers).status == 200
    assert dashboard.send("/mcphost", "POST", headers, body=b"{}").status == 405


def test_it_needs_the_credentials_of_the_dashboard(opened: Callable[..., Dashboard]) -> None:
    dashboard = opened(tokens=TOKENS, mounted=MOUNTED)
    response = dashboard.send("/mcp", "POST", [], body=b"{}")
    assert response.status == 401
    assert response.headers["www-authenticate"].startswith("Bearer ")
    # A cookie would be sent by other pages, too.
    signed_in = dashboard.post("/sign-in", {"token": ACME})
    cookie = signed_in.headers["set-cookie"].partition(";")[0]
    assert dashboard.get("/api/v1/openapi.json", cookie=cookie).status == 200
    assert dashboard.send("/mcp", "POST", [("Cookie", cookie)], body=b"{}").status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),
        ([("Origin", "https://evil.example.com")], 403),
        ([("Sec-Fetch-Site", "cross-site")], 403),
        ([("Origin", "null")], 403),
        ([("Host", "evil.example.com")], 421),
    ],
)
def test_a_page_of_another_server_cannot_post_to_it_on_this_machine(
    opened: Callable[..., Dashboard], headers: list[tuple[str, str]], status: int
) -> None:
    dashboard = opened(mounted=MOUNTED)
    assert dashboard.send("/mcp", "POST", headers, body=b"{}").status == status


@pytest.mark.asyncio
async def test_what_it_needs_is_open_while_the_service_runs(database_url: str) -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None]:
        events.append("opened")
        yield
        events.append("closed")

    app = create_app(
        DashboardOptions(database_url=database_url), [MountedApp("/mcp", echo, lifespan)]
    )
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> dict[str, str]:
        message = next(messages)
        if message["type"] == "lifespan.shutdown":
            assert (await ask(app, "/mcp")).json()["viewer"] == "this machine"
            assert events == ["opened"]
        return message

    async def send(_message: object) -> None:
        pass

    await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    assert events == ["opened", "closed"]


@pytest.mark.asyncio
async def test_a_websocket_is_closed(database_url: str) -> None:
    app = create_app(DashboardOptions(database_url=database_url), MOUNTED)
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app({"type": "websocket", "path": "/mcp", "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
