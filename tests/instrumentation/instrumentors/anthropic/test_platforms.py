"""Claude from Anthropic or from a cloud: one span per call, and that platform's price."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
import pytest_asyncio
from pydantic import BaseModel

from support.anthropic_answers import (
    BEDROCK_STREAM,
    COUNTS,
    EVENTS,
    MODEL,
    STREAM,
    message,
)
from support.ledger_in_memory import row_of
from support.loopback import Loopback, method_of, said, streamed
from support.sdk_releases import async_http_client
from support.spans import attributes_of, token_vector
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator

    from support.ledger_in_memory import LedgerInMemory
    from support.loopback import Reply
    from support.sdk_calls import Sdk

# The SDK's deprecation warnings for models and arguments.
pytestmark = pytest.mark.filterwarnings("ignore:The :DeprecationWarning")

PROMPT = "canary-prompt"
AWS: dict[str, str] = {
    "aws_access_key": "AKIACANARY",
    "aws_secret_key": "canary-secret",
    "aws_region": "us-east-1",
}
KEY = {"api_key": "sk-canary-key"}
GOOGLE = {"region": "us-east5", "project_id": "canary", "access_token": "canary-token"}


def mtok(usd_per_million: str, tokens: int) -> Decimal:
    """Dollars for tokens at a price per million."""
    return Decimal(usd_per_million) * tokens / 1_000_000


def cost(uncached: str, read: str, write: str, write_1h: str, output: str) -> Decimal:
    """The cost of the answer: 1,009 input, 211 read, 200 and 107 written, 53 output."""
    return (
        mtok(uncached, 1_009)
        + mtok(read, 211)
        + mtok(write, 200)
        + mtok(write_1h, 107)
        + mtok(output, 53)
    )


LIST_PRICE = cost("3", "0.3", "3.75", "6", "15")


@dataclass(frozen=True)
class Platform:
    """A platform that sells Claude."""

    client: str
    credentials: dict[str, str]
    provider: str
    model: str
    cost: Decimal
    stream: Reply = STREAM

    def __str__(self) -> str:
        return self.client


PLATFORMS = (
    Platform("Anthropic", KEY, "anthropic", "claude-sonnet-4-5", LIST_PRICE),
    Platform(
        "AnthropicBedrock",
        AWS,
        "aws.bedrock",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        # A regional endpoint costs a tenth more.
        cost("3.3", "0.33", "4.125", "6.6", "16.5"),
        BEDROCK_STREAM,
    ),
    Platform("AnthropicVertex", GOOGLE, "gcp.vertex_ai", "claude-sonnet-4-5@20250929", LIST_PRICE),
    Platform("AnthropicFoundry", KEY, "azure.ai.inference", "claude-sonnet-4-5", LIST_PRICE),
    Platform(
        "AnthropicBedrockMantle",
        AWS,
        "aws.bedrock",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        cost("3.3", "0.33", "4.125", "6.6", "16.5"),
    ),
)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as server:
        server.on("*", said(message()))
        yield server


@pytest.fixture(params=PLATFORMS, ids=str)
def platform(request: pytest.FixtureRequest) -> Platform:
    param: Platform = request.param
    return param


@pytest.fixture
def client(server: Loopback, platform: Platform) -> Iterator[Sdk]:
    kind = method_of(anthropic, platform.client)
    with kind(base_url=server.url, max_retries=0, **platform.credentials) as client:
        yield client


@pytest_asyncio.fixture
async def async_client(
    server: Loopback, platform: Platform, tls: ssl.SSLContext
) -> AsyncIterator[Sdk]:
    kind = method_of(anthropic, f"Async{platform.client}")
    async with kind(
        base_url=server.url,
        max_retries=0,
        http_client=async_http_client(anthropic, verify=tls),
        **platform.credentials,
    ) as client:
        yield client


def request_to(platform: Platform, **more: object) -> dict[str, Any]:
    messages = [{"role": "user", "content": PROMPT}]
    return {"model": platform.model, "max_tokens": 64, "messages": messages, **more}


def check(ledger: LedgerInMemory, platform: Platform) -> None:
    """One span, with the answer's counts, the platform's name, and the platform's price."""
    span = ledger.only()
    assert token_vector(span) == COUNTS
    assert span[attributes.PROVIDER_NAME] == platform.provider
    assert span[attributes.REQUEST_MODEL] == platform.model
    assert span[attributes.RESPONSE_MODEL] == MODEL
    assert span[attributes.FINISH_REASONS] == ("stop",)
    assert PROMPT not in str(span)
    row = row_of(ledger.spans[0])
    assert (row.cost_status, row.cost_usd) == ("priced", platform.cost)


