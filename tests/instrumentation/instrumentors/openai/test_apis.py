"""Every OpenAI API that is billed, sync and async, is one span with the answer's own counts."""

from __future__ import annotations

import inspect
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI

from support.ledger_in_memory import row_of
from support.loopback import Loopback, Reply, method_of, said, streamed
from support.openai_cases import (
    CASES,
    CHAT_CHUNKS,
    COMPLETION_COUNTS,
    MESSAGES,
    PROMPT,
    SPOKEN,
    SPOKEN_EVENTS,
    Weather,
    completion,
)
from support.sdk_releases import async_http_client
from support.spans import token_vector
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator

    from support.ledger_in_memory import LedgerInMemory
    from support.openai_cases import (
        Case,
    )
    from support.sdk_calls import Sdk

KEY = "sk-canary-key"
# The SDK's warning about translations.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.fixture
def client(server: Loopback) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest_asyncio.fixture
async def async_client(server: Loopback, tls: ssl.SSLContext) -> AsyncIterator[AsyncOpenAI]:
    http_client = async_http_client(openai, verify=tls)
    async with AsyncOpenAI(
        base_url=server.url, api_key=KEY, max_retries=0, http_client=http_client
    ) as client:
        yield client


def call(client: Sdk, case: Case, method: str = "") -> Sdk:
    """Call the method and read its result to the end."""
    answer = method_of(client, method or case.method)(**case.arguments())
    if case.method.endswith(".stream"):
        with answer as stream:
            return list(stream)
    return list(answer) if hasattr(answer, "__next__") else answer


async def call_async(client: Sdk, case: Case) -> Sdk:
    answer = method_of(client, case.method)(**case.arguments())
    if case.method.endswith(".stream"):
        async with answer as stream:
            return [event async for event in stream]
    answer = await answer
    if hasattr(answer, "__anext__"):
        return [event async for event in answer]
    return answer


def fresh(case: Case) -> None:
    """Skip a case with an argument that this release of the SDK does not have."""
    owner, _, method = case.method.rpartition(".")
    known = inspect.signature(method_of(OpenAI(api_key=KEY), f"{owner}.{method}")).parameters
    if not case.arguments().keys() <= known.keys():
        pytest.skip("this release of the SDK has no such argument")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_api_counts_what_its_answer_reports(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI, case: Case
) -> None:
    fresh(case)
    server.on(case.path, case.reply)
    call(client, case)
    span = ledger.only()
    assert token_vector(span) == case.counts
    assert span.get(attributes.REQUEST_MODEL) == case.arguments().get("model")
    assert span[attributes.PROVIDER_NAME] == "openai"
    assert attributes.ERROR_TYPE not in span
    assert PROMPT not in str(span)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.asyncio
async def test_every_async_api_counts_what_its_answer_reports(
    ledger: LedgerInMemory, server: Loopback, async_client: AsyncOpenAI, case: Case
) -> None:
    fresh(case)
    server.on(case.path, case.reply)
    await call_async(async_client, case)
    assert token_vector(ledger.only()) == case.counts


# A raw chat stream is tested in test_raw_streams.
_RAW = [
    case
    for case in CASES
    if not case.method.endswith(".stream") and case.name not in {"chat stream", "completion stream"}
]


@pytest.mark.parametrize("case", _RAW, ids=str)
def test_every_raw_response_counts_what_its_answer_reports(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI, case: Case
) -> None:
    fresh(case)
    server.on(case.path, case.reply)
    owner, _, method = case.method.rpartition(".")
    raw = call(client, case, f"{owner}.with_raw_response.{method}")
    answer = raw.parse()
    if hasattr(answer, "__next__"):
        list(answer)
    assert token_vector(ledger.only()) == case.counts


@pytest.mark.parametrize("case", _RAW, ids=str)
def test_every_streaming_response_counts_what_its_answer_reports(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI, case: Case
) -> None:
    fresh(case)
    server.on(case.path, case.reply)
    owner, _, method = case.method.rpartition(".")
    with call(client, case, f"{owner}.with_streaming_response.{method}") as unread:
        assert unread.read() == case.reply.body
    assert token_vector(ledger.only()) == case.counts


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streaming response"])
def test_speech_reaches_the_app_byte_for_byte(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI, *, streams: bool
) -> None:
    server.on("/audio/speech", SPOKEN)
    if streams:
        with method_of(client, "audio.speech.with_streaming_response").create(
            model="tts-1", voice="alloy", input=PROMPT
        ) as unread:
            assert b"".join(unread.iter_bytes(3)) == SPOKEN.body
    else:
        spoken = client.audio.speech.create(model="tts-1", voice="alloy", input=PROMPT)
        assert spoken.read() == SPOKEN.body
    assert ledger.only()[attributes.INPUT_CHARACTERS] == len(PROMPT)


_SPEAK: Final = {
    "model": "gpt-4o-mini-tts",
    "voice": "alloy",
    "input": PROMPT,
    # Older releases have no argument of that name.
    "extra_body": {"stream_format": "sse"},
}
# gpt-4o-mini-tts: 14 tokens of text at 0.60 dollars a million, 101 of sound at 12.
_SPOKEN_COST = Decimal("0.0000084") + Decimal("0.001212")


