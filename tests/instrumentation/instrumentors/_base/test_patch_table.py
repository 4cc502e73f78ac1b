"""Patching, once or often, before or after creating a client, gives one span per call."""

from __future__ import annotations

import functools
import gc
import importlib
import subprocess
import sys
import weakref
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from openai.resources.chat.completions import Completions

import tokenledger
from support.sdk_calls import CHAT, MESSAGE, MESSAGE_HELPER, Clients, run
from support.sdk_releases import async_http_client, needs_thinking, sync_http_client
from tokenledger.instrumentors.anthropic import apis as anthropic_room
from tokenledger.instrumentors.openai import OpenAIInstrumentor
from tokenledger.instrumentors.openai import apis as openai_room
from tokenledger_semconv.attributes import PROVIDER_NAME, SERVER_ADDRESS, SERVER_PORT

if TYPE_CHECKING:
    import ssl

    from support.fake_provider import DemoProvider
    from support.ledger_in_memory import LedgerInMemory
    from support.spans import AppTracing

_CREATE = "create"
_TABLES = (*openai_room.TABLE, *anthropic_room.TABLE)


def _standing() -> list[object]:
    """The methods in the SDKs' classes, for every row of both tables."""
    methods: list[object] = []
    for patch in _TABLES:
        try:
            owner = vars(importlib.import_module(patch.module)).get(patch.owner)
        except ModuleNotFoundError:
            owner = None
        if patch.method in vars(owner or object):
            methods.append(vars(owner)[patch.method])
        else:
            assert patch.optional, f"this release of the SDK has no {patch}"
    return methods


def test_uninstrument_restores_every_row_of_the_tables(ledgers: list[LedgerInMemory]) -> None:
    bare = _standing()
    tokenledger.init()
    patched = _standing()
    tokenledger.unpatch_openai()
    tokenledger.unpatch_anthropic()
    assert len(ledgers) == 1
    assert all(ours is not original for ours, original in zip(patched, bare, strict=True))
    assert all(now is original for now, original in zip(_standing(), bare, strict=True))


def test_patching_and_unpatching_for_each_job_accumulates_nothing(
    ledgers: list[LedgerInMemory],
) -> None:
    clients: Any = importlib.import_module("openai._base_client")
    tokenledger.init()
    wrapper = weakref.ref[Any](vars(clients.SyncAPIClient)["request"])
    assert wrapper() is not None
    tokenledger.unpatch_openai()
    tokenledger.unpatch_anthropic()
    gc.collect()
    assert wrapper() is None
    assert len(ledgers) == 1


def test_patching_twice_is_one_span(ledgers: list[LedgerInMemory], clients: Clients) -> None:
    tokenledger.init()
    tokenledger.patch_openai()
    tokenledger.init()
    run(clients, CHAT)
    assert [len(ledger.spans) for ledger in ledgers] == [0, 1]


def test_the_launcher_and_two_lines_are_one_span(
    app: AppTracing, ledgers: list[LedgerInMemory], clients: Clients
) -> None:
    OpenAIInstrumentor().instrument()
    tokenledger.configure()
    tokenledger.patch_openai()
    run(clients, CHAT)
    assert len(ledgers[0].spans) == len(app.spans) == 1


def test_a_client_created_before_patching_is_recorded(
    ledgers: list[LedgerInMemory], clients: Clients
) -> None:
    bound = clients.openai.chat.completions
    tokenledger.init()
    bound.create(**CHAT.arguments)
    assert len(ledgers[0].spans) == 1


def test_the_module_level_client_is_recorded(
    ledger: LedgerInMemory, provider: DemoProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai, "api_key", "sk-canary-key")
    monkeypatch.setattr(openai, "base_url", provider.openai_base_url + "/")
    openai.chat.completions.create(**CHAT.arguments)
    assert len(ledger.spans) == 1
    client = vars(openai)["_client"]
    client.close()
    monkeypatch.setattr(openai, "_client", None)


