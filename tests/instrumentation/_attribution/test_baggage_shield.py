"""No baggage reaches a provider through any method of its SDK, recorded or not."""

from __future__ import annotations

import contextlib
import contextvars
import inspect
from operator import attrgetter
from typing import TYPE_CHECKING

import anthropic
import openai
import pytest
import pytest_asyncio
from opentelemetry import baggage, context
from opentelemetry.propagate import inject

import tokenledger
from support.loopback import method_of
from support.sdk_calls import MESSAGES, PROMPT, Clients, Shape, send
from support.sdk_releases import async_http_client, sync_http_client
from tokenledger._calls.call import without_baggage
from tokenledger._calls.tracer import CallTracer
from tokenledger.instrumentors._stainless.request import async_request
from tokenledger.instrumentors.openai.apis import API

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Coroutine, Generator, Iterator

    from support.fake_provider import DemoProvider
    from support.sdk_calls import Sdk

KEY = "sk-canary-key"
_ASKED = {"model": "claude-sonnet-5", "messages": MESSAGES}
_MESSAGE = {**_ASKED, "max_tokens": 64}
_CHAT = {"model": "gpt-4o", "messages": MESSAGES}

_UNRECORDED = (
    Shape("count-tokens", "anthropic", "messages.count_tokens", _ASKED),
    Shape("parse-message", "anthropic", "messages.parse", _MESSAGE),
    Shape("parse-beta-message", "anthropic", "beta.messages.parse", _MESSAGE),
    Shape("batch", "anthropic", "messages.batches.create", {"requests": []}),
    Shape("count-raw", "anthropic", "messages.with_raw_response.count_tokens", _ASKED),
    Shape("parse-chat", "openai", "chat.completions.parse", _CHAT),
    Shape("moderation", "openai", "moderations.create", {"input": PROMPT}),
    Shape("completion", "openai", "completions.create", {"model": "gpt-4o", "prompt": PROMPT}),
    Shape("image", "openai", "images.generate", {"model": "gpt-image-1", "prompt": PROMPT}),
    Shape("list", "openai", "models.list", {}),
)
_REFUSED = (openai.NotFoundError, anthropic.NotFoundError)


def _inject(request: Sdk) -> None:
    """What an HTTP instrumentor does before a request leaves."""
    inject(request.headers)


async def _inject_async(request: Sdk) -> None:
    _inject(request)


@pytest.fixture
def traced(provider: DemoProvider, tls: ssl.SSLContext) -> Iterator[Clients]:
    """Sync clients under an HTTP instrumentor."""
    hooks = {"request": [_inject]}
    with (
        openai.OpenAI(
            base_url=provider.openai_base_url,
            api_key=KEY,
            max_retries=0,
            http_client=sync_http_client(openai, verify=tls, event_hooks=hooks),
        ) as for_openai,
        anthropic.Anthropic(
            base_url=provider.anthropic_base_url,
            api_key=KEY,
            max_retries=0,
            http_client=sync_http_client(anthropic, verify=tls, event_hooks=hooks),
        ) as for_anthropic,
    ):
        yield Clients(for_openai, for_anthropic)


@pytest_asyncio.fixture
async def async_traced(provider: DemoProvider, tls: ssl.SSLContext) -> AsyncIterator[Clients]:
    """Async clients under an HTTP instrumentor."""
    hooks = {"request": [_inject_async]}
    async with (
        openai.AsyncOpenAI(
            base_url=provider.openai_base_url,
            api_key=KEY,
            max_retries=0,
            http_client=async_http_client(openai, verify=tls, event_hooks=hooks),
        ) as for_openai,
        anthropic.AsyncAnthropic(
            base_url=provider.anthropic_base_url,
            api_key=KEY,
            max_retries=0,
            http_client=async_http_client(anthropic, verify=tls, event_hooks=hooks),
        ) as for_anthropic,
    ):
        yield Clients(for_openai, for_anthropic)


def _skip_if_missing(clients: Clients, shape: Shape) -> None:
    try:
        attrgetter(shape.method)(clients.of(shape))
    except AttributeError:
        pytest.skip("this release of the SDK has no such method")


def _baggage(provider: DemoProvider) -> list[str | None]:
    return [request.headers.get("baggage") for request in provider.requests]


@pytest.mark.parametrize("shape", _UNRECORDED, ids=str)
@pytest.mark.usefixtures("ledger")
def test_no_baggage_is_sent_by_a_method_that_is_not_recorded(
    traced: Clients, provider: DemoProvider, shape: Shape
) -> None:
    _skip_if_missing(traced, shape)
    with tokenledger.attribution(user_id="u-secret"):
        before = context.get_current()
        with contextlib.suppress(*_REFUSED):
            send(traced, shape)
        assert context.get_current() is before
    assert _baggage(provider) == [None]
    assert "secret" not in str(provider.requests[0].headers)