@pytest.mark.parametrize("how", ["create", "with_raw_response.create"])
def test_speech_as_events_is_billed_by_its_tokens(
    ledger: LedgerInMemory, server: Loopback, client: Sdk, how: str
) -> None:
    server.on("/audio/speech", SPOKEN_EVENTS)
    answer = method_of(client, f"audio.speech.{how}")(**_SPEAK)
    assert answer.content == SPOKEN_EVENTS.body
    assert (ledger.only()[attributes.INPUT_TOKENS], ledger.only()[attributes.OUTPUT_TOKENS]) == (
        14,
        101,
    )
    row = row_of(ledger.spans[0])
    assert (row.cost_status, row.cost_usd) == ("priced", _SPOKEN_COST)


def test_speech_events_that_the_app_reads_itself_are_billed_by_their_tokens(
    ledger: LedgerInMemory, server: Loopback, client: Sdk
) -> None:
    server.on("/audio/speech", SPOKEN_EVENTS)
    with method_of(client, "audio.speech.with_streaming_response.create")(**_SPEAK) as unread:
        assert [line for line in unread.iter_lines() if line.startswith("data:")]
    assert row_of(ledger.spans[0]).cost_usd == _SPOKEN_COST


@pytest.mark.parametrize("how", ["create", "with_raw_response.create"])
@pytest.mark.asyncio
async def test_async_speech_as_events_is_billed_by_its_tokens(
    ledger: LedgerInMemory, server: Loopback, async_client: Sdk, how: str
) -> None:
    server.on("/audio/speech", SPOKEN_EVENTS)
    await method_of(async_client, f"audio.speech.{how}")(**_SPEAK)
    assert row_of(ledger.spans[0]).cost_usd == _SPOKEN_COST


@pytest.mark.parametrize("method", ["chat.completions.stream", "chat.completions.create"])
def test_usage_that_the_app_did_not_ask_for_is_hidden(
    ledger: LedgerInMemory, server: Loopback, client: Sdk, method: str
) -> None:
    server.on("/chat/completions", CHAT_CHUNKS)
    chunks: list[Sdk]
    case = next(case for case in CASES if case.method == method and "stream" not in case.name)
    if method.endswith("create"):
        chunks = list(
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
        )
    else:
        with method_of(client, method)(**case.arguments()) as stream:
            chunks = [event.chunk for event in stream if event.type == "chunk"]
    assert all(chunk.choices for chunk in chunks)
    assert not any("usage" in chunk.model_dump(exclude_unset=True) for chunk in chunks)
    assert token_vector(ledger.only()) == COMPLETION_COUNTS


def test_a_moderation_in_the_same_chunk_reaches_the_app(
    ledger: LedgerInMemory, server: Loopback, client: Sdk
) -> None:
    results: dict[str, object] = {"type": "moderation_results", "model": "m", "results": []}
    *chunks, last = (
        json.loads(line.removeprefix(b"data: "))
        for line in CHAT_CHUNKS.body.splitlines()
        if line.startswith(b"data: {")
    )
    assert last["usage"]
    last["moderation"] = {"input": results, "output": results}
    server.on("/chat/completions", streamed([*chunks, last]))
    seen: list[Sdk] = list(
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    )
    sent = {key: value for key, value in last.items() if key != "usage"}
    assert seen[-1].model_dump(exclude_unset=True) == sent
    assert seen[-1].usage is None
    assert token_vector(ledger.only()) == COMPLETION_COUNTS


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (completion(reason="length"), "LengthFinishReasonError"),
        (completion(reason="content_filter"), "ContentFilterFinishReasonError"),
        (completion(content="{}"), "ValidationError"),
    ],
    ids=["length", "content filter", "bad content"],
)
def test_a_call_whose_parsing_fails_in_the_sdk_has_its_cost(
    ledger: LedgerInMemory,
    server: Loopback,
    client: OpenAI,
    answer: object,
    error: str,
) -> None:
    server.on("/chat/completions", said(answer))
    parse = method_of(client, "chat.completions.parse")
    with pytest.raises(Exception) as raised:  # noqa: PT011 - the SDK's or pydantic's, see below
        parse(model="gpt-4o", messages=MESSAGES, response_format=Weather)
    assert type(raised.value).__name__ == error
    assert token_vector(ledger.only()) == COMPLETION_COUNTS


@pytest.mark.asyncio
async def test_an_async_call_whose_parsing_fails_in_the_sdk_has_its_cost(
    ledger: LedgerInMemory, server: Loopback, async_client: AsyncOpenAI
) -> None:
    server.on("/chat/completions", said(completion(reason="length")))
    parse = method_of(async_client, "chat.completions.parse")
    with pytest.raises(openai.LengthFinishReasonError):
        await parse(model="gpt-4o", messages=MESSAGES, response_format=Weather)
    assert token_vector(ledger.only()) == COMPLETION_COUNTS


def test_a_hosts_own_cost_is_stored(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    """OpenRouter reports its charge in `usage.cost`."""
    answer = completion()
    answer["usage"]["cost"] = 0.000123
    server.on("/chat/completions", said(answer))
    client.chat.completions.create(model="openai/gpt-4o", messages=MESSAGES)
    assert ledger.only()[attributes.REPORTED_COST] == "0.000123"


def test_a_hosts_own_cost_of_a_stream_is_stored(
    ledger: LedgerInMemory, server: Loopback, client: Sdk
) -> None:
    body = CHAT_CHUNKS.body.replace(b'"total_tokens": 1408', b'"total_tokens": 1408, "cost": 0.5')
    server.on("/chat/completions", Reply(body, CHAT_CHUNKS.content_type))
    list(client.chat.completions.create(model="openai/gpt-4o", messages=MESSAGES, stream=True))
    assert ledger.only()[attributes.REPORTED_COST] == "0.5"