def test_a_method_that_the_app_stored_passes_through_after_unpatching(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    stored_method = clients.openai.chat.completions.create
    raw = clients.openai.chat.completions.with_raw_response
    stored_method(**CHAT.arguments)
    raw.create(**CHAT.arguments)
    tokenledger.unpatch_openai()
    assert stored_method(**CHAT.arguments).choices
    assert raw.create(**CHAT.arguments).parse().choices
    assert len(ledger.spans) == 2


@pytest.mark.asyncio
async def test_an_async_method_that_the_app_stored_passes_through_after_unpatching(
    ledger: LedgerInMemory, async_clients: Clients
) -> None:
    needs_thinking("messages.stream")
    stored_method = async_clients.anthropic.messages.create
    stream = async_clients.anthropic.messages.stream(**MESSAGE.arguments)
    tokenledger.unpatch_anthropic()
    assert (await stored_method(**MESSAGE.arguments)).content
    async with stream as entered:
        assert await entered.get_final_message()
    assert not ledger.spans


def test_patched_again_calls_are_recorded_again(ledger: LedgerInMemory, clients: Clients) -> None:
    for _ in range(3):
        tokenledger.unpatch_anthropic()
        tokenledger.patch_anthropic()
    run(clients, MESSAGE)
    run(clients, MESSAGE_HELPER)
    assert len(ledger.spans) == 2


def test_another_tools_wrapper_over_ours_stays_and_is_not_wrapped_again(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    owner = Completions
    ours: Any = vars(owner)[_CREATE]

    @functools.wraps(ours)
    def theirs(self: object, **kwargs: object) -> object:
        return ours.__get__(self, owner)(**kwargs)

    setattr(owner, _CREATE, theirs)
    try:
        tokenledger.unpatch_openai()
        run(clients, CHAT)
        assert not ledger.spans
        tokenledger.patch_openai()
        run(clients, CHAT)
        assert len(ledger.spans) == 1
        assert vars(owner)[_CREATE] is theirs
    finally:
        setattr(owner, _CREATE, ours.__wrapped__)


def _around(wrapped: Any, _instance: object, args: Any, kwargs: Any) -> Any:  # noqa: ANN401 - wrapt's form
    return wrapped(*args, **kwargs)


@pytest.mark.parametrize(
    "names",
    [
        ("openai.resources.chat.completions", "Completions.create"),
        ("openai", "OpenAI.request"),
        ("openai._base_client", "SyncAPIClient.request"),
    ],
    ids=lambda names: names[1],
)
def test_calls_below_another_tools_wrapper_are_recorded_and_work(
    names: tuple[str, str], ledger: LedgerInMemory, clients: Clients
) -> None:
    """OpenTelemetry's and OpenInference's instrumentors are below ours if they were first."""
    wrapt: Any = importlib.import_module("wrapt")
    tokenledger.unpatch_openai()
    module, path = names
    owner_name, _, method = path.partition(".")
    owner: type = getattr(importlib.import_module(module), owner_name)
    before = vars(owner).get(method)
    wrapt.wrap_function_wrapper(module, path, _around)
    try:
        tokenledger.patch_openai()
        assert run(clients, CHAT) is not None
        assert len(ledger.spans) == 1
    finally:
        tokenledger.unpatch_openai()
        if before is None:
            delattr(owner, method)
        else:
            setattr(owner, method, before)
    tokenledger.patch_openai()
    run(clients, CHAT)
    assert len(ledger.spans) == 2


def test_azure_is_recognized_by_its_client(ledger: LedgerInMemory, provider: DemoProvider) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=provider.url, api_version="2024-10-21", api_key="sk-canary-key"
    ) as client:
        run(Clients(client, None), CHAT)
    assert ledger.only()[PROVIDER_NAME] == "azure.ai.openai"


def test_azure_is_recognized_by_its_host(ledger: LedgerInMemory) -> None:
    """The plain client may use Azure's URL; only the name is read, nothing is sent."""
    with (
        openai.OpenAI(
            base_url="https://shop.openai.azure.com/openai/v1/",
            api_key="sk-canary-key",
            max_retries=0,
            http_client=sync_http_client(openai, proxy="http://127.0.0.1:1"),
        ) as client,
        pytest.raises(openai.APIConnectionError),
    ):
        run(Clients(client, None), CHAT)
    span = ledger.only()
    assert span[PROVIDER_NAME] == "azure.ai.openai"
    assert (span[SERVER_ADDRESS], span[SERVER_PORT]) == ("shop.openai.azure.com", 443)


def _printed_by(program: str) -> str:
    """What a program prints in a process of its own."""
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_instrumenting_does_not_load_what_the_app_does_not_use() -> None:
    """Modules of the SDKs are patched when the app loads them."""
    program = """
import sys, tokenledger
from tokenledger.instrumentors.openai import OpenAIInstrumentor
OpenAIInstrumentor().instrument()
assert "openai" not in sys.modules
import openai
client = openai.OpenAI(api_key="x")
wrapped = type(client.chat.completions).__dict__["create"]
assert hasattr(wrapped, "__wrapped__"), wrapped
print(tokenledger.health()["failures"])
"""
    assert _printed_by(program) == "{}"


def test_an_instrumentor_removed_before_the_import_patches_nothing() -> None:
    program = """
import tokenledger
from tokenledger.instrumentors.openai import OpenAIInstrumentor
OpenAIInstrumentor().instrument()
OpenAIInstrumentor().uninstrument()
from openai.resources.chat.completions import Completions
assert type(Completions.__dict__["create"]).__name__ == "function"
print(tokenledger.health()["failures"])
"""
    assert _printed_by(program) == "{}"


@pytest.mark.asyncio
async def test_async_clients_created_before_patching_are_recorded(
    ledgers: list[LedgerInMemory], provider: DemoProvider, tls: ssl.SSLContext
) -> None:
    async with anthropic.AsyncAnthropic(
        base_url=provider.anthropic_base_url,
        api_key="sk-canary-key",
        http_client=async_http_client(anthropic, verify=tls),
    ) as client:
        bound = client.messages
        tokenledger.init()
        await bound.create(**MESSAGE.arguments)
    assert len(ledgers[0].spans) == 1
