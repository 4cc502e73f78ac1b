"""Every line of a batch's results is one call at the batch price, however often it is read."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI

from support.loopback import Loopback, Reply, lines, method_of, said
from support.openai_cases import (
    COMPLETION_COUNTS,
    RESPONSE_COUNTS,
    completion,
    response,
)
from support.sdk_releases import async_http_client
from support.spans import attributes_of, token_vector
from tokenledger_semconv import attributes
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterator

    from support.ledger_in_memory import LedgerInMemory

MADE = 1_600_000_000
SECOND = 1_000_000_000


def batch(file: str | None) -> dict[str, Any]:
    return {
        "id": "batch_1",
        "object": "batch",
        "completion_window": "24h",
        "created_at": MADE,
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file-in",
        "output_file_id": file,
        "status": "completed",
    }


def line(number: int, body: object, status: int = 200) -> dict[str, Any]:
    return {
        "id": f"batch_req_{number}",
        "custom_id": f"task-{number}",
        "response": {"status_code": status, "request_id": "r", "body": body},
        "error": None,
    }


EMBEDDED: dict[str, Any] = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [],
    "usage": {"prompt_tokens": 61, "total_tokens": 61},
}
REFUSED = {"error": {"message": "no", "type": "invalid_request_error"}}
FAILED = {
    "id": "batch_req_9",
    "custom_id": "task-9",
    "response": None,
    "error": {"code": "batch_expired", "message": "expired"},
}
RESULTS = lines(
    line(1, completion()),
    line(2, response()),
    line(3, EMBEDDED),
    line(4, REFUSED, 400),
    FAILED,
)
COUNTS = [COMPLETION_COUNTS, RESPONSE_COUNTS, TokenVector(input_tokens=61)]


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as server:
        for file in ("seen", "made", "listed", "unseen"):
            server.on(f"/files/{file}/content", RESULTS)
        yield server


@pytest.fixture
def client(server: Loopback) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.url, api_key="sk-canary-key", max_retries=0) as client:
        yield client


@pytest_asyncio.fixture
async def async_client(server: Loopback, tls: ssl.SSLContext) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url=server.url,
        api_key="sk-canary-key",
        max_retries=0,
        http_client=async_http_client(openai, verify=tls),
    ) as client:
        yield client


def content(client: OpenAI, file: str) -> bytes:
    return client.files.content(file).read()


def retrieved_content(client: OpenAI, file: str) -> bytes:
    retrieve_content: Callable[[str], str] = method_of(client, "files.retrieve_content")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return retrieve_content(file).encode()


def raw_content(client: OpenAI, file: str) -> bytes:
    return client.files.with_raw_response.content(file).content


def unread_content(client: OpenAI, file: str) -> bytes:
    with client.files.with_streaming_response.content(file) as unread:
        return unread.read()


def piecewise_content(client: OpenAI, file: str) -> bytes:
    with client.files.with_streaming_response.content(file) as unread:
        return b"".join(unread.iter_bytes(7))


READERS = (content, retrieved_content, raw_content, unread_content, piecewise_content)


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_every_line_of_the_results_is_a_call(
    ledger: LedgerInMemory, client: OpenAI, read: Callable[[OpenAI, str], bytes]
) -> None:
    assert read(client, "unseen") == RESULTS.body
    spans = [attributes_of(span) for span in ledger.spans]
    assert [token_vector(span) for span in spans] == COUNTS
    assert [span[attributes.CALL_ID] for span in spans] == [
        f"openai.batch:batch_req_{number}" for number in (1, 2, 3)
    ]
    assert {span[attributes.OPENAI_SERVICE_TIER] for span in spans} == {"batch"}
    assert [span[attributes.OPERATION_NAME] for span in spans] == ["chat", "chat", "embeddings"]
    assert [span[attributes.REQUEST_MODEL] for span in spans] == [
        "gpt-4o-2024-08-06",
        "gpt-4o-2024-08-06",
        "text-embedding-3-small",
    ]
    assert [span[f"{attributes.METADATA_PREFIX}batch_custom_id"] for span in spans] == [
        "task-1",
        "task-2",
        "task-3",
    ]


@pytest.mark.asyncio
async def test_every_line_read_by_await_is_a_call(
    ledger: LedgerInMemory, async_client: AsyncOpenAI
) -> None:
    assert (await async_client.files.content("unseen")).read() == RESULTS.body
    async with async_client.files.with_streaming_response.content("unseen") as unread:
        assert b"".join([data async for data in unread.iter_bytes(7)]) == RESULTS.body
    assert [token_vector(attributes_of(span)) for span in ledger.spans] == COUNTS * 2


def see_retrieved(server: Loopback, client: OpenAI, file: str) -> None:
    server.on("/batches/batch_1", said(batch(file)))
    client.batches.retrieve("batch_1")


def see_raw(server: Loopback, client: OpenAI, file: str) -> None:
    server.on("/batches/batch_1", said(batch(file)))
    client.batches.with_raw_response.retrieve("batch_1")


def see_listed(server: Loopback, client: OpenAI, file: str) -> None:
    server.on(
        "/batches", said({"object": "list", "data": [batch(None), batch(file)], "has_more": False})
    )
    # One page: older releases request the next one in any case.
    assert len(client.batches.list().data) == 2


def see_made(server: Loopback, client: OpenAI, file: str) -> None:
    """A batch may be done when it is created."""
    server.on("/batches", said(batch(file)))
    client.batches.create(
        input_file_id="file-in", endpoint="/v1/chat/completions", completion_window="24h"
    )


SEEING = (see_retrieved, see_raw, see_listed, see_made)


@pytest.mark.parametrize("see", SEEING, ids=lambda see: see.__name__)
def test_a_line_without_a_time_has_the_time_of_its_batch(
    ledger: LedgerInMemory,
    server: Loopback,
    client: OpenAI,
    see: Callable[[Loopback, OpenAI, str], None],
) -> None:
    file = see.__name__
    server.on(f"/files/{file}/content", lines(line(3, EMBEDDED)))
    see(server, client, file)
    client.files.content(file)
    assert ledger.only()[attributes.CALL_STARTED_NS] == MADE * SECOND


@pytest.mark.asyncio
async def test_batches_listed_by_await_are_seen(
    ledger: LedgerInMemory, server: Loopback, async_client: AsyncOpenAI
) -> None:
    server.on("/batches", said({"object": "list", "data": [batch("later")], "has_more": False}))
    server.on("/files/later/content", lines(line(3, EMBEDDED)))
    assert [seen.id for seen in (await async_client.batches.list()).data] == ["batch_1"]
    await async_client.files.content("later")
    assert ledger.only()[attributes.CALL_STARTED_NS] == MADE * SECOND


def test_a_line_is_the_same_call_for_every_reader_of_its_file(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    only_chat = lines(line(1, completion()), line(2, response()))
    server.on("/files/again/content", only_chat)
    client.files.content("again")
    see_retrieved(server, client, "again")
    client.files.content("again")
    identities = [
        (span[attributes.CALL_ID], span[attributes.CALL_STARTED_NS])
        for span in map(attributes_of, ledger.spans)
    ]
    assert identities[:2] == identities[2:]
    assert identities[0] == ("openai.batch:batch_req_1", 1_700_000_000 * SECOND)


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@pytest.mark.parametrize(
    "body",
    [
        b"plain text\nof two lines\n",
        b"\xff\xd8\xff\x00 an image\n{",
        b'{"custom_id": "task-1", "method": "POST", "url": "/v1/chat/completions"}\n',
        b'[{"id": 1}]',
        b"{",
        b'{"a": ' * 5_000,
        b"",
        b"5",
    ],
    ids=["text", "image", "batch input", "list", "half", "deep", "empty", "number"],
)
def test_a_file_of_another_kind_is_not_touched(
    ledger: LedgerInMemory,
    server: Loopback,
    client: OpenAI,
    read: Callable[[OpenAI, str], bytes],
    body: bytes,
) -> None:
    if read is retrieved_content and b"\xff" in body:
        body = b"text"
    server.on("/files/other/content", Reply(body, "application/octet-stream"))
    assert read(client, "other") == body
    assert not ledger.spans


def test_results_left_early_record_what_was_read(ledger: LedgerInMemory, client: OpenAI) -> None:
    with client.files.with_streaming_response.content("unseen") as unread:
        first = next(unread.iter_bytes(len(RESULTS.body) - 100))
    assert first
    assert [token_vector(attributes_of(span)) for span in ledger.spans] == COUNTS


def test_files_are_listed_without_a_trace(
    ledger: LedgerInMemory, server: Loopback, client: OpenAI
) -> None:
    server.on("/files", said({"object": "list", "data": [], "has_more": False}))
    client.files.list()
    assert not ledger.spans
