"""With an HTTP instrumentor in the app, and the SDK's own propagation on, no baggage is sent."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI
from opentelemetry import baggage, context

import tokenledger
from support.sdk_calls import ALL, CHAT, MESSAGE, Clients, run, run_async

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator

    from support.fake_provider import DemoProvider
    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Shape
    from support.spans import AppTracing

KEY = "sk-canary-key"
# The SDKs moved from httpx to httpx2; each library has its own instrumentor.
_INSTRUMENTORS = {"httpx": "HTTPXClientInstrumentor", "httpx2": "HTTPX2ClientInstrumentor"}


@pytest.fixture(autouse=True)
def _http_instrumentors(app: AppTracing) -> Iterator[None]:
    room: Any = importlib.import_module("opentelemetry.instrumentation.httpx")
    made = [
        getattr(room, name)()
        for library, name in _INSTRUMENTORS.items()
        if importlib.util.find_spec(library) is not None
    ]
    for instrumentor in made:
        instrumentor.instrument(tracer_provider=app.provider)
    yield
    for instrumentor in made:
        instrumentor.uninstrument()


@pytest.fixture
def traced(provider: DemoProvider) -> Iterator[Clients]:
    """Clients with their own transports, created while the instrumentor is active."""
    with (
        OpenAI(base_url=provider.openai_base_url, api_key=KEY, max_retries=0) as openai,
        Anthropic(base_url=provider.anthropic_base_url, api_key=KEY, max_retries=0) as anthropic,
    ):
        yield Clients(openai, anthropic)


@pytest_asyncio.fixture
async def async_traced(provider: DemoProvider, tls: ssl.SSLContext) -> AsyncIterator[Clients]:
    """The same, async."""
    del tls
    async with (
        AsyncOpenAI(base_url=provider.openai_base_url, api_key=KEY, max_retries=0) as openai,
        AsyncAnthropic(
            base_url=provider.anthropic_base_url, api_key=KEY, max_retries=0
        ) as anthropic,
    ):
        yield Clients(openai, anthropic)


def _sent(provider: DemoProvider) -> list[tuple[bool, str | None]]:
    """For every request: whether it carries a trace, and its baggage."""
    return [
        ("traceparent" in request.headers, request.headers.get("baggage"))
        for request in provider.requests
    ]


@pytest.mark.parametrize("shape", [CHAT, MESSAGE], ids=str)
def test_without_us_baggage_is_sent(traced: Clients, provider: DemoProvider, shape: Shape) -> None:
    """The other tests rely on this."""
    token = context.attach(baggage.set_baggage("user.id", "u-secret"))
    run(traced, shape)
    context.detach(token)
    assert _sent(provider) == [(True, "user.id=u-secret")]


@pytest.mark.parametrize("shape", ALL, ids=str)
def test_no_baggage_reaches_a_provider(
    ledger: LedgerInMemory, traced: Clients, provider: DemoProvider, shape: Shape
) -> None:
    with tokenledger.attribution(user_id="u-secret", tier="gold"):
        run(traced, shape)
    assert _sent(provider) == [(True, None)]
    assert "secret" not in str(provider.requests[0].headers)
    assert ledger.only()["user.id"] == "u-secret"


@pytest.mark.parametrize("shape", ALL, ids=str)
@pytest.mark.asyncio
async def test_no_baggage_reaches_a_provider_from_async_clients(
    ledger: LedgerInMemory, async_traced: Clients, provider: DemoProvider, shape: Shape
) -> None:
    with tokenledger.attribution(user_id="u-secret", tier="gold"):
        await run_async(async_traced, shape)
    assert _sent(provider) == [(True, None)]
    assert "secret" not in str(provider.requests[0].headers)
    assert ledger.only()["user.id"] == "u-secret"
