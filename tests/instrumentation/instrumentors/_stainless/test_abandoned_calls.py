"""Abandoned answers, and answers read in unusual ways: as with the bare SDK, and one row."""

from __future__ import annotations

import gc
import inspect
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from openai import OpenAI, Stream

import tokenledger
from support.loopback import Loopback, method_of, said
from support.openai_cases import completion
from support.sdk_calls import CHAT, CHAT_STREAM, MESSAGE_STREAM, Shape, run, send
from support.spans import attributes_of, token_counts
from tokenledger_semconv.attributes import USAGE_ESTIMATED

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fake_provider import DemoProvider
    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Clients, Sdk

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")


def _raw(clients: Clients, shape: Shape) -> Sdk:
    method = shape.method.replace(".create", ".with_raw_response.create")
    return send(clients, Shape("raw", shape.sdk, method, shape.arguments))


@pytest.mark.parametrize("shape", [CHAT_STREAM, MESSAGE_STREAM], ids=str)
def test_a_raw_response_may_be_dropped_while_its_bytes_are_read(
    ledger: LedgerInMemory, clients: Clients, shape: Shape
) -> None:
    read = b"".join(_raw(clients, shape).http_response.iter_bytes())
    assert b"data:" in read
    assert len(ledger.spans) == 1


def test_a_parsed_raw_stream_may_be_dropped_early(ledger: LedgerInMemory, clients: Clients) -> None:
    for _ in range(3):
        stream: Sdk = _raw(clients, CHAT_STREAM).parse()
        next(iter(stream))
        del stream
        gc.collect()
    assert len(ledger.spans) == 3


@pytest.mark.usefixtures("ledger")
def test_a_response_read_to_its_end_has_its_own_methods_again(clients: Clients) -> None:
    response = _raw(clients, CHAT_STREAM).http_response
    assert response.read()
    own_methods: dict[str, object] = response.__dict__
    assert not {"iter_bytes", "close"} & own_methods.keys()
    assert pickle.loads(pickle.dumps(response)).content == response.content  # noqa: S301


class _Circle:
    """An object that only the garbage collector frees."""

    def __init__(self, reference: object) -> None:
        self.reference = reference
        self.itself = self


@pytest.mark.parametrize("shape", [CHAT_STREAM, MESSAGE_STREAM], ids=str)
def test_a_stream_freed_by_the_garbage_collector_is_estimated(
    ledger: LedgerInMemory, clients: Clients, shape: Shape
) -> None:
    stream = send(clients, shape)
    for _ in range(5):
        next(stream)
    circle: _Circle | None = _Circle(stream)
    del stream, circle
    gc.collect()
    span = ledger.only()
    assert span[USAGE_ESTIMATED] is True
    assert token_counts(span)["output_tokens"] > 0


def _rows_of_a_child(ledger: LedgerInMemory, release: Callable[[], None]) -> int:
    """The number of calls that end in a forked child that drops its copy of an answer."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    child = os.fork()
    if child == 0:
        release()
        gc.collect()
        os._exit(len(ledger.spans))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("shape", [CHAT_STREAM, MESSAGE_STREAM], ids=str)
def test_a_forked_child_leaves_an_open_stream_to_its_parent(
    ledger: LedgerInMemory, clients: Clients, shape: Shape
) -> None:
    stream = send(clients, shape)
    next(stream)
    assert _rows_of_a_child(ledger, stream.close) == 0
    list(stream)
    assert token_counts(ledger.only())["output_tokens"] == 50


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_leaves_an_unread_answer_to_its_parent(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    create = method_of(clients.openai, "chat.completions.with_streaming_response.create")
    with create(**CHAT.arguments) as answer:
        assert _rows_of_a_child(ledger, answer.close) == 0
        answer.read()
    assert token_counts(ledger.only())["output_tokens"] == 50


def test_a_chat_helper_left_early_is_a_row_at_once(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    if not hasattr(clients.openai.chat.completions, "stream"):
        pytest.skip("this release of the SDK has no such method")
    arguments = {key: CHAT.arguments[key] for key in ("model", "messages", "extra_headers")}
    with clients.openai.chat.completions.stream(**arguments) as stream:
        for _ in zip(range(8), stream):  # noqa: B905 - left early
            pass
    assert ledger.only()[USAGE_ESTIMATED] is True


@pytest.mark.parametrize(
    "path", ["chat/completions", "/chat/completions?x=1", "{url}/chat/completions"]
)
def test_a_path_the_app_wrote_itself_is_a_call(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider, path: str
) -> None:
    body = {key: CHAT.arguments[key] for key in ("model", "messages")}
    url = path.replace("{url}", provider.openai_base_url)
    answer: Any = clients.openai.post(url, body=body, cast_to=object)
    assert answer["usage"]
    assert token_counts(ledger.only())["input_tokens"] == answer["usage"]["prompt_tokens"]


def test_listing_stored_answers_is_not_a_call(ledger: LedgerInMemory) -> None:
    """Stored chats are listed under the path that creates them."""
    page = {"object": "list", "data": [completion()], "has_more": False}
    with Loopback() as server, OpenAI(base_url=server.url, api_key="sk-canary-key") as client:
        server.on("/chat/completions", said(page))
        assert client.get("/chat/completions", cast_to=object) == page
    assert not ledger.spans


def test_a_body_that_the_app_serialized_is_sent_unchanged(ledger: LedgerInMemory) -> None:
    written = b'{"model": "gpt-4o", "messages": [], "stream": true}'
    with Loopback() as server, OpenAI(base_url=server.url, api_key="sk-canary-key") as client:
        if "content" not in inspect.signature(client.post).parameters:
            pytest.skip("this release of the SDK takes no such body")
        server.on("/chat/completions", said(completion()))
        client.post(
            "/chat/completions",
            content=written,
            cast_to=object,
            stream=True,
            stream_cls=Stream[object],
        ).close()
        assert server.requests[0].body == written
    assert len(ledger.spans) == 1


@pytest.mark.usefixtures("ledger")
def test_usage_requested_by_openrouters_own_field_is_left_to_the_app(
    clients: Clients, provider: DemoProvider
) -> None:
    run(clients, CHAT_STREAM, extra_body={"usage": {"include": True}})
    assert "stream_options" not in (provider.requests[0].body or {})


def test_a_tracked_function_that_calls_in_a_thread_is_one_row(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    @tokenledger.track_llm(user_id="u1")
    def ask() -> object:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(run, clients, CHAT).result()

    ask()
    assert len(ledger.spans) == 1


def test_an_answer_returned_twice_is_one_row(ledger: LedgerInMemory, clients: Clients) -> None:
    answer = run(clients, CHAT)
    tracked = tokenledger.track_llm(lambda: answer)
    assert [tracked() is answer for _ in range(2)] == [True, True]
    assert [attributes_of(span)["gen_ai.operation.name"] for span in ledger.spans] == ["chat"]