METHODS = ["messages.create", "beta.messages.create"]


@pytest.mark.parametrize("method", METHODS)
def test_a_message_is_a_call(
    ledger: LedgerInMemory, client: Sdk, platform: Platform, method: str
) -> None:
    method_of(client, method)(**request_to(platform))
    check(ledger, platform)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.asyncio
async def test_an_async_message_is_a_call(
    ledger: LedgerInMemory, async_client: Sdk, platform: Platform, method: str
) -> None:
    await method_of(async_client, method)(**request_to(platform))
    check(ledger, platform)


@pytest.mark.parametrize("method", METHODS)
def test_a_streamed_message_is_a_call(
    ledger: LedgerInMemory, server: Loopback, client: Sdk, platform: Platform, method: str
) -> None:
    server.on("*", platform.stream)
    events = list(method_of(client, method)(**request_to(platform, stream=True)))
    assert [event.type for event in events] == [event["type"] for event in EVENTS]
    check(ledger, platform)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.asyncio
async def test_an_async_streamed_message_is_a_call(
    ledger: LedgerInMemory, server: Loopback, async_client: Sdk, platform: Platform, method: str
) -> None:
    server.on("*", platform.stream)
    stream = await method_of(async_client, method)(**request_to(platform, stream=True))
    assert len([event async for event in stream]) == len(EVENTS)
    check(ledger, platform)


@pytest.mark.parametrize("method", ["messages.stream", "beta.messages.stream"])
def test_the_stream_helper_is_a_call(
    ledger: LedgerInMemory, server: Loopback, client: Sdk, platform: Platform, method: str
) -> None:
    server.on("*", platform.stream)
    with method_of(client, method)(**request_to(platform)) as stream:
        # Its counts are not checked: the oldest releases return those of the start.
        assert stream.get_final_message().content
    check(ledger, platform)


@pytest.mark.asyncio
async def test_the_async_stream_helper_is_a_call(
    ledger: LedgerInMemory, server: Loopback, async_client: Sdk, platform: Platform
) -> None:
    server.on("*", platform.stream)
    async with method_of(async_client, "messages.stream")(**request_to(platform)) as stream:
        assert (await stream.get_final_message()).content
    check(ledger, platform)


@pytest.mark.parametrize("how", ["iter_bytes", "iter_raw"])
def test_a_stream_whose_bytes_the_app_reads_itself_is_a_call(
    ledger: LedgerInMemory, server: Loopback, client: Sdk, platform: Platform, how: str
) -> None:
    server.on("*", platform.stream)
    reading = method_of(client, "messages.with_streaming_response.create")
    with reading(**request_to(platform, stream=True)) as unread:
        assert b"".join(getattr(unread.http_response, how)()) == platform.stream.body
    check(ledger, platform)


@pytest.mark.parametrize("how", ["aiter_bytes", "aiter_raw"])
@pytest.mark.asyncio
async def test_an_async_stream_whose_bytes_the_app_reads_itself_is_a_call(
    ledger: LedgerInMemory, server: Loopback, async_client: Sdk, platform: Platform, how: str
) -> None:
    server.on("*", platform.stream)
    reading = method_of(async_client, "messages.with_streaming_response.create")
    async with reading(**request_to(platform, stream=True)) as unread:
        read = [data async for data in getattr(unread.http_response, how)()]
    assert b"".join(read) == platform.stream.body
    check(ledger, platform)


def test_a_compressed_stream_that_the_app_reads_raw_is_a_call(
    ledger: LedgerInMemory, server: Loopback, client: Sdk, platform: Platform
) -> None:
    packed = gzip.compress(platform.stream.body)
    server.on("*", replace(platform.stream, body=packed, content_encoding="gzip"))
    reading = method_of(client, "messages.with_streaming_response.create")
    with reading(**request_to(platform, stream=True)) as unread:
        assert b"".join(unread.http_response.iter_raw(chunk_size=32)) == packed
    check(ledger, platform)


def test_a_stream_that_the_app_stops_reading_is_a_call(
    ledger: LedgerInMemory, server: Loopback, client: Sdk, platform: Platform
) -> None:
    server.on("*", platform.stream)
    reading = method_of(client, "messages.with_streaming_response.create")
    with reading(**request_to(platform, stream=True)) as unread:
        assert next(unread.http_response.iter_raw(chunk_size=64))
    assert ledger.only()[attributes.PROVIDER_NAME] == platform.provider


