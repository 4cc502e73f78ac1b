"""`TokenLedger(app)` for Flask: attribution of the view and of the body it streams."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, Response, request, send_file, session
from opentelemetry import baggage, context

from support.spans import attributes_of
from tokenledger import _guard, attribution, track_cost
from tokenledger.middleware import TokenLedger
from tokenledger_semconv.attributes import (
    ENDPOINT,
    METADATA_PREFIX,
    SESSION_ID,
    USER_ID,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.ledger_in_memory import LedgerInMemory

HEADERS = {"X-User-ID": "u1", "X-Session-ID": "s1", "X-Request-ID": "r1"}


def _call() -> None:
    track_cost(1_000, 0, "gpt-4o", metadata={"asked": request.path} if request else None)


def _said(ledger: LedgerInMemory, name: str = USER_ID) -> list[Any]:
    return [attributes_of(span).get(name) for span in ledger.spans]


def _routes(app: Flask) -> None:
    app.secret_key = "canary"

    @app.before_request
    def before() -> None:  # pyright: ignore[reportUnusedFunction] - Flask has it
        if request.path == "/early":
            _call()

    @app.get("/items/<int:item_id>")
    def item(item_id: int) -> str:  # pyright: ignore[reportUnusedFunction]
        _call()
        return str(item_id)

    @app.get("/streamed")
    def streamed() -> Response:  # pyright: ignore[reportUnusedFunction]
        def body() -> Iterator[str]:
            with attribution(feature="stream"):
                for part in "ab":
                    _call()
                    yield part

        return Response(body())

    @app.get("/early")
    def early() -> str:  # pyright: ignore[reportUnusedFunction]
        return ""


def _further_routes(app: Flask) -> None:
    @app.get("/login/<user>")
    def login(user: str) -> str:  # pyright: ignore[reportUnusedFunction]
        session["user"] = user
        return ""

    @app.get("/file")
    def file() -> Response:  # pyright: ignore[reportUnusedFunction]
        return send_file(io.BytesIO(b"data"), mimetype="text/plain")

    @app.get("/fails")
    def fails() -> str:  # pyright: ignore[reportUnusedFunction]
        raise RuntimeError


def _app(**options: Any) -> Flask:  # noqa: ANN401 - the middleware's own options
    app = Flask(__name__)
    _routes(app)
    _further_routes(app)
    TokenLedger(app, **options)
    return app


@pytest.mark.parametrize(
    ("path", "rule", "calls"),
    [
        ("/items/5", "/items/<int:item_id>", 1),
        ("/streamed", "/streamed", 2),
        ("/early", "/early", 1),
    ],
    ids=["view", "stream", "before-request"],
)
def test_calls_are_attributed_to_their_request(
    ledger: LedgerInMemory, path: str, rule: str, calls: int
) -> None:
    before = context.get_current()
    answer = _app().test_client().get(path, headers=HEADERS)
    assert answer.status_code == 200
    assert answer.data in {b"5", b"ab", b""}
    assert _said(ledger) == ["u1"] * calls
    assert _said(ledger, SESSION_ID) == ["s1"] * calls
    assert _said(ledger, METADATA_PREFIX + "request_id") == ["r1"] * calls
    assert _said(ledger, ENDPOINT) == [rule] * calls
    assert context.get_current() == before


def test_between_the_parts_of_a_body_the_servers_context_is_in_force(
    ledger: LedgerInMemory,
) -> None:
    before = context.get_current()
    streamed = _app().test_client().get("/streamed", headers=HEADERS, buffered=False)
    for _ in streamed.iter_encoded():
        assert context.get_current() == before
        track_cost(1, 1, "gpt-4o")
    streamed.close()
    assert _said(ledger) == ["u1", None, "u1", None]


def test_a_body_left_early_is_closed_and_leaves_no_context_behind(ledger: LedgerInMemory) -> None:
    before = context.get_current()
    streamed = _app().test_client().get("/streamed", headers=HEADERS, buffered=False)
    next(iter(streamed.iter_encoded()))
    streamed.close()
    track_cost(1, 1, "gpt-4o")
    assert _said(ledger) == ["u1", None]
    assert context.get_current() == before


def test_a_view_that_fails_leaves_no_context_behind(ledger: LedgerInMemory) -> None:
    before = context.get_current()
    assert _app().test_client().get("/fails", headers=HEADERS).status_code == 500
    assert context.get_current() == before
    assert not ledger.spans


def test_a_session_names_the_user_of_a_view(ledger: LedgerInMemory) -> None:
    def user_of(_request: object) -> object:
        return session.get("user")

    client = _app(get_user=user_of).test_client()
    client.get("/login/u7")
    client.get("/items/5", headers=HEADERS)
    assert client.get("/streamed", headers=HEADERS).data == b"ab"
    assert _said(ledger) == ["u7"] * 3
    assert not _guard.counts()


def test_an_unknown_path_has_no_endpoint(ledger: LedgerInMemory) -> None:
    app = _app()
    app.register_error_handler(404, _not_found)
    app.test_client().get("/users/4711")
    assert ENDPOINT not in ledger.only()


def _not_found(_error: Exception) -> tuple[str, int]:
    _call()
    return "", 404


@pytest.mark.usefixtures("ledger")
def test_the_response_reports_the_cost_up_to_its_headers() -> None:
    client = _app(cost_header=True).test_client()
    assert client.get("/items/5").headers["X-LLM-Cost"] == "0.0025"
    assert "X-LLM-Cost" not in client.get("/streamed").headers
    assert "X-LLM-Cost" not in _app().test_client().get("/items/5").headers


def test_a_file_is_still_sent_by_the_server() -> None:
    assert _app().test_client().get("/file").data == b"data"


def test_initializing_an_app_twice_attributes_it_once(ledger: LedgerInMemory) -> None:
    app = _app()
    serve = app.wsgi_app
    extension = TokenLedger()
    extension.init_app(app)
    assert app.wsgi_app is serve
    app.test_client().get("/items/5", headers=HEADERS)
    assert _said(ledger) == ["u1"]


def test_a_request_that_cannot_be_read_goes_on(
    ledger: LedgerInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("tokenledger.middleware.flask_requests._header", broken)
    assert _app().test_client().get("/items/5", headers=HEADERS).status_code == 200
    assert _said(ledger) == [None]
    assert _guard.counts() == {"reading a request": 1}
    _guard.reset()


def test_spoofed_baggage_neither_counts_nor_travels_on(
    ledger: LedgerInMemory, extracted: Callable[[str], None]
) -> None:
    app = _app()
    seen: list[object] = []
    app.before_request(lambda: seen.append(dict(baggage.get_all())))
    extracted("user.id=spoofed,other=x")
    app.test_client().get("/items/5")
    assert _said(ledger) == [None]
    assert seen == [{"other": "x"}]


def test_workers_that_serve_many_users_never_mix_them(ledger: LedgerInMemory) -> None:
    app = _app()

    def ask(number: int) -> None:
        user = f"u{number % 50}"
        path = f"/items/{number % 50}"
        app.test_client().get(path, headers={"X-User-ID": user})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(500)))
    rows = [attributes_of(span) for span in ledger.spans]
    assert len(rows) == 500
    path_key = METADATA_PREFIX + "asked"
    assert [row for row in rows if row[USER_ID] != "u" + row[path_key].rpartition("/")[2]] == []
