"""`FastAPIMiddleware`: a request's calls are attributed to its user, and to no one else."""

from __future__ import annotations

import asyncio
import importlib
import logging
import random
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, BackgroundTasks, FastAPI, WebSocket  # noqa: TC002 - FastAPI reads them
from fastapi.responses import StreamingResponse
from opentelemetry import baggage, context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagate import inject

from support.asgi_requests import ask
from support.spans import attributes_of
from tokenledger import _guard, attribution, track_cost
from tokenledger.middleware import FastAPIMiddleware
from tokenledger_semconv.attributes import (
    ENDPOINT,
    FEATURE,
    METADATA_PREFIX,
    SESSION_ID,
    TEAM,
    USER_ID,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping

    from support.ledger_in_memory import LedgerInMemory

REQUEST_ID = METADATA_PREFIX + "request_id"
SPOOFED = "user.id=spoofed,tokenledger.team=theirs,tokenledger.metadata.tier=gold,other=x"


def _call() -> None:
    track_cost(1_000, 0, "gpt-4o")


def _app(**options: Any) -> FastAPI:  # noqa: ANN401 - the middleware's own options
    app = FastAPI()
    app.add_middleware(FastAPIMiddleware, **options)
    router = APIRouter()

    @router.get("/items/{item_id}")
    async def item(item_id: str) -> str:
        _call()
        await asyncio.sleep(0)
        _call()
        return item_id

    @app.get("/threaded/{item_id}")
    def threaded(item_id: str) -> str:
        _call()
        return item_id

    @app.get("/streamed")
    async def streamed() -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            for part in "ab":
                await asyncio.sleep(0)
                _call()
                yield part

        return StreamingResponse(body())

    @app.get("/behind")
    async def behind(background: BackgroundTasks) -> None:
        background.add_task(_call)

    @app.get("/scoped")
    async def scoped() -> None:
        with attribution(user_id="ours", feature="chat"):
            _call()

    @app.get("/onward")
    async def onward() -> dict[str, str]:
        sent: dict[str, str] = {}
        inject(sent)
        _call()
        return sent

    @app.websocket("/socket/{room}")
    async def socket(websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        _call()
        await websocket.send_text(room)
        await websocket.close()

    app.include_router(router, prefix="/v1")
    tenants = FastAPI()
    tenants.include_router(router, prefix="/x")
    app.mount("/tenants/{tenant}", tenants)
    return app


class Extracting:
    """What a server's OpenTelemetry instrumentation does around an app."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: object, send: object
    ) -> None:
        headers = {key.decode(): value.decode() for key, value in scope.get("headers", ())}
        token = context.attach(W3CBaggagePropagator().extract(headers))
        try:
            await self._app(scope, receive, send)
        finally:
            context.detach(token)


def _said(ledger: LedgerInMemory, name: str = USER_ID) -> list[Any]:
    return [attributes_of(span).get(name) for span in ledger.spans]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "template", "calls"),
    [
        ("/v1/items/5", "/v1/items/{item_id}", 2),
        ("/threaded/5", "/threaded/{item_id}", 1),
        ("/streamed", "/streamed", 2),
        ("/behind", "/behind", 1),
        ("/tenants/acme/x/items/5", "/tenants/{tenant}/x/items/{item_id}", 2),
    ],
    ids=["router", "thread", "stream", "background", "mounted"],
)
async def test_calls_are_attributed_to_their_request(
    ledger: LedgerInMemory, path: str, template: str, calls: int
) -> None:
    headers = {"X-User-ID": "u1", "X-Session-ID": "s1", "X-Request-ID": "r1"}
    before = context.get_current()
    assert (await ask(_app(), path, headers)).status == 200
    assert _said(ledger) == ["u1"] * calls
    assert _said(ledger, SESSION_ID) == ["s1"] * calls
    assert _said(ledger, REQUEST_ID) == ["r1"] * calls
    assert _said(ledger, ENDPOINT) == [template] * calls
    assert context.get_current() is before


@pytest.mark.asyncio
async def test_nothing_is_left_for_the_next_request(ledger: LedgerInMemory) -> None:
    app = _app()
    await ask(app, "/threaded/1", {"X-User-ID": "u1"})
    await ask(app, "/threaded/2")
    _call()
    assert _said(ledger) == ["u1", None, None]
    assert _said(ledger, ENDPOINT) == ["/threaded/{item_id}"] * 2 + [None]


@pytest.mark.asyncio
async def test_attribution_in_the_handler_takes_precedence(ledger: LedgerInMemory) -> None:
    await ask(_app(), "/scoped", {"X-User-ID": "u1"})
    said = ledger.only()
    assert (said[USER_ID], said[FEATURE], said[ENDPOINT]) == ("ours", "chat", "/scoped")


def test_a_websocket_is_attributed(ledger: LedgerInMemory) -> None:
    testclient: Any = importlib.import_module("starlette.testclient")
    client: Any = testclient.TestClient(_app())
    with client.websocket_connect("/socket/7", headers={"X-User-ID": "u1"}) as socket:
        assert socket.receive_text() == "7"
    assert ledger.only()[USER_ID] == "u1"
    assert ledger.only()[ENDPOINT] == "/socket/{room}"


def test_the_lifespan_passes_through() -> None:
    started: list[str] = []

    async def app(scope: MutableMapping[str, Any], _receive: object, _send: object) -> None:
        started.append(scope["type"])

    ours: Any = FastAPIMiddleware(app)
    asyncio.run(ours({"type": "lifespan"}, None, None))
    assert started == ["lifespan"]


@pytest.mark.asyncio
async def test_a_path_without_a_route_is_not_an_endpoint(ledger: LedgerInMemory) -> None:
    async def bare(scope: MutableMapping[str, Any], _receive: object, send: Any) -> None:  # noqa: ANN401 - the server's
        del scope
        _call()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await ask(FastAPIMiddleware(bare), "/users/4711")
    assert ENDPOINT not in ledger.only()


@pytest.mark.asyncio
async def test_the_apps_own_function_names_the_user_and_the_header_is_not_read(
    ledger: LedgerInMemory,
) -> None:
    def user_of(scope: MutableMapping[str, Any]) -> object:
        return scope["path"].rpartition("/")[2] if "7" in scope["path"] else None

    app = _app(get_user=user_of)
    await ask(app, "/threaded/7", {"X-User-ID": "spoofed"})
    await ask(app, "/threaded/8", {"X-User-ID": "spoofed"})
    assert _said(ledger) == ["7", None]


@pytest.mark.asyncio
@pytest.mark.usefixtures("ledger")
async def test_the_apps_own_function_is_called_with_each_call_until_it_returns_a_user() -> None:
    paths: list[str] = []

    def user_of(scope: MutableMapping[str, Any]) -> object:
        paths.append(scope["path"])
        return "u1" if len(paths) > 1 else None

    app = _app(get_user=user_of)
    await ask(app, "/nowhere")
    assert not paths
    await ask(app, "/v1/items/5")
    assert len(paths) == 2
    await ask(app, "/v1/items/6")
    assert len(paths) == 3


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["raises", "coroutine"])
async def test_a_function_that_fails_is_reported_and_the_request_goes_on(
    ledger: LedgerInMemory, kind: str
) -> None:
    def raising(_scope: object) -> object:
        raise RuntimeError

    async def waiting(_scope: object) -> object:
        raise AssertionError

    user_of: Any = raising if kind == "raises" else waiting
    app = _app(get_user=user_of)
    assert (await ask(app, "/threaded/7")).status == 200
    assert _said(ledger) == [None]
    assert _guard.counts().keys() == {"middleware(get_user=)"}
    _guard.reset()


@pytest.mark.asyncio
async def test_a_request_that_cannot_be_read_goes_on(
    ledger: LedgerInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("tokenledger.middleware.asgi._header", broken)
    app = _app(cost_header=True)
    answer = await ask(app, "/threaded/7")
    assert answer.status == 200
    assert len(ledger.spans) == 1
    assert _guard.counts() == {"reading a request": 1}
    _guard.reset()


@pytest.mark.asyncio
async def test_headers_can_be_renamed_or_disabled(ledger: LedgerInMemory) -> None:
    app = _app(user_header="X-Who", session_header=None, request_id_header="X-Trace")
    headers = {"X-Who": "u1", "X-User-ID": "no", "X-Session-ID": "no", "X-Trace": "r1"}
    await ask(app, "/threaded/7", headers)
    said = ledger.only()
    assert (said[USER_ID], said[REQUEST_ID]) == ("u1", "r1")
    assert SESSION_ID not in said


@pytest.mark.asyncio
async def test_two_different_user_headers_are_ignored(ledger: LedgerInMemory) -> None:
    await ask(_app(), "/threaded/7", [("X-User-ID", "u1"), ("x-user-id", "u2")])
    assert USER_ID not in ledger.only()


@pytest.mark.asyncio
@pytest.mark.usefixtures("ledger")
async def test_the_response_reports_the_cost_up_to_its_headers() -> None:
    app = _app(cost_header=True)
    answers = [await ask(app, path) for path in ("/v1/items/5", "/streamed", "/behind")]
    assert answers[0].headers["x-llm-cost"] == "0.005"
    assert 2 * Decimal("0.0025") == Decimal("0.005")
    # These calls end after the headers were sent: their cost is not known yet, so it is not 0.
    assert all("x-llm-cost" not in answer.headers for answer in answers[1:])


@pytest.mark.asyncio
async def test_calls_without_a_cost_are_counted_next_to_the_cost(
    ledger: LedgerInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_price(*_call: object, **_options: object) -> None:
        return None

    monkeypatch.setattr(ledger, "price", no_price)
    headers = (await ask(_app(cost_header=True), "/v1/items/5")).headers
    assert headers["x-llm-calls-without-cost"] == "2"
    assert "x-llm-cost" not in headers


@pytest.mark.asyncio
@pytest.mark.usefixtures("ledger")
async def test_the_cost_is_reported_only_on_request() -> None:
    assert "x-llm-cost" not in (await ask(_app(), "/v1/items/5")).headers


@pytest.mark.asyncio
async def test_spoofed_baggage_neither_counts_nor_travels_on(ledger: LedgerInMemory) -> None:
    app = Extracting(_app())
    sent = await ask(app, "/onward", {"baggage": SPOOFED, "X-User-ID": "u1"})
    said = ledger.only()
    assert said[USER_ID] == "u1"
    assert not {TEAM, METADATA_PREFIX + "tier"} & said.keys()
    assert sent.json() == {"baggage": "other=x"}


@pytest.mark.asyncio
async def test_trusted_baggage_counts_and_travels_on(
    ledger: LedgerInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_TRUST_BAGGAGE", "user_id")
    app = Extracting(_app())
    sent = await ask(app, "/onward", {"baggage": SPOOFED})
    assert ledger.only()[USER_ID] == "spoofed"
    assert TEAM not in ledger.only()
    assert sorted(sent.json()["baggage"].split(",")) == ["other=x", "user.id=spoofed"]


@pytest.mark.asyncio
async def test_a_gateways_header_beats_trusted_baggage(
    ledger: LedgerInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_TRUST_BAGGAGE", "*")
    app = Extracting(_app())
    await ask(app, "/onward", {"baggage": SPOOFED, "X-User-ID": "u1"})
    assert ledger.only()[USER_ID] == "u1"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "header",
    [
        "user.id=" + "x" * 9_000,
        "user.id=" + "x" * 5_000,
        "user.id=%00nul",
        "user.id=a,user.id=b",
        "user.id=,tokenledger.team",
        "x" * 300,
        ";;=,,",
    ],
    ids=["oversized", "long-member", "nul", "duplicated", "empty", "no-value", "garbage"],
)
async def test_a_hostile_header_changes_nothing_and_is_never_logged_whole(
    ledger: LedgerInMemory, header: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    app = Extracting(_app())
    answer = await ask(app, "/onward", {"baggage": header, "X-User-ID": "u1"})
    assert answer.json() == {}
    assert ledger.only()[USER_ID] == "u1"
    assert TEAM not in ledger.only()
    lines = [record.getMessage() for record in caplog.records]
    assert not any("x" * 100 in line for line in lines)


@pytest.mark.asyncio
async def test_baggage_the_app_set_itself_travels_on(ledger: LedgerInMemory) -> None:
    token = context.attach(baggage.set_baggage(USER_ID, "ours"))
    sent = await ask(_app(), "/onward")
    context.detach(token)
    assert sent.json() == {"baggage": "user.id=ours"}
    assert ledger.only()[USER_ID] == "ours"


@pytest.mark.asyncio
async def test_ten_thousand_requests_of_200_users_never_mix(ledger: LedgerInMemory) -> None:
    """Every call has the user of its request in its metadata, to compare with its attribution."""
    app = FastAPI()
    app.add_middleware(FastAPIMiddleware)

    @app.get("/ask/{user}")
    async def handle(user: str) -> None:
        for _ in range(random.randrange(3)):  # noqa: S311 - only the order of tasks depends on it
            await asyncio.sleep(0)
        track_cost(1, 1, "gpt-4o", metadata={"asked": user})
        await asyncio.sleep(0)

    users = [f"u{number % 200}" for number in range(10_000)]
    before = context.get_current()
    await asyncio.gather(*(ask(app, f"/ask/{user}", {"X-User-ID": user}) for user in users))
    assert context.get_current() is before
    rows = [attributes_of(span) for span in ledger.spans]
    assert len(rows) == 10_000
    assert [row for row in rows if row[USER_ID] != row[METADATA_PREFIX + "asked"]] == []
    assert {row[ENDPOINT] for row in rows} == {"/ask/{user}"}


def test_importing_the_package_loads_no_web_framework() -> None:
    look = (
        "import sys, tokenledger, tokenledger.middleware;"
        "tokenledger.middleware.FastAPIMiddleware;"
        "print([name for name in sys.modules if name.split('.')[0] in"
        " {'fastapi', 'starlette', 'flask', 'django', 'werkzeug'}])"
    )
    program = subprocess.run(
        [sys.executable, "-c", look], check=True, capture_output=True, text=True
    )
    assert program.stdout.strip() == "[]"
