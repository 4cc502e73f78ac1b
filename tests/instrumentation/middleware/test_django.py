"""`DjangoMiddleware`: sync and async views, and the bodies they stream."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import context

from support.spans import attributes_of
from tokenledger import _guard, attribution, track_cost
from tokenledger.middleware import DjangoMiddleware
from tokenledger_semconv.attributes import ENDPOINT, METADATA_PREFIX, SESSION_ID, USER_ID

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from support.ledger_in_memory import LedgerInMemory

Django = Any
"""Django brings no types of its own."""

HEADERS = {"X-User-ID": "u1", "X-Session-ID": "s1", "X-Request-ID": "r1"}


def _call(**_ignored: object) -> None:
    track_cost(1_000, 0, "gpt-4o")


def _item(_request: Django, item_id: int) -> Django:
    _call()
    return _http().HttpResponse(str(item_id))


async def _async_item(_request: Django, item_id: int) -> Django:
    await asyncio.sleep(0)
    _call()
    return _http().HttpResponse(str(item_id))


def _streamed(_request: Django) -> Django:
    def body() -> Iterator[str]:
        with attribution(feature="stream"):
            for part in "ab":
                _call()
                yield part

    return _http().StreamingHttpResponse(body())


async def _async_streamed(_request: Django) -> Django:
    async def body() -> AsyncIterator[str]:
        for part in "ab":
            await asyncio.sleep(0)
            _call()
            yield part

    await asyncio.sleep(0)
    return _http().StreamingHttpResponse(body())


def _fails(_request: Django) -> Django:
    raise RuntimeError


def _http() -> Django:
    return importlib.import_module("django.http")


def path_of(request: Django) -> object:
    return request.path.split("/")[2] or None


@pytest.fixture(scope="module", autouse=True)
def django() -> Django:
    """A project in one module, with the views of this file."""
    settings: Django = importlib.import_module("django.conf").settings
    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"],
            DEBUG_PROPAGATE_EXCEPTIONS=False,
            MIDDLEWARE=["tokenledger.middleware.DjangoMiddleware"],
            ROOT_URLCONF=__name__,
            SECRET_KEY="canary",
        )
        importlib.import_module("django").setup()
    path: Django = importlib.import_module("django.urls").path
    globals()["urlpatterns"] = [
        path("items/<int:item_id>/", _item),
        path("async/<int:item_id>/", _async_item),
        path("streamed/", _streamed),
        path("async-streamed/", _async_streamed),
        path("fails/", _fails),
    ]
    return settings


@pytest.fixture
def client() -> Django:
    return importlib.import_module("django.test").Client(raise_request_exception=False)


@pytest.fixture
def async_client() -> Django:
    return importlib.import_module("django.test").AsyncClient()


def _said(ledger: LedgerInMemory, name: str = USER_ID) -> list[Any]:
    return [attributes_of(span).get(name) for span in ledger.spans]


@pytest.mark.parametrize(
    ("path", "route", "calls"),
    [
        ("/items/5/", "items/<int:item_id>/", 1),
        ("/async/5/", "async/<int:item_id>/", 1),
        ("/streamed/", "streamed/", 2),
    ],
    ids=["view", "async-view", "stream"],
)
def test_calls_are_attributed_to_their_request(
    ledger: LedgerInMemory, client: Django, path: str, route: str, calls: int
) -> None:
    before = context.get_current()
    assert client.get(path, headers=HEADERS).getvalue() in {b"5", b"ab"}
    assert _said(ledger) == ["u1"] * calls
    assert _said(ledger, SESSION_ID) == ["s1"] * calls
    assert _said(ledger, METADATA_PREFIX + "request_id") == ["r1"] * calls
    assert _said(ledger, ENDPOINT) == [route] * calls
    assert context.get_current() == before


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/items/5/", "/async/5/"], ids=["view", "async-view"])
async def test_calls_are_attributed_to_their_request_by_an_async_server(
    ledger: LedgerInMemory, async_client: Django, path: str
) -> None:
    before = context.get_current()
    assert (await async_client.get(path, headers=HEADERS)).content == b"5"
    assert _said(ledger) == ["u1"]
    assert context.get_current() == before


@pytest.mark.asyncio
async def test_an_async_body_is_attributed(ledger: LedgerInMemory, async_client: Django) -> None:
    before = context.get_current()
    answer = await async_client.get("/async-streamed/", headers=HEADERS)
    async for _ in answer.streaming_content:
        assert context.get_current() == before
    assert _said(ledger) == ["u1", "u1"]
    assert _said(ledger, ENDPOINT) == ["async-streamed/"] * 2


@pytest.mark.asyncio
async def test_concurrent_async_requests_never_mix(
    ledger: LedgerInMemory, async_client: Django
) -> None:
    users = [f"u{number}" for number in range(50)]
    sent = (async_client.get("/async/5/", headers={"X-User-ID": user}) for user in users)
    await asyncio.gather(*sent)
    assert sorted(_said(ledger)) == sorted(users)


def test_the_middleware_is_async_if_its_handler_is() -> None:
    async def asynchronous(_request: object) -> None: ...

    asgiref: Any = importlib.import_module("asgiref.sync")
    assert asgiref.iscoroutinefunction(DjangoMiddleware(asynchronous))
    assert not asgiref.iscoroutinefunction(DjangoMiddleware(lambda _request: None))
    assert DjangoMiddleware.async_capable
    assert DjangoMiddleware.sync_capable
    assert not inspect.iscoroutinefunction(DjangoMiddleware)


def test_a_view_that_fails_leaves_no_context_behind(ledger: LedgerInMemory, client: Django) -> None:
    before = context.get_current()
    assert client.get("/fails/", headers=HEADERS).status_code == 500
    assert context.get_current() == before
    assert not ledger.spans


def test_the_projects_settings_are_the_options(
    ledger: LedgerInMemory, client: Django, django: Django, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"get_user": f"{__name__}.path_of", "cost_header": True, "session_header": None}
    monkeypatch.setattr(django, "TOKENLEDGER_MIDDLEWARE", options, raising=False)
    answer = client.get("/items/5/", headers=HEADERS)
    assert answer.headers["X-LLM-Cost"] == "0.0025"
    assert ledger.only()[USER_ID] == "5"
    assert SESSION_ID not in ledger.only()


def test_settings_that_cannot_be_read_are_reported_and_the_app_starts(
    ledger: LedgerInMemory, client: Django, django: Django, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"get_user": "no.such.function"}
    monkeypatch.setattr(django, "TOKENLEDGER_MIDDLEWARE", options, raising=False)
    assert client.get("/items/5/", headers=HEADERS).status_code == 200
    assert _said(ledger) == ["u1"]
    assert _guard.counts() == {"reading TOKENLEDGER_MIDDLEWARE": 1}
    _guard.reset()
