"""A clean environment for every test, a ledger in memory, and the fake provider."""

from __future__ import annotations

import gc
import os
import ssl
from typing import TYPE_CHECKING

import anthropic as anthropic_sdk
import openai as openai_sdk
import pytest
import pytest_asyncio
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI
from opentelemetry import context
from opentelemetry.baggage.propagation import W3CBaggagePropagator

import tokenledger
from support.fake_provider import DemoProvider
from support.ledger_in_memory import LedgerInMemory
from support.sdk_calls import Clients
from support.sdk_releases import async_http_client
from support.spans import AppTracing
from tokenledger import _guard, _state
from tokenledger._attribution.baggage import note_remote_baggage
from tokenledger.instrumentors.openai import ask_for_usage as usage_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from opentelemetry.trace import TracerProvider

    from tokenledger_semconv.settings import Settings

KEY = "sk-canary-key"
_OURS = ("TOKENLEDGER_", "OTEL_", "DATABASE_URL", "OPENAI_", "ANTHROPIC_")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variables of ours, no patches, no memory of hosts, and no unexpected failure."""
    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
    monkeypatch.setattr(usage_request, "TARGETS", usage_request.UsageSupportCache())
    _guard.reset()
    before = context.get_current()
    yield
    tokenledger.unpatch_openai()
    tokenledger.unpatch_anthropic()
    tokenledger.shutdown()
    assert context.get_current() == before, "a context was left behind"
    assert _guard.counts() == {}, "a failure of ours went unnoticed"


@pytest.fixture
def ledgers(monkeypatch: pytest.MonkeyPatch) -> list[LedgerInMemory]:
    """The ledgers opened so far; `configure()` opens one in memory."""
    opened: list[LedgerInMemory] = []

    def install(provider: TracerProvider | None, settings: Settings) -> LedgerInMemory:
        ledger = LedgerInMemory(settings)
        if provider is not None:
            ledger.attach(provider)
        opened.append(ledger)
        return ledger

    monkeypatch.setattr(_state, "find_install", lambda: install)
    return opened


@pytest.fixture
def ledger(ledgers: list[LedgerInMemory]) -> LedgerInMemory:
    """A configured ledger, both SDKs patched, no tracing in the app."""
    tokenledger.configure()
    tokenledger.patch_openai()
    tokenledger.patch_anthropic()
    return ledgers[0]


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> AppTracing:
    """The app's own tracing as the global provider."""
    tracing = AppTracing()
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", tracing.provider)
    return tracing


@pytest.fixture(scope="session")
def _served() -> Iterator[DemoProvider]:
    with DemoProvider() as provider:
        yield provider


@pytest.fixture
def provider(_served: DemoProvider) -> DemoProvider:
    """The fake provider, without the state of an earlier test."""
    _served.requests.clear()
    while _served.next_script() is not None:
        pass
    return _served


@pytest.fixture(scope="session")
def clients(_served: DemoProvider) -> Iterator[Clients]:
    """Sync clients of both SDKs for the fake provider, created before any patching."""
    with (
        OpenAI(base_url=_served.openai_base_url, api_key=KEY, max_retries=0) as openai,
        Anthropic(base_url=_served.anthropic_base_url, api_key=KEY, max_retries=0) as anthropic,
    ):
        yield Clients(openai, anthropic)


@pytest.fixture(scope="session", autouse=True)
def _quick_collections() -> None:
    """Tests of dropped streams collect garbage; imported modules need not be walked each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _unscripted(request: pytest.FixtureRequest) -> None:
    """Tests that use the shared clients start with a provider without scripted answers."""
    if "clients" in request.fixturenames:
        request.getfixturevalue("provider")


@pytest_asyncio.fixture
async def async_clients(provider: DemoProvider, tls: ssl.SSLContext) -> AsyncIterator[Clients]:
    """Async clients of both SDKs for the fake provider."""
    async with (
        AsyncOpenAI(
            base_url=provider.openai_base_url,
            api_key=KEY,
            max_retries=0,
            http_client=async_http_client(openai_sdk, verify=tls),
        ) as openai,
        AsyncAnthropic(
            base_url=provider.anthropic_base_url,
            api_key=KEY,
            max_retries=0,
            http_client=async_http_client(anthropic_sdk, verify=tls),
        ) as anthropic,
    ):
        yield Clients(openai, anthropic)


@pytest.fixture(scope="session")
def tls() -> ssl.SSLContext:
    """Created once: it takes longer than a test, and an async client lives for one test only."""
    return ssl.create_default_context()


@pytest.fixture
def extracted() -> Iterator[Callable[[str], None]]:
    """Activate a request's `baggage` header, as a server's instrumentation does."""
    before = context.get_current()

    def extract(header: str) -> None:
        note_remote_baggage()
        context.attach(W3CBaggagePropagator().extract({"baggage": header}))

    yield extract
    context.attach(before)