@pytest.mark.parametrize("shape", _UNRECORDED, ids=str)
@pytest.mark.usefixtures("ledger")
@pytest.mark.asyncio
async def test_no_baggage_is_sent_by_an_async_method_that_is_not_recorded(
    async_traced: Clients, provider: DemoProvider, shape: Shape
) -> None:
    _skip_if_missing(async_traced, shape)
    with tokenledger.attribution(user_id="u-secret"):
        before = context.get_current()
        with contextlib.suppress(*_REFUSED):
            await send(async_traced, shape)
        assert context.get_current() is before
    assert _baggage(provider) == [None]
    assert "secret" not in str(provider.requests[0].headers)


@pytest.mark.usefixtures("ledger")
def test_unpatched_requests_carry_what_the_app_sends(
    traced: Clients, provider: DemoProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After unpatching, the app's baggage is its own business."""
    stored_method = traced.openai.request
    tokenledger.unpatch_openai()
    # Another tool may still reference the wrapped method.
    monkeypatch.setattr(traced.openai, "request", stored_method)
    with tokenledger.attribution(user_id="u1"), contextlib.suppress(*_REFUSED):
        traced.openai.moderations.create(input=PROMPT)
    assert _baggage(provider) == ["user.id=u1"]


@pytest.mark.usefixtures("ledger")
@pytest.mark.asyncio
async def test_unpatched_async_requests_carry_what_the_app_sends(
    async_traced: Clients, provider: DemoProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_method = async_traced.openai.request
    tokenledger.unpatch_openai()
    monkeypatch.setattr(async_traced.openai, "request", stored_method)
    with tokenledger.attribution(user_id="u1"), contextlib.suppress(*_REFUSED):
        await async_traced.openai.moderations.create(input=PROMPT)
    assert _baggage(provider) == ["user.id=u1"]


@pytest.mark.usefixtures("ledger")
def test_a_disabled_ledger_leaves_baggage_to_the_app(
    traced: Clients, provider: DemoProvider
) -> None:
    tokenledger.configure(enabled=False)
    count_tokens = method_of(traced.anthropic, "messages.count_tokens")
    token = context.attach(baggage.set_baggage("theirs", "1"))
    with contextlib.suppress(*_REFUSED):
        count_tokens(**_ASKED)
    context.detach(token)
    assert _baggage(provider) == ["theirs=1"]


@pytest.mark.usefixtures("ledger")
def test_the_signature_of_a_request_is_the_sdks_own(
    clients: Clients, async_clients: Clients
) -> None:
    for sdk in (
        clients.openai,
        clients.anthropic,
        async_clients.openai,
        async_clients.anthropic,
    ):
        ours = sdk.request
        tokenledger.unpatch_openai()
        tokenledger.unpatch_anthropic()
        bare = sdk.request
        tokenledger.patch_openai()
        tokenledger.patch_anthropic()
        assert hasattr(ours, "__wrapped__")
        assert not hasattr(bare, "__wrapped__")
        assert inspect.signature(ours) == inspect.signature(bare)
        assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(bare)


class _Recording:
    """An instrumentor that records."""

    tracer = CallTracer("test")


class _Options:
    """A request that is not a model call."""

    url = "/models"
    method = "get"
    headers = None
    json_data = None
    extra_json = None


def test_without_baggage_the_context_object_does_not_change() -> None:
    before = context.get_current()
    with without_baggage():
        assert context.get_current() is before


class _Waiting:
    """A request that waits for its answer."""

    def __await__(self) -> Generator[dict[str, object], None, None]:
        yield dict(baggage.get_all())


async def _request(*_given: object) -> None:
    await _Waiting()


def _started() -> Coroutine[dict[str, object], None, None]:
    sent = async_request(API, _Recording(), _request)(None, None, _Options())
    assert inspect.iscoroutine(sent)
    return sent


def test_the_context_of_the_await_counts() -> None:
    """A coroutine may be created before a scope and awaited inside it."""
    sent = _started()
    with tokenledger.attribution(user_id="u1"):
        assert sent.send(None) == {}
        with pytest.raises(StopIteration):
            sent.send(None)
        assert baggage.get_all() == {"user.id": "u1"}


def test_an_abandoned_request_does_not_change_the_context_it_is_closed_in() -> None:
    sent = _started()
    elsewhere = contextvars.copy_context()
    token = elsewhere.run(context.attach, baggage.set_baggage("theirs", "1"))
    assert elsewhere.run(sent.send, None) == {}
    before = context.get_current()
    sent.close()
    assert context.get_current() is before
    elsewhere.run(context.detach, token)
