"""A background response is one call: unmeasured when created, measured when fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI

import tokenledger
from support.ledger_in_memory import row_of
from support.loopback import Loopback, method_of, said, streamed
from support.openai_cases import PROMPT, RESPONSE_COUNTS, response
from support.sdk_releases import async_http_client
from support.spans import attributes_of, token_vector
from tokenledger_semconv import attributes
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator

    from support.ledger_in_memory import LedgerInMemory

QUEUED = response(background=True, status="queued", output=[], usage=None)
DONE = response(background=True)
IDENTITY = ("openai.response:resp_1", 1_700_000_000 * 1_000_000_000)
EVENTS = streamed(
    (
        {"type": "response.created", "sequence_number": 0, "response": QUEUED},
        {"type": "response.queued", "sequence_number": 1, "response": QUEUED},
        {"type": "response.completed", "sequence_number": 2, "response": DONE},
    )
)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.fixture
def client(server: Loopback) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.url, api_key="sk-canary-key", max_retries=0) as client:
        method_of(client, "responses")
        yield client


@pytest_asyncio.fixture
async def async_client(server: Loopback, tls: ssl.SSLContext) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url=server.url,
        api_key="sk-canary-key",
        max_retries=0,
        http_client=async_http_client(openai, verify=tls),
    ) as client:
        method_of(client, "responses")
        yield client


def identity(span: dict[str, Any]) -> tuple[object, object]:
    return span[attributes.CALL_ID], span[attributes.CALL_STARTED_NS]


def event_ids(ledger: LedgerInMemory) -> set[object]:
    """The rows that the spans become in a database."""
    rows = [row_of(span) for span in ledger.spans]
    return {(row.event_id, row.timestamp) for row in rows}


def test_creating_a_background_response_is_a_call_without_counts(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    server.on("/responses", said(QUEUED))
    client.responses.create(model="gpt-4o", input=PROMPT, background=True)
    span = ledger.only()
    assert identity(span) == IDENTITY
    assert token_vector(span) == TokenVector()
    assert attributes.FINISH_REASONS not in span


@pytest.mark.parametrize("raw", [False, True], ids=["plain", "raw"])
def test_fetching_a_background_response_is_the_same_call_with_its_counts(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI, *, raw: bool
) -> None:
    server.on("/responses", said(QUEUED))
    server.on("/responses/resp_1", said(QUEUED), said(DONE))
    responses = client.responses.with_raw_response if raw else client.responses
    responses.create(model="gpt-4o", input=PROMPT, background=True)
    responses.retrieve("resp_1")
    assert len(ledger.spans) == 1
    responses.retrieve("resp_1")
    responses.retrieve("resp_1")
    fetched = [attributes_of(span) for span in ledger.spans[1:]]
    assert [token_vector(span) for span in fetched] == [RESPONSE_COUNTS] * 2
    assert {identity(attributes_of(span)) for span in ledger.spans} == {IDENTITY}
    assert len(event_ids(ledger)) == 1
    assert fetched[0][attributes.REQUEST_MODEL] == "gpt-4o-2024-08-06"


def test_a_meter_counts_it_once_and_with_its_counts(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    server.on("/responses", said(QUEUED))
    server.on("/responses/resp_1", said(DONE))
    with tokenledger.meter() as spent:
        client.responses.create(model="gpt-4o", input=PROMPT, background=True)
        assert (spent.calls, spent.calls_without_cost) == (1, 1)
        client.responses.retrieve("resp_1")
        client.responses.retrieve("resp_1")
    assert (spent.calls, spent.calls_without_cost) == (1, 0)
    assert spent.tokens.input == RESPONSE_COUNTS.input_tokens
    assert spent.cost_usd == row_of(ledger.spans[1]).cost_usd


@pytest.mark.asyncio
async def test_awaiting_a_background_response_is_the_same_call_with_its_counts(
    ledger: LedgerInMemory, server: Loopback, async_client: AsyncOpenAI
) -> None:
    server.on("/responses", said(QUEUED))
    server.on("/responses/resp_1", said(DONE))
    await async_client.responses.create(model="gpt-4o", input=PROMPT, background=True)
    await async_client.responses.retrieve("resp_1")
    assert token_vector(attributes_of(ledger.spans[1])) == RESPONSE_COUNTS
    assert len(event_ids(ledger)) == 1


def test_a_streamed_background_response_is_measured_at_once_and_the_same_when_fetched(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    server.on("/responses", EVENTS)
    server.on("/responses/resp_1", said(DONE))
    assert list(client.responses.create(model="gpt-4o", input=PROMPT, background=True, stream=True))
    client.responses.retrieve("resp_1")
    assert [token_vector(attributes_of(span)) for span in ledger.spans] == [RESPONSE_COUNTS] * 2
    assert len(event_ids(ledger)) == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_background_stream_left_early_is_estimated_and_measured_when_fetched(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    server.on("/responses", EVENTS)
    server.on("/responses/resp_1", said(DONE))
    with client.responses.create(
        model="gpt-4o", input=PROMPT, background=True, stream=True
    ) as stream:
        next(iter(stream))
    client.responses.retrieve("resp_1")
    assert attributes.OUTPUT_TOKENS not in attributes_of(ledger.spans[0])
    assert token_vector(attributes_of(ledger.spans[1])) == RESPONSE_COUNTS
    assert len(event_ids(ledger)) == 1


def test_a_resumed_stream_records_its_end(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    server.on("/responses/resp_1", EVENTS)
    events = list(client.responses.retrieve("resp_1", stream=True, starting_after=0))
    assert [event.type for event in events][-1] == "response.completed"
    assert token_vector(ledger.only()) == RESPONSE_COUNTS
    assert identity(ledger.only()) == IDENTITY


@pytest.mark.asyncio
async def test_a_resumed_async_stream_records_its_end(
    ledger: LedgerInMemory, server: Loopback, async_client: AsyncOpenAI
) -> None:
    server.on("/responses/resp_1", EVENTS)
    stream = await async_client.responses.retrieve("resp_1", stream=True)
    assert [event.type async for event in stream][-1] == "response.completed"
    assert token_vector(ledger.only()) == RESPONSE_COUNTS


def test_canceling_a_background_response_records_its_cost(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    server.on("/responses/resp_1/cancel", said({**DONE, "status": "cancelled"}))
    client.responses.cancel("resp_1")
    assert ledger.only()[attributes.FINISH_REASONS] == ("error",)
    assert identity(ledger.only()) == IDENTITY


@pytest.mark.parametrize("more", [{}, {"background": False}], ids=["unsaid", "said"])
def test_fetching_an_ordinary_response_records_nothing(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI, more: dict[str, Any]
) -> None:
    server.on("/responses/resp_1", said(response(**more)))
    client.responses.retrieve("resp_1")
    assert not ledger.spans


def test_fetching_other_parts_of_a_response_records_nothing(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    server.on("/responses/resp_1/input_items", said({"object": "list", "data": [DONE]}))
    client.responses.input_items.list("resp_1")
    assert not ledger.spans


def test_beta_responses_are_recorded_the_same_way(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    server.on("/responses/resp_1", said(DONE))
    method_of(client, "beta.responses.retrieve")("resp_1")
    assert identity(ledger.only()) == IDENTITY
