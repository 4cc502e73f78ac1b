"""Every call shape, sync and async, gives one span with the provider's own counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.loopback import method_of
from support.sdk_calls import (
    ALL,
    CHAT,
    EMBEDDING,
    GENERATING,
    ITERATED,
    MESSAGE,
    MESSAGE_HELPER,
    MESSAGE_STREAM,
    RESPONSE,
    Shape,
    run,
    run_async,
    send,
)
from support.sdk_releases import fields_sent
from support.spans import token_counts
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from support.fake_provider import DemoProvider
    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import (
        Clients,
    )

_EXPECTED = {
    "input_tokens": 1_200,
    "output_tokens": 50,
    "cache_read.input_tokens": 200,
    "reasoning.output_tokens": 7,
}


def _billed(span: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in token_counts(span).items() if value}


@pytest.mark.parametrize("shape", GENERATING, ids=str)
def test_a_sync_call_is_one_span_with_its_counts(
    ledger: LedgerInMemory, clients: Clients, shape: Shape
) -> None:
    run(clients, shape)
    assert _billed(ledger.only()) == _EXPECTED


@pytest.mark.parametrize("shape", GENERATING, ids=str)
@pytest.mark.asyncio
async def test_an_async_call_is_one_span_with_its_counts(
    ledger: LedgerInMemory, async_clients: Clients, shape: Shape
) -> None:
    await run_async(async_clients, shape)
    assert _billed(ledger.only()) == _EXPECTED


def test_embeddings_have_input_and_no_output(ledger: LedgerInMemory, clients: Clients) -> None:
    run(clients, EMBEDDING)
    assert token_counts(ledger.only()) == {"input_tokens": 1_200}


@pytest.mark.asyncio
async def test_async_embeddings_have_input_and_no_output(
    ledger: LedgerInMemory, async_clients: Clients
) -> None:
    await run_async(async_clients, EMBEDDING)
    assert token_counts(ledger.only()) == {"input_tokens": 1_200}


@pytest.mark.parametrize("shape", ALL, ids=str)
def test_a_span_names_operation_models_and_server(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider, shape: Shape
) -> None:
    run(clients, shape)
    span = ledger.only()
    operation = "embeddings" if shape is EMBEDDING else "chat"
    model = shape.arguments["model"]
    assert ledger.spans[0].name == f"{operation} {model}"
    assert span[attributes.OPERATION_NAME] == operation
    assert span[attributes.PROVIDER_NAME] == shape.sdk
    assert span[attributes.REQUEST_MODEL] == model
    assert str(span[attributes.RESPONSE_MODEL]).startswith(model)
    assert span[attributes.SERVER_ADDRESS] == "127.0.0.1"
    assert span[attributes.SERVER_PORT] == int(provider.url.rpartition(":")[2])
    assert (attributes.TIME_TO_FIRST_CHUNK in span) is shape.streams
    assert span.get(attributes.REQUEST_STREAM, False) is shape.streams


@pytest.mark.parametrize("shape", [CHAT, RESPONSE, MESSAGE], ids=str)
def test_the_whole_usage_object_is_stored(
    ledger: LedgerInMemory, clients: Clients, shape: Shape
) -> None:
    answer = run(clients, shape)
    stored = json.loads(ledger.only()[attributes.PROVIDER_USAGE])
    assert stored == fields_sent(answer.usage)


def test_both_lifetimes_of_cache_writes_are_counted(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    header = '{"input": 1000, "output": 5, "cache_write": 300, "cache_write_1h": 100}'
    run(clients, MESSAGE, extra_headers={"x-demo-usage": header})
    span = ledger.only()
    assert span[attributes.INPUT_TOKENS] == 1_000
    assert span[attributes.CACHE_WRITE_TOKENS] == 300
    assert span[attributes.CACHE_WRITE_5M_TOKENS] == 200
    assert span[attributes.CACHE_WRITE_1H_TOKENS] == 100


def test_the_tier_that_served_the_call_is_stored(ledger: LedgerInMemory, clients: Clients) -> None:
    header = '{"service_tier": "priority"}'
    run(clients, CHAT, extra_headers={"x-demo-usage": header})
    assert ledger.only()[attributes.OPENAI_SERVICE_TIER] == "priority"


def test_the_providers_user_field_fills_the_user(ledger: LedgerInMemory, clients: Clients) -> None:
    run(clients, CHAT, user="u-openai")
    run(clients, MESSAGE, metadata={"user_id": "u-anthropic"})
    users = [(span.attributes or {})[attributes.USER_ID] for span in ledger.spans]
    assert users == ["u-openai", "u-anthropic"]


@pytest.mark.parametrize("shape", [CHAT, EMBEDDING, RESPONSE, MESSAGE], ids=str)
def test_a_raw_response_is_one_span_with_its_counts(
    ledger: LedgerInMemory, clients: Clients, shape: Shape
) -> None:
    raw_method = shape.method.replace(".create", ".with_raw_response.create")
    raw = send(clients, Shape("raw", shape.sdk, raw_method, shape.arguments))
    assert raw.parse().usage is not None
    assert raw.headers["content-type"] == "application/json"
    assert ledger.only()[attributes.INPUT_TOKENS] == 1_200


@pytest.mark.asyncio
async def test_an_async_raw_response_is_one_span_with_its_counts(
    ledger: LedgerInMemory, async_clients: Clients
) -> None:
    method = "chat.completions.with_raw_response.create"
    raw = await send(async_clients, Shape("raw", "openai", method, CHAT.arguments))
    assert raw.parse().usage is not None
    assert ledger.only()[attributes.INPUT_TOKENS] == 1_200


@pytest.mark.parametrize("shape", [CHAT, RESPONSE, MESSAGE, MESSAGE_STREAM], ids=str)
@pytest.mark.parametrize("how", ["read", "parse", "iter_lines", "iter_bytes"])
def test_a_streaming_response_is_one_span_with_its_counts(
    ledger: LedgerInMemory, clients: Clients, shape: Shape, how: str
) -> None:
    method = shape.method.replace(".create", ".with_streaming_response.create")
    with send(clients, Shape("streaming", shape.sdk, method, shape.arguments)) as response:
        answer = getattr(response, how)()
        if not isinstance(answer, bytes) and hasattr(answer, "__iter__"):
            assert list(answer)
    assert token_counts(ledger.only())["input_tokens"] == 1_200
    assert token_counts(ledger.only())["output_tokens"] == 50


@pytest.mark.parametrize("shape", [CHAT, MESSAGE, MESSAGE_STREAM], ids=str)
@pytest.mark.asyncio
async def test_an_async_streaming_response_is_one_span_with_its_counts(
    ledger: LedgerInMemory, async_clients: Clients, shape: Shape
) -> None:
    method = shape.method.replace(".create", ".with_streaming_response.create")
    shape = Shape("streaming", shape.sdk, method, shape.arguments)
    async with send(async_clients, shape) as response:
        assert await response.read()
    assert token_counts(ledger.only())["input_tokens"] == 1_200


def test_a_streamed_body_left_unread_is_one_span(ledger: LedgerInMemory, clients: Clients) -> None:
    method = "chat.completions.with_streaming_response.create"
    with send(clients, Shape("streaming", "openai", method, CHAT.arguments)):
        pass
    assert not token_counts(ledger.only())


def test_a_streamed_body_left_early_is_one_span(ledger: LedgerInMemory, clients: Clients) -> None:
    method = "messages.with_streaming_response.create"
    shape = Shape("streaming", "anthropic", method, MESSAGE_STREAM.arguments)
    with send(clients, shape) as response:
        lines = response.iter_lines()
        seen = [next(lines) for _ in range(5)]
    assert seen
    assert ledger.only()[attributes.INPUT_TOKENS] == 1_200


@pytest.mark.parametrize("shape", ITERATED, ids=str)
def test_a_raw_response_can_still_be_parsed_into_a_stream(
    ledger: LedgerInMemory, clients: Clients, shape: Shape
) -> None:
    method = shape.method.replace(".create", ".with_raw_response.create")
    raw = send(clients, Shape("raw", shape.sdk, method, shape.arguments))
    assert len(list(raw.parse())) > 2
    assert len(ledger.spans) == 1


def test_the_chat_stream_helper_is_one_span(ledger: LedgerInMemory, clients: Clients) -> None:
    arguments = {key: CHAT.arguments[key] for key in ("model", "messages", "extra_headers")}
    with method_of(clients.openai, "chat.completions.stream")(**arguments) as stream:
        final = stream.get_final_completion()
    assert final.usage is None
    assert ledger.only()[attributes.INPUT_TOKENS] == 1_200


def test_the_message_helper_still_gives_its_final_message(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    with send(clients, MESSAGE_HELPER) as stream:
        assert stream.get_final_message().usage.output_tokens == 50
        assert stream.response.status_code == 200
    assert ledger.only()[attributes.FINISH_REASONS] == ("stop",)
