"""Plays recorded exchanges through the real SDKs against the demo provider.

Ours are the JSON files next to this module, one usage shape each, written manually. The larger
corpus is read from `TOKENLEDGER_TEST_CORPUS` (a folder that holds `exchanges.jsonl`) and never
committed.

    with DemoProvider() as provider, Player(provider) as player:
        for exchange in own_exchanges():
            answer = player.play(exchange)
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import re
import warnings
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anthropic
import openai
import pytest

from tokenledger_exporter.demo.scripts import Recorded
from tokenledger_exporter.demo.wire import recorded_events

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from tokenledger_exporter.demo.provider import DemoProvider
    from tokenledger_exporter.demo.wire import JsonObject

CORPUS_VARIABLE: Final = "TOKENLEDGER_TEST_CORPUS"
"""Names the folder of the larger corpus."""

_FOLDER: Final = Path(__file__).parent
_TIMEOUT_SECONDS: Final = 30.0
_DEPLOYMENT: Final = re.compile(r"/openai/deployments/([^/]+)/.*api-version=(.+)")


@dataclass(frozen=True, slots=True)
class Expected:
    """What the provider billed, read from the recording; tokens.

    Args:
        model: the model that answered; `None` where the recording names none.
        has_usage: false where a stream carries no usage: unknown, which is not zero.
        input: cached and cache-write tokens included, for every provider.
        cache_write: every lifetime.
        output: reasoning included.
        audio_in: `None` where the provider has no such count.
        audio_out: as `audio_in`.
    """

    model: str | None
    has_usage: bool
    service_tier: str | None
    input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    output: int
    reasoning: int
    audio_in: int | None
    audio_out: int | None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One recorded request and its answer: a JSON `response`, or `sse` events in their order."""

    id: str
    provider: str
    endpoint: str
    path: str
    status: int
    stream: bool
    request: JsonObject
    response: JsonObject | None
    sse: tuple[JsonObject, ...]
    expected: Expected

    @property
    def recorded(self) -> Recorded:
        """The answer as the demo provider sends it."""
        if self.stream:
            return Recorded(events=recorded_events(self.sse), status=self.status)
        return Recorded(self.response, status=self.status)


def own_exchanges() -> list[Exchange]:
    """Our own exchanges, by name."""
    return [_parsed(path.read_text(encoding="utf-8")) for path in sorted(_FOLDER.glob("*.json"))]


def corpus_exchanges() -> list[Exchange]:
    """The larger corpus, as far as these releases of the SDKs have the methods.

    Empty where the variable names no folder.
    """
    folder = os.environ.get(CORPUS_VARIABLE)
    if not folder:
        return []
    lines = (Path(folder) / "exchanges.jsonl").read_text(encoding="utf-8").splitlines()
    return [found for found in map(_parsed, lines) if _is_known(found)]


