"""However a call ends, it is one span, finished once, and the app gets the SDK's own error."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import anthropic
import openai
import pytest
from opentelemetry.trace import StatusCode

from support.fake_provider import Cut, FailStream, Refuse, Stall
from support.loopback import method_of
from support.sdk_calls import (
    ALL,
    BETA_STREAM,
    CHAT_STREAM,
    ITERATED,
    MESSAGE,
    MESSAGE_HELPER,
    MESSAGE_STREAM,
    RESPONSE_STREAM,
    STREAMS,
    run,
    run_async,
    send,
)
from support.sdk_releases import needs_thinking
from support.spans import token_counts
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.fake_provider import DemoProvider
    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import (
        Clients,
        Sdk,
        Shape,
    )

_REFUSALS = (
    (400, "BadRequestError"),
    (401, "AuthenticationError"),
    (429, "RateLimitError"),
    (500, "InternalServerError"),
)


@pytest.mark.parametrize("refusal", _REFUSALS, ids=str)
@pytest.mark.parametrize("shape", ALL, ids=str)
def test_a_refused_call_has_its_error_class_and_status(
    ledger: LedgerInMemory,
    clients: Clients,
    provider: DemoProvider,
    shape: Shape,
    refusal: tuple[int, str],
) -> None:
    status, error = refusal
    # A stream may be sent twice, because it is asked for its usage.
    provider.script(Refuse(status), Refuse(status))
    with pytest.raises(Exception) as raised:  # noqa: PT011 - two SDKs, checked below
        run(clients, shape)
    assert type(raised.value).__name__ == error
    span = ledger.only()
    assert span[attributes.ERROR_TYPE] == error
    assert span[attributes.HTTP_STATUS_CODE] == status
    assert ledger.spans[0].status.status_code is StatusCode.ERROR
    assert ledger.spans[0].status.description is None
    assert not ledger.spans[0].events


@pytest.mark.parametrize("shape", ALL, ids=str)
@pytest.mark.asyncio
async def test_an_async_refused_call_has_its_error_class_and_status(
    ledger: LedgerInMemory, async_clients: Clients, provider: DemoProvider, shape: Shape
) -> None:
    provider.script(Refuse(429))
    with pytest.raises((openai.RateLimitError, anthropic.RateLimitError)):
        await run_async(async_clients, shape)
    assert ledger.only()[attributes.HTTP_STATUS_CODE] == 429


@pytest.mark.parametrize("shape", STREAMS, ids=str)
def test_a_connection_cut_mid_stream_is_an_error(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider, shape: Shape
) -> None:
    provider.script(Cut(after_events=3))
    with pytest.raises(Exception) as raised:  # noqa: PT011 - httpx, httpx2 or the SDK's own
        run(clients, shape)
    span = ledger.only()
    assert span[attributes.ERROR_TYPE] == type(raised.value).__name__
    if shape.sdk == "anthropic":
        assert span[attributes.INPUT_TOKENS] == 1_200
    if attributes.OUTPUT_TOKENS in span:
        assert span[attributes.USAGE_ESTIMATED] is True


def test_a_server_that_hangs_up_is_an_error(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider
) -> None:
    provider.script(Cut())
    with pytest.raises(anthropic.APIConnectionError):
        run(clients, MESSAGE)
    span = ledger.only()
    assert span[attributes.ERROR_TYPE] == "APIConnectionError"
    assert attributes.HTTP_STATUS_CODE not in span


@pytest.mark.parametrize("shape", [CHAT_STREAM, MESSAGE_STREAM, MESSAGE_HELPER], ids=str)
def test_an_error_event_mid_stream_is_an_error(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider, shape: Shape
) -> None:
    provider.script(FailStream(after_events=2))
    with pytest.raises((openai.APIError, anthropic.APIError)) as raised:
        run(clients, shape)
    assert ledger.only()[attributes.ERROR_TYPE] == type(raised.value).__name__


def test_an_error_event_of_a_responses_stream_is_an_error(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider
) -> None:
    """The SDK passes this event to the app instead of raising."""
    provider.script(FailStream(after_events=2))
    assert run(clients, RESPONSE_STREAM)[-1].type in {"error", "response.failed"}
    assert ledger.only()[attributes.ERROR_TYPE] == "server_error"
    assert ledger.spans[0].status.status_code is StatusCode.ERROR


def _close(stream: Sdk) -> None:
    close = method_of(stream, "close")
    next(iter(stream))
    close()


def _leave(stream: Sdk) -> None:
    method_of(stream, "__enter__")
    with stream:
        for _ in stream:
            break


def _drop(stream: Sdk) -> None:
    for _ in stream:
        break


def _ignore(stream: Sdk) -> None:
    del stream


def _close_unread(stream: Sdk) -> None:
    method_of(stream, "close")()


_EARLY_ENDS = (_close, _leave, _drop, _ignore, _close_unread)
_NAMES = [end.__name__.strip("_") for end in _EARLY_ENDS]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("end", _EARLY_ENDS, ids=_NAMES)
@pytest.mark.parametrize("shape", ITERATED, ids=str)
def test_a_stream_ended_early_is_one_span_without_output(
    ledger: LedgerInMemory, clients: Clients, shape: Shape, end: object
) -> None:
    assert callable(end)
    end(send(clients, shape))
    gc.collect()
    span = ledger.only()
    assert attributes.OUTPUT_TOKENS not in span
    assert attributes.ERROR_TYPE not in span
    assert ledger.spans[0].status.status_code is StatusCode.UNSET


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("shape", [MESSAGE_STREAM, BETA_STREAM], ids=str)
def test_a_message_that_broke_off_has_its_input(
    ledger: LedgerInMemory, clients: Clients, shape: Shape
) -> None:
    _close(send(clients, shape))
    span = ledger.only()
    assert span[attributes.INPUT_TOKENS] == 1_200
    assert span[attributes.CACHE_READ_TOKENS] == 200
    assert attributes.OUTPUT_TOKENS not in span


def test_a_message_helper_left_early_has_its_input(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    with send(clients, MESSAGE_HELPER) as stream:
        next(stream)
    assert token_counts(ledger.only())["input_tokens"] == 1_200
    assert attributes.OUTPUT_TOKENS not in ledger.only()


def test_a_message_helper_never_entered_sends_nothing(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider
) -> None:
    send(clients, MESSAGE_HELPER)
    assert not provider.requests
    assert not ledger.spans


def test_an_error_of_the_app_inside_a_stream_does_not_fail_the_call(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    stream = send(clients, CHAT_STREAM)
    method_of(stream, "__enter__")
    with pytest.raises(ZeroDivisionError), stream:
        raise ZeroDivisionError
    assert attributes.ERROR_TYPE not in ledger.only()


async def _close_async(stream: Sdk) -> None:
    close = method_of(stream, "close")
    async for _ in stream:
        break
    await close()


async def _leave_async(stream: Sdk) -> None:
    method_of(stream, "__aenter__")
    async with stream:
        async for _ in stream:
            break


async def _drop_async(stream: Sdk) -> None:
    async for _ in stream:
        break


async def _ignore_async(stream: Sdk) -> None:
    del stream


_ASYNC_ENDS = (_close_async, _leave_async, _drop_async, _ignore_async)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("end", _ASYNC_ENDS, ids=[end.__name__.strip("_") for end in _ASYNC_ENDS])
@pytest.mark.parametrize("shape", ITERATED, ids=str)
@pytest.mark.asyncio
async def test_an_async_stream_ended_early_is_one_span_without_output(
    ledger: LedgerInMemory, async_clients: Clients, shape: Shape, end: Sdk
) -> None:
    await end(await send(async_clients, shape))
    gc.collect()
    await asyncio.get_running_loop().shutdown_asyncgens()
    span = ledger.only()
    assert attributes.OUTPUT_TOKENS not in span
    assert attributes.ERROR_TYPE not in span


@pytest.mark.parametrize("shape", [CHAT_STREAM, MESSAGE_STREAM, MESSAGE_HELPER], ids=str)
@pytest.mark.asyncio
async def test_a_canceled_stream_is_recorded_and_stays_canceled(
    ledger: LedgerInMemory, async_clients: Clients, provider: DemoProvider, shape: Shape
) -> None:
    needs_thinking(shape.method)
    stall = Stall(after_events=1)
    provider.script(stall)
    task = asyncio.create_task(run_async(async_clients, shape))
    await asyncio.to_thread(stall.reached.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ledger.only()[attributes.ERROR_TYPE] == "CancelledError"
    stall.release()


@pytest.mark.asyncio
async def test_a_canceled_call_is_recorded_and_stays_canceled(
    ledger: LedgerInMemory, async_clients: Clients, provider: DemoProvider
) -> None:
    stall = Stall()
    provider.script(stall)
    task = asyncio.create_task(run_async(async_clients, MESSAGE))
    await asyncio.to_thread(stall.reached.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ledger.only()[attributes.ERROR_TYPE] == "CancelledError"
    stall.release()


def test_an_interrupt_is_recorded_and_passes_through(
    ledger: LedgerInMemory, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(getattr(clients.openai, "_client"), "send", interrupted)  # noqa: B009 - the SDK's own
    with pytest.raises(KeyboardInterrupt):
        run(clients, CHAT_STREAM)
    assert ledger.only()[attributes.ERROR_TYPE] == "KeyboardInterrupt"


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.asyncio
async def test_a_coroutine_that_is_never_awaited_is_not_a_call(
    ledger: LedgerInMemory, async_clients: Clients, provider: DemoProvider
) -> None:
    send(async_clients, MESSAGE)
    gc.collect()
    assert not provider.requests
    assert not ledger.spans


@pytest.mark.parametrize("shape", ITERATED, ids=str)
def test_a_stream_read_to_its_end_and_closed_is_one_span(
    ledger: LedgerInMemory, clients: Clients, shape: Shape
) -> None:
    stream = send(clients, shape)
    close = method_of(stream, "close")
    list(stream)
    close()
    close()
    assert ledger.only()[attributes.OUTPUT_TOKENS] == 50


async def _async_chunks(stream: AsyncIterator[object]) -> list[object]:
    return [chunk async for chunk in stream]


@pytest.mark.asyncio
async def test_a_stream_may_be_finished_in_another_task(
    ledger: LedgerInMemory, async_clients: Clients
) -> None:
    stream = await asyncio.create_task(send(async_clients, CHAT_STREAM))
    assert await asyncio.create_task(_async_chunks(stream))
    assert ledger.only()[attributes.OUTPUT_TOKENS] == 50


@pytest.mark.asyncio
async def test_a_stream_may_be_finished_in_another_thread(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    assert await asyncio.to_thread(list, send(clients, CHAT_STREAM))
    assert ledger.only()[attributes.OUTPUT_TOKENS] == 50
