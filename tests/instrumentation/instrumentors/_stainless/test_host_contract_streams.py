"""A watched stream can be used, shared, left and dropped like one of the bare SDK."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import anthropic
import openai
import pytest
from opentelemetry import context

import tokenledger
from support.fake_provider import Refuse, Stall
from support.loopback import method_of
from support.sdk_calls import (
    ALL,
    CHAT,
    CHAT_STREAM,
    ITERATED,
    MESSAGE,
    MESSAGE_STREAM,
    Clients,
    run,
    run_async,
    send,
)
from tokenledger._calls.call import Call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from support.fake_provider import DemoProvider
    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Sdk, Shape

_THREADS = 8
_ABANDONED = 200


def _bare_and_ours(do: Callable[[], Sdk]) -> tuple[Sdk, Sdk]:
    tokenledger.unpatch_openai()
    tokenledger.unpatch_anthropic()
    bare = do()
    tokenledger.patch_openai()
    tokenledger.patch_anthropic()
    return bare, do()


@pytest.mark.parametrize("shape", ITERATED, ids=str)
@pytest.mark.usefixtures("ledger")
def test_the_first_chunk_comes_before_the_second_is_sent(
    clients: Clients, provider: DemoProvider, shape: Shape
) -> None:
    stall = Stall(after_events=2)
    provider.script(stall)
    stream = iter(send(clients, shape))
    assert next(stream)
    stall.release()
    assert list(stream)


@pytest.mark.parametrize("shape", ITERATED, ids=str)
@pytest.mark.usefixtures("ledger")
def test_reading_a_closed_stream_works_as_with_the_bare_sdk(
    clients: Clients, provider: DemoProvider, shape: Shape
) -> None:
    def read_closed() -> tuple[str, bool]:
        # The rest is not sent yet, since buffered chunks can be read after a close.
        stall = Stall(after_events=1)
        provider.script(stall)
        stream = send(clients, shape)
        close = method_of(stream, "close")
        next(iter(stream))
        close()
        try:
            list(stream)
        except Exception as error:  # noqa: BLE001 - whatever the SDK does
            return type(error).__name__, stream.response.is_closed
        finally:
            stall.release()
        return "", stream.response.is_closed

    bare, ours = _bare_and_ours(read_closed)
    assert ours == bare


@pytest.mark.parametrize("shape", ITERATED, ids=str)
@pytest.mark.asyncio
async def test_an_awaited_close_frees_the_connection(
    ledger: LedgerInMemory, async_clients: Clients, shape: Shape
) -> None:
    stream = await send(async_clients, shape)
    close = method_of(stream, "close")
    await anext(aiter_of(stream))
    await close()
    assert stream.response.is_closed
    assert len(ledger.spans) == 1


def aiter_of(stream: Sdk) -> AsyncIterator[object]:
    iterator: AsyncIterator[object] = stream.__aiter__()
    return iterator


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("shape", [CHAT_STREAM, MESSAGE_STREAM], ids=str)
def test_streams_that_are_never_ended_leave_no_call_open(
    ledger: LedgerInMemory, clients: Clients, shape: Shape
) -> None:
    if openai.__version__.startswith("1."):
        pytest.skip(
            "the HTTP client of the oldest SDKs waits for itself when streams are collected"
        )
    gc.collect()
    before = _calls_alive()
    for _ in range(_ABANDONED):
        next(iter(send(clients, shape)))
    gc.collect()
    assert _calls_alive() <= before
    assert len(ledger.spans) == _ABANDONED


def _calls_alive() -> int:
    return sum(type(item) is Call for item in gc.get_objects())


@pytest.mark.parametrize("shape", [CHAT, CHAT_STREAM, MESSAGE, MESSAGE_STREAM], ids=str)
def test_one_client_serves_many_threads(
    ledger: LedgerInMemory, clients: Clients, shape: Shape
) -> None:
    def ask(number: int) -> Sdk:
        with tokenledger.attribution(user_id=f"u-{number}"):
            return run(clients, shape)

    with ThreadPoolExecutor(_THREADS) as pool:
        assert all(pool.map(ask, range(_THREADS * 4)))
    users = {str((span.attributes or {})["user.id"]) for span in ledger.spans}
    assert users == {f"u-{number}" for number in range(_THREADS * 4)}
    assert len(ledger.spans) == _THREADS * 4


def test_two_threads_may_share_one_stream(ledger: LedgerInMemory, clients: Clients) -> None:
    stream, taking = iter(send(clients, CHAT_STREAM)), threading.Lock()
    seen: list[object] = []

    def take(chunks: Iterator[object]) -> None:
        while True:
            with taking:
                chunk = next(chunks, None)
            if chunk is None:
                return
            seen.append(chunk)

    threads = [threading.Thread(target=take, args=[stream]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == len(run(clients, CHAT_STREAM))
    assert len(ledger.spans) == 2


@pytest.mark.parametrize("shape", [CHAT_STREAM, MESSAGE_STREAM], ids=str)
@pytest.mark.asyncio
async def test_a_stream_entered_in_one_task_and_left_in_another_leaves_no_context(
    ledger: LedgerInMemory, async_clients: Clients, shape: Shape
) -> None:
    async def enter() -> Sdk:
        stream = await send(async_clients, shape)
        method_of(stream, "__aenter__")
        await stream.__aenter__()
        await anext(aiter_of(stream))
        return stream

    async def leave(stream: Sdk) -> None:
        await stream.__aexit__(None, None, None)

    before = context.get_current()
    await asyncio.create_task(leave(await asyncio.create_task(enter())))
    assert context.get_current() is before
    assert len(ledger.spans) == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.asyncio
async def test_an_abandoned_async_generator_leaves_no_context(
    ledger: LedgerInMemory, async_clients: Clients
) -> None:
    async def chunks() -> AsyncIterator[object]:
        async for chunk in await send(async_clients, CHAT_STREAM):
            yield chunk

    before = context.get_current()
    abandoned = chunks()
    await anext(abandoned)
    del abandoned
    gc.collect()
    await asyncio.get_running_loop().shutdown_asyncgens()
    assert context.get_current() is before
    assert len(ledger.spans) == 1


@pytest.mark.parametrize("shape", [CHAT, MESSAGE], ids=str)
@pytest.mark.usefixtures("ledger")
def test_answers_can_be_copied(clients: Clients, shape: Shape) -> None:
    answer = run(clients, shape)
    assert copy.copy(answer) == copy.deepcopy(answer) == answer
    assert pickle.loads(pickle.dumps(answer)) == answer  # noqa: S301 - our own bytes


@pytest.mark.parametrize("shape", [CHAT, MESSAGE], ids=str)
def test_copies_of_a_client_are_recorded(
    ledger: LedgerInMemory, clients: Clients, shape: Shape
) -> None:
    copies = (copy.copy(clients.of(shape)), clients.of(shape).with_options(max_retries=1))
    for client in copies:
        run(Clients(client, client), shape)
    assert len(ledger.spans) == len(copies)


@pytest.mark.parametrize("shape", ALL, ids=str)
@pytest.mark.usefixtures("ledger")
def test_an_error_shows_the_sdks_own_frames_innermost(
    clients: Clients, provider: DemoProvider, shape: Shape
) -> None:
    def fail() -> tuple[Sdk, list[str]]:
        provider.script(Refuse(429))
        with pytest.raises((openai.RateLimitError, anthropic.RateLimitError)) as raised:
            run(clients, shape)
        error = raised.value
        summary = (type(error), len(error.args), type(error.__cause__), type(error.__context__))
        return summary, _frames_of_the_sdk(error)

    bare, ours = _bare_and_ours(fail)
    assert ours == bare


@pytest.mark.parametrize("shape", ALL, ids=str)
@pytest.mark.asyncio
@pytest.mark.usefixtures("ledger")
async def test_an_async_error_shows_the_sdks_own_frames_innermost(
    async_clients: Clients, provider: DemoProvider, shape: Shape
) -> None:
    provider.script(Refuse(429))
    with pytest.raises((openai.RateLimitError, anthropic.RateLimitError)) as raised:
        await run_async(async_clients, shape)
    innermost = traceback.extract_tb(raised.value.__traceback__)[-1]
    assert "tokenledger" not in innermost.filename
    assert _frames_of_the_sdk(raised.value)


def _frames_of_the_sdk(error: BaseException) -> list[str]:
    """The functions an error passed through, from the SDK's `request` inwards, without ours."""
    frames = traceback.extract_tb(error.__traceback__)
    return [
        frame.name
        for frame in frames
        if "/openai/" in frame.filename or "/anthropic/" in frame.filename
    ]