@pytest.mark.parametrize("api", ["messages", "beta.messages"])
def test_a_raw_message_is_a_call(
    ledger: LedgerInMemory, client: Sdk, platform: Platform, api: str
) -> None:
    raw = method_of(client, f"{api}.with_raw_response.create")(**request_to(platform))
    assert raw.parse().usage.output_tokens == 53
    check(ledger, platform)


class Weather(BaseModel):
    """The output that the model is asked for."""

    city: str


@pytest.mark.parametrize("method", ["messages.parse", "beta.messages.parse"])
def test_a_parsed_message_is_a_call(
    ledger: LedgerInMemory, client: Sdk, platform: Platform, method: str
) -> None:
    answer = method_of(client, method)(**request_to(platform, output_format=Weather))
    assert answer.parsed_output.city == "Oslo"
    check(ledger, platform)


@pytest.mark.parametrize("method", ["messages.parse", "beta.messages.parse"])
def test_a_call_whose_parsing_fails_in_the_sdk_has_its_cost(
    ledger: LedgerInMemory, server: Loopback, client: Sdk, platform: Platform, method: str
) -> None:
    server.on("*", said(message({"type": "text", "text": "{}"})))
    with pytest.raises(ValueError, match="city"):
        method_of(client, method)(**request_to(platform, output_format=Weather))
    check(ledger, platform)


def test_every_turn_of_a_tool_runner_is_a_call(
    ledger: LedgerInMemory, server: Loopback, client: Sdk, platform: Platform
) -> None:
    run = method_of(client, "beta.messages.tool_runner")
    beta_tool = method_of(anthropic, "beta_tool")

    def weather(city: str) -> str:
        """The weather in a city."""
        return f"rain in {city}"

    use = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}}
    server.on("*", said(message(use, stop="tool_use")), said(message()))
    turns = list(run(**request_to(platform, tools=[beta_tool(weather)])))
    assert len(turns) == 2
    assert [token_vector(attributes_of(span)) for span in ledger.spans] == [COUNTS, COUNTS]
    assert [attributes_of(span)[attributes.FINISH_REASONS] for span in ledger.spans] == [
        ("tool_call",),
        ("stop",),
    ]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_stream_left_early_has_its_input(
    ledger: LedgerInMemory, server: Loopback, client: Sdk, platform: Platform
) -> None:
    server.on("*", platform.stream)
    with client.messages.create(**request_to(platform, stream=True)) as stream:
        next(iter(stream))
    span = ledger.only()
    assert span[attributes.INPUT_TOKENS] == 1_527
    assert attributes.OUTPUT_TOKENS not in span


def test_a_refused_message_is_an_error(
    ledger: LedgerInMemory, server: Loopback, client: Sdk, platform: Platform
) -> None:
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": "no"}}
    server.on("*", said(error, 429))
    with pytest.raises(anthropic.RateLimitError):
        client.messages.create(**request_to(platform))
    assert ledger.only()[attributes.HTTP_STATUS_CODE] == 429
    assert ledger.only()[attributes.PROVIDER_NAME] == platform.provider


def test_counting_tokens_is_free(ledger: LedgerInMemory, server: Loopback) -> None:
    server.on("*", said({"input_tokens": 5}))
    with anthropic.Anthropic(base_url=server.url, api_key="k", max_retries=0) as client:
        count = method_of(client, "messages.count_tokens")
        count(model=MODEL, messages=[{"role": "user", "content": PROMPT}])
        count = method_of(client, "beta.messages.count_tokens")
        count(model=MODEL, messages=[{"role": "user", "content": PROMPT}])
    assert len(server.requests) == 2
    assert not ledger.spans


def test_a_stream_with_compactions_is_billed_for_them(
    ledger: LedgerInMemory, server: Loopback
) -> None:
    compaction = {"type": "compaction", "input_tokens": 700, "output_tokens": 90}
    first, *between, last, stop = EVENTS
    usage = {"output_tokens": 53, "iterations": [compaction]}
    server.on("*", streamed((first, *between, {**last, "usage": usage}, stop)))
    with anthropic.Anthropic(base_url=server.url, api_key="k", max_retries=0) as client:
        create: Sdk = client.messages.create
        list(create(**request_to(PLATFORMS[0], stream=True)))
    span = ledger.only()
    assert span[attributes.INPUT_TOKENS] == 1_527 + 700
    assert span[attributes.OUTPUT_TOKENS] == 53 + 90
