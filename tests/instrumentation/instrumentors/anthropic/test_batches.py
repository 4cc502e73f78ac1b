"""Every result of a message batch is one call at the batch price, however often it is read."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
import pytest_asyncio
from anthropic import Anthropic, AsyncAnthropic

from support.anthropic_answers import COUNTS, MODEL, message
from support.ledger_in_memory import row_of
from support.loopback import Loopback, lines, method_of, said
from support.sdk_releases import async_http_client
from support.spans import attributes_of, token_vector
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterator

    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Sdk

KEY = "sk-canary-key"
MADE_NS = 1_795_046_400 * 1_000_000_000
PATH = "/v1/messages/batches/msgbatch_1"


def batch(url: str) -> dict[str, Any]:
    return {
        "id": "msgbatch_1",
        "type": "message_batch",
        "processing_status": "ended",
        "request_counts": {
            "processing": 0,
            "succeeded": 2,
            "errored": 1,
            "canceled": 0,
            "expired": 1,
        },
        "created_at": "2026-11-19T00:00:00Z",
        "expires_at": "2026-11-20T00:00:00Z",
        "ended_at": "2026-11-19T01:00:00Z",
        "archived_at": None,
        "cancel_initiated_at": None,
        "results_url": f"{url}{PATH}/results",
    }


def result(custom_id: str, outcome: dict[str, Any]) -> dict[str, Any]:
    return {"custom_id": custom_id, "result": outcome}


ERROR = {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}
RESULTS = lines(
    result("task-1", {"type": "succeeded", "message": message()}),
    result("task-2", {"type": "errored", "error": ERROR}),
    result("task-3", {"type": "expired"}),
    result("task-4", {"type": "canceled"}),
    result("task-5", {"type": "succeeded", "message": message(id="msg_5")}),
)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as server:
        server.on(PATH, said(batch(server.url)))
        server.on(f"{PATH}/results", RESULTS)
        yield server


@pytest.fixture
def client(server: Loopback) -> Iterator[Anthropic]:
    with Anthropic(base_url=server.url, api_key=KEY, max_retries=0) as client:
        method_of(client, "messages.batches")
        yield client


@pytest_asyncio.fixture
async def async_client(server: Loopback, tls: ssl.SSLContext) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(
        base_url=server.url,
        api_key=KEY,
        max_retries=0,
        http_client=async_http_client(anthropic, verify=tls),
    ) as client:
        yield client


BATCHES = ["messages.batches", "beta.messages.batches"]


def check(ledger: LedgerInMemory, *, times: int = 1) -> None:
    """Two results succeeded; each is one call, however it is read."""
    spans = [attributes_of(span) for span in ledger.spans]
    assert [token_vector(span) for span in spans] == [COUNTS, COUNTS] * times
    identities = [(span[attributes.CALL_ID], span[attributes.CALL_STARTED_NS]) for span in spans]
    assert (
        identities
        == [
            ("anthropic.batch:msgbatch_1:task-1", MADE_NS),
            ("anthropic.batch:msgbatch_1:task-5", MADE_NS),
        ]
        * times
    )
    for span in spans:
        assert span[attributes.ANTHROPIC_SERVICE_TIER] == "batch"
        assert span[attributes.OPERATION_NAME] == "chat"
        assert span[attributes.PROVIDER_NAME] == "anthropic"
        assert span[attributes.REQUEST_MODEL] == MODEL
        assert span[f"{attributes.METADATA_PREFIX}batch_custom_id"] in {"task-1", "task-5"}


@pytest.mark.parametrize("api", BATCHES)
def test_every_result_is_a_call_however_often_it_is_read(
    ledger: LedgerInMemory, client: Anthropic, api: str
) -> None:
    results: Callable[[str], Sdk] = method_of(client, f"{api}.results")
    assert len(list(results("msgbatch_1"))) == 5
    assert len(list(results("msgbatch_1"))) == 5
    check(ledger, times=2)


@pytest.mark.parametrize("api", BATCHES)
@pytest.mark.asyncio
async def test_every_result_read_by_await_is_a_call(
    ledger: LedgerInMemory, async_client: AsyncAnthropic, api: str
) -> None:
    results: Callable[[str], Sdk] = method_of(async_client, f"{api}.results")
    read = [line.custom_id async for line in await results("msgbatch_1")]
    assert read == [f"task-{number}" for number in range(1, 6)]
    check(ledger)


@pytest.mark.parametrize("api", BATCHES)
def test_results_read_from_the_bare_response_are_calls(
    ledger: LedgerInMemory, client: Anthropic, api: str
) -> None:
    method_of(client, f"{api}.retrieve")("msgbatch_1")
    raw = method_of(client, f"{api}.with_raw_response.results")("msgbatch_1")
    assert len(list(raw.parse())) == 5
    check(ledger)
    with method_of(client, f"{api}.with_streaming_response.results")("msgbatch_1") as unread:
        lines = [json.loads(line) for line in unread.iter_lines()]
    assert len(lines) == 5
    check(ledger, times=2)


@pytest.mark.asyncio
async def test_results_read_from_the_async_bare_response_are_calls(
    ledger: LedgerInMemory, async_client: AsyncAnthropic
) -> None:
    read = method_of(async_client, "messages.batches.with_streaming_response.results")
    async with read("msgbatch_1") as unread:
        assert await unread.read() == RESULTS.body
    check(ledger)


def test_a_batch_result_costs_half(ledger: LedgerInMemory, client: Anthropic) -> None:
    """Claude Sonnet 4.5 in a batch: 1.5 and 7.5 dollars per million, writes and reads at half."""
    list(client.messages.batches.results("msgbatch_1"))
    span = ledger.spans[0]
    row = row_of(span)
    assert row.cost_status == "priced"
    assert row.service_tier == "batch"
    assert row.cost_usd == sum(
        Decimal(usd_per_million) * tokens / 1_000_000
        for usd_per_million, tokens in (
            ("1.5", 1_009),
            ("0.15", 211),
            ("1.875", 200),
            ("3", 107),
            ("7.5", 53),
        )
    )


def test_results_left_early_record_what_was_read(ledger: LedgerInMemory, client: Anthropic) -> None:
    results = client.messages.batches.results("msgbatch_1")
    assert next(iter(results)).custom_id == "task-1"
    assert len(ledger.spans) == 1


def test_a_batch_in_a_list_gives_the_time_of_its_results(
    ledger: LedgerInMemory, server: Loopback, client: Anthropic
) -> None:
    listed = {**batch(server.url), "id": "msgbatch_2"}
    server.on("/v1/messages/batches", said({"data": [listed], "has_more": False}))
    server.on("/v1/messages/batches/msgbatch_2", said({"id": "msgbatch_2", "results_url": None}))
    assert [seen.id for seen in client.messages.batches.list()] == ["msgbatch_2"]
    assert not ledger.spans


def test_creating_and_cancelling_a_batch_is_not_a_call(
    ledger: LedgerInMemory, server: Loopback, client: Anthropic
) -> None:
    server.on("/v1/messages/batches", said({**batch(server.url), "results_url": None}))
    server.on(f"{PATH}/cancel", said(batch(server.url)))
    client.messages.batches.create(requests=[])
    client.messages.batches.cancel("msgbatch_1")
    assert not ledger.spans


def test_a_result_that_cannot_be_read_reaches_the_app(
    ledger: LedgerInMemory, server: Loopback, client: Anthropic
) -> None:
    server.on(f"{PATH}/results", lines("text", 5, {"custom_id": "task-1"}, {"result": None}))
    reading = method_of(client, "messages.batches.with_streaming_response.results")
    with reading("msgbatch_1") as unread:
        assert len(list(unread.iter_lines())) == 4
    assert not ledger.spans