class Player:
    """Sends recorded requests with the SDKs' synchronous clients; streams are read to their end."""

    def __init__(self, provider: DemoProvider) -> None:
        self._provider: Final = provider
        self._clients: Final[dict[str, Any]] = {}
        self._open: Final = contextlib.ExitStack()

    def play(self, exchange: Exchange) -> Any:  # noqa: ANN401 - whatever the SDK gives the app
        """Serve the exchange and send its request; the SDK's answer, or the list of its events."""
        create, arguments = _call(self._client(exchange), exchange)
        self._provider.script(exchange.recorded)
        with _quiet_about_old_models():
            answer = create(**arguments)
            return list(answer) if exchange.stream else answer

    def _client(self, exchange: Exchange) -> Any:  # noqa: ANN401 - one of three client classes
        name, make = _client_maker(self._provider, exchange, _SYNC)
        if name not in self._clients:
            self._clients[name] = self._open.enter_context(make())
        return self._clients[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()


class AsyncPlayer:
    """As `Player`, with the SDKs' asynchronous clients."""

    def __init__(self, provider: DemoProvider) -> None:
        self._provider: Final = provider
        self._clients: Final[dict[str, Any]] = {}
        self._open: Final = contextlib.AsyncExitStack()

    async def play(self, exchange: Exchange) -> Any:  # noqa: ANN401 - as above
        """Serve the exchange and send its request; the SDK's answer, or the list of its events."""
        create, arguments = _call(await self._client(exchange), exchange)
        self._provider.script(exchange.recorded)
        with _quiet_about_old_models():
            answer = await create(**arguments)
            return [event async for event in answer] if exchange.stream else answer

    async def _client(self, exchange: Exchange) -> Any:  # noqa: ANN401 - as above
        name, make = _client_maker(self._provider, exchange, _ASYNC)
        if name not in self._clients:
            self._clients[name] = await self._open.enter_async_context(make())
        return self._clients[name]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.aclose()


_SYNC: Final[Mapping[str, Any]] = {
    "openai": openai.OpenAI,
    "azure": openai.AzureOpenAI,
    "anthropic": anthropic.Anthropic,
}
_ASYNC: Final[Mapping[str, Any]] = {
    "openai": openai.AsyncOpenAI,
    "azure": openai.AsyncAzureOpenAI,
    "anthropic": anthropic.AsyncAnthropic,
}


def _client_maker(
    provider: DemoProvider, exchange: Exchange, classes: Mapping[str, Any]
) -> tuple[str, Callable[[], Any]]:
    """A name for the client an exchange needs, and how to make it."""
    options: dict[str, Any] = {"api_key": "no-key", "max_retries": 0}
    if found := _DEPLOYMENT.fullmatch(exchange.path):
        deployment, version = found.groups()
        options |= {"azure_endpoint": provider.url, "azure_deployment": deployment}
        return f"{deployment} {version}", lambda: classes["azure"](api_version=version, **options)
    if exchange.provider == "anthropic":
        url = provider.anthropic_base_url
        return "anthropic", lambda: classes["anthropic"](base_url=url, **options)
    base = exchange.path.removesuffix("/chat/completions").removesuffix(f"/{exchange.endpoint}")
    return base, lambda: classes["openai"](base_url=f"{provider.url}{base}", **options)


def _call(
    client: Any,  # noqa: ANN401 - one of six client classes
    exchange: Exchange,
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The method and arguments of a recorded request; keys the SDK cannot name go in the body."""
    create = _method(client, exchange)
    known = inspect.signature(create).parameters
    named = {key: value for key, value in exchange.request.items() if key in known}
    rest = {key: value for key, value in exchange.request.items() if key not in known}
    return create, {**named, "extra_body": rest or None, "timeout": _TIMEOUT_SECONDS}


@functools.cache
def _bare_client(sdk: str) -> Any:  # noqa: ANN401 - of one of two SDKs
    return anthropic.Anthropic(api_key="k") if sdk == "anthropic" else openai.OpenAI(api_key="k")


def _is_known(exchange: Exchange) -> bool:
    """Whether the SDK has the method of an exchange."""
    try:
        _method(_bare_client(exchange.provider), exchange)
    except pytest.skip.Exception:
        return False
    return True


def _method(client: Any, exchange: Exchange) -> Any:  # noqa: ANN401 - see above
    if exchange.endpoint == "chat":
        name = "chat.completions.create"
    elif exchange.path.endswith("?beta=true"):
        name = "beta.messages.create"
    else:
        name = f"{exchange.endpoint}.create"
    try:
        return attrgetter(name)(client)
    except AttributeError:
        pytest.skip("this release of the SDK has no such method")


@contextlib.contextmanager
def _quiet_about_old_models() -> Generator[None]:
    """Recordings name models that have been retired since; anthropic warns of each of them."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="The model '.*' is deprecated", category=DeprecationWarning
        )
        yield


def _parsed(text: str) -> Exchange:
    record: JsonObject = json.loads(text)
    return Exchange(
        id=record["id"],
        provider=record["provider"],
        endpoint=record["endpoint"],
        path=record["path"],
        status=record["status"],
        stream=record["stream"],
        request=record["request"] or _plain_request(record),
        response=record.get("response"),
        sse=tuple(record.get("sse", ())),
        expected=Expected(**record["expected"]),
    )


def _plain_request(record: JsonObject) -> JsonObject:
    """A request for the answers that were recorded without one: SDKs' own stream fixtures."""
    return {
        "model": record["expected"]["model"] or "unknown",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": record["stream"],
    }
