"""`track_llm`: one call is one row, whether an instrumentor saw it or not."""

from __future__ import annotations

import asyncio
import inspect
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from anthropic.types import Message
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion

import tokenledger
from support.sdk_calls import CHAT, CHAT_STREAM, MESSAGE, MESSAGE_STREAM, RESPONSE, run, send
from support.sdk_releases import modelled
from support.spans import attributes_of, token_counts
from tokenledger import _guard, attribution, meter, track_cost, track_llm
from tokenledger_semconv.attributes import (
    ENDPOINT,
    FEATURE,
    METADATA_PREFIX,
    OPERATION_NAME,
    PROVIDER_NAME,
    RESPONSE_ID,
    RESPONSE_MODEL,
    USER_ID,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Generator

    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Clients, Shape

CHAT_ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024-08-06",
    "choices": [],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 40},
    },
}
RESPONSE_ANSWER: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "gpt-4o-2024-08-06",
    "output": [],
    "parallel_tool_calls": False,
    "tool_choice": "auto",
    "tools": [],
    "status": "completed",
    "usage": {
        "input_tokens": 100,
        "output_tokens": 20,
        "total_tokens": 120,
        "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 5},
    },
}
MESSAGE_ANSWER: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [],
    "model": "claude-sonnet-5",
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 60, "cache_read_input_tokens": 40, "output_tokens": 20},
}
EMBEDDING_ANSWER: dict[str, Any] = {
    "object": "list",
    "data": [],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 100, "total_tokens": 100},
}


@pytest.fixture
def bare(ledgers: list[LedgerInMemory]) -> LedgerInMemory:
    """A ledger, with unpatched SDKs."""
    tokenledger.configure()
    return ledgers[0]


@pytest.mark.parametrize("shape", [CHAT, RESPONSE, MESSAGE], ids=str)
def test_a_patched_call_inside_is_one_row_with_the_attribution(
    ledger: LedgerInMemory, clients: Clients, shape: Shape
) -> None:
    @track_llm(endpoint="/ask", user_id="u1", metadata={"feature": "chat", "tier": "gold"})
    def ask() -> Any:  # noqa: ANN401 - either SDK's answer
        return run(clients, shape)

    ask()
    said = ledger.only()
    assert (said[ENDPOINT], said[USER_ID], said[FEATURE]) == ("/ask", "u1", "chat")
    assert said[METADATA_PREFIX + "tier"] == "gold"


@pytest.mark.parametrize("shape", [CHAT, RESPONSE, MESSAGE], ids=str)
def test_the_same_call_unpatched_is_one_row_with_the_same_counts(
    bare: LedgerInMemory, clients: Clients, shape: Shape
) -> None:
    @track_llm(user_id="u1")
    def ask() -> Any:  # noqa: ANN401 - either SDK's answer
        return run(clients, shape)

    answer = ask()
    unpatched = bare.only()
    tokenledger.patch_openai()
    tokenledger.patch_anthropic()
    run(clients, shape)
    assert token_counts(unpatched) == token_counts(attributes_of(bare.spans[1]))
    assert unpatched[USER_ID] == "u1"
    assert unpatched[RESPONSE_ID] == answer.id
    assert unpatched[PROVIDER_NAME] == shape.sdk


def test_a_patched_stream_that_leaves_the_function_is_one_row(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    @track_llm(user_id="u1")
    def ask() -> Any:  # noqa: ANN401 - a stream
        return send(clients, CHAT_STREAM)

    list(ask())
    assert ledger.only()[USER_ID] == "u1"


@pytest.mark.parametrize("shape", [CHAT_STREAM, MESSAGE_STREAM], ids=str)
@pytest.mark.parametrize("patched", [True, False], ids=["patched", "bare"])
def test_a_generator_over_a_stream_is_one_row(
    ledger: LedgerInMemory, clients: Clients, shape: Shape, patched: bool
) -> None:
    if not patched:
        tokenledger.unpatch_openai()
        tokenledger.unpatch_anthropic()
    options = {"stream_options": {"include_usage": True}} if shape is CHAT_STREAM else {}

    @track_llm(user_id="u1")
    def ask() -> Generator[Any]:
        yield from send(clients, shape, **options)

    chunks = list(ask())
    assert chunks
    said = ledger.only()
    assert said[USER_ID] == "u1"
    assert token_counts(said)["output_tokens"] == 50
    assert token_counts(said)["input_tokens"] == 1_200


ANSWERS: list[tuple[object, str]] = [
    (ChatCompletion.model_validate(CHAT_ANSWER), "openai"),
    (CHAT_ANSWER, "openai"),
    (modelled("openai.types.responses", "Response", RESPONSE_ANSWER), "openai"),
    (RESPONSE_ANSWER, "openai"),
    (Message.model_validate(MESSAGE_ANSWER), "anthropic"),
    (MESSAGE_ANSWER, "anthropic"),
    ({"usage": MESSAGE_ANSWER["usage"], "model": "claude-sonnet-5"}, "anthropic"),
    (SimpleNamespace(usage=SimpleNamespace(prompt_tokens=100, completion_tokens=20)), ""),
    ({"usage": {"input_tokens": 100, "output_tokens": 20}}, ""),
]
NAMES = [
    *("chat", "chat-dict", "response", "response-dict", "message", "message-dict"),
    *("message-usage", "objects", "plain-dict"),
]


@pytest.mark.parametrize(("answer", "provider"), ANSWERS, ids=NAMES)
def test_the_functions_result_is_recorded(
    bare: LedgerInMemory, answer: object, provider: str
) -> None:
    @track_llm
    def ask() -> object:
        return answer

    assert ask() is answer
    said = bare.only()
    assert token_counts(said)["input_tokens"] == 100
    assert token_counts(said)["output_tokens"] == 20
    assert said.get(PROVIDER_NAME, "") == provider


def test_an_embedding_is_recorded_as_an_embedding(bare: LedgerInMemory) -> None:
    track_llm(lambda: CreateEmbeddingResponse.model_validate(EMBEDDING_ANSWER))()
    assert bare.only()[OPERATION_NAME] == "embeddings"
    assert token_counts(bare.only()) == {"input_tokens": 100}


def test_the_arguments_fill_what_the_answer_leaves_out(bare: LedgerInMemory) -> None:
    usage = {"usage": {"input_tokens": 60, "output_tokens": 20}}
    track_llm(provider="anthropic", model="claude-sonnet-5")(lambda: usage)()
    said = bare.only()
    assert (said[PROVIDER_NAME], said[RESPONSE_MODEL]) == ("anthropic", "claude-sonnet-5")


def test_the_answers_model_beats_the_argument(bare: LedgerInMemory) -> None:
    track_llm(model="gpt-4o")(lambda: CHAT_ANSWER)()
    assert bare.only()[RESPONSE_MODEL] == "gpt-4o-2024-08-06"


@pytest.mark.parametrize(
    "answer",
    [None, "text", 3, {}, {"usage": None}, {"usage": {}}, object()],
    ids=["none", "text", "number", "nothing", "no-usage", "empty-usage", "object"],
)
def test_an_answer_without_usage_is_not_recorded(bare: LedgerInMemory, answer: object) -> None:
    assert track_llm(lambda: answer)() is answer
    assert not bare.spans


def test_an_exception_passes_through_and_records_nothing(bare: LedgerInMemory) -> None:
    raised = ValueError("canary")

    @track_llm
    def ask() -> None:
        raise raised

    with pytest.raises(ValueError, match="canary") as caught:
        ask()
    assert caught.value is raised
    assert not bare.spans


def test_nested_functions_record_one_call(bare: LedgerInMemory) -> None:
    @track_llm(user_id="inner")
    def inner() -> object:
        return CHAT_ANSWER

    @track_llm(user_id="outer", endpoint="/outer")
    def outer() -> object:
        return inner()

    outer()
    said = bare.only()
    assert (said[USER_ID], said[ENDPOINT]) == ("inner", "/outer")


def test_a_call_reported_inside_by_the_app_is_the_only_row(bare: LedgerInMemory) -> None:
    @track_llm
    def ask() -> object:
        track_cost(7, 7, "gpt-4o")
        return CHAT_ANSWER

    ask()
    assert token_counts(bare.only()) == {"input_tokens": 7, "output_tokens": 7}


def test_two_runs_are_two_rows_with_their_own_durations(bare: LedgerInMemory) -> None:
    ask = track_llm(lambda: CHAT_ANSWER)
    ask()
    ask()
    assert len(bare.spans) == 2
    assert all((span.end_time or 0) > (span.start_time or 0) for span in bare.spans)


def test_a_recorded_answer_counts_in_a_meter(bare: LedgerInMemory) -> None:
    with meter() as counted:
        track_llm(lambda: CHAT_ANSWER)()
    assert counted.calls == len(bare.spans) == 1
    assert counted.tokens.input == 100


@pytest.mark.asyncio
async def test_coroutine_functions_run_concurrently(bare: LedgerInMemory) -> None:
    @track_llm(endpoint="/ask")
    async def ask(user: str) -> object:
        with attribution(user_id=user):
            await asyncio.sleep(0)
        return CHAT_ANSWER

    assert inspect.iscoroutinefunction(ask)
    await asyncio.gather(*(ask(f"u{number}") for number in range(20)))
    assert [attributes_of(span)[ENDPOINT] for span in bare.spans] == ["/ask"] * 20


@pytest.mark.asyncio
async def test_a_plain_function_that_returns_a_coroutine_records_its_answer(
    bare: LedgerInMemory,
) -> None:
    async def ask() -> object:
        await asyncio.sleep(0)
        return CHAT_ANSWER

    @track_llm(user_id="u1")
    def start() -> Coroutine[Any, Any, object]:
        return ask()

    assert await start() is CHAT_ANSWER
    assert bare.only()[USER_ID] == "u1"


@pytest.mark.asyncio
async def test_a_plain_function_that_returns_a_generator_records_its_answer(
    bare: LedgerInMemory,
) -> None:
    async def later() -> AsyncGenerator[object]:
        yield CHAT_ANSWER

    decorated = track_llm(user_id="u1")
    assert list(decorated(lambda: (answer for answer in (None, CHAT_ANSWER)))())[1] is CHAT_ANSWER
    assert [answer async for answer in decorated(lambda: (it async for it in later()))()]
    assert [attributes_of(span)[USER_ID] for span in bare.spans] == ["u1", "u1"]


def test_a_generator_records_the_last_usage_it_yields(bare: LedgerInMemory) -> None:
    @track_llm(user_id="u1")
    def ask() -> Generator[object, object, str]:
        sent = yield {"usage": None}
        assert sent == "hello"
        yield {**CHAT_ANSWER, "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
        yield CHAT_ANSWER
        yield {"choices": []}
        return "done"

    generator = ask()
    next(generator)
    generator.send("hello")
    track_cost(3, 3, "gpt-4o")
    next(generator)
    next(generator)
    with pytest.raises(StopIteration) as stopped:
        next(generator)
    assert stopped.value.value == "done"
    assert [token_counts(attributes_of(span))["input_tokens"] for span in bare.spans] == [3, 100]
    assert [attributes_of(span).get(USER_ID) for span in bare.spans] == [None, "u1"]


def test_a_generator_left_early_records_the_usage_it_had_yielded(bare: LedgerInMemory) -> None:
    @track_llm
    def ask() -> Generator[object]:
        yield CHAT_ANSWER
        yield None

    for _ in ask():
        break
    assert token_counts(bare.only())["output_tokens"] == 20


@pytest.mark.asyncio
async def test_an_async_generator_records_the_last_usage_it_yields(bare: LedgerInMemory) -> None:
    @track_llm(user_id="u1")
    async def ask() -> AsyncGenerator[object]:
        await asyncio.sleep(0)
        yield {"type": "response.completed", "response": RESPONSE_ANSWER}

    assert inspect.isasyncgenfunction(ask)
    async for _ in ask():
        assert not bare.spans
    said = bare.only()
    assert (token_counts(said)["output_tokens"], said[USER_ID]) == (20, "u1")


@pytest.mark.asyncio
async def test_an_async_generator_left_early_records_the_usage_it_had_yielded(
    bare: LedgerInMemory,
) -> None:
    @track_llm
    async def ask() -> AsyncGenerator[object]:
        yield CHAT_ANSWER
        yield None

    generator = ask()
    await anext(generator)
    await generator.aclose()
    assert token_counts(bare.only())["output_tokens"] == 20


class _Hostile:
    @property
    def usage(self) -> object:
        raise RuntimeError

    def __getattribute__(self, name: str) -> object:
        if name == "__dict__":
            raise RuntimeError
        return super().__getattribute__(name)


def test_a_result_that_cannot_be_read_reaches_its_caller(bare: LedgerInMemory) -> None:
    hostile = _Hostile()
    assert track_llm(lambda: hostile)() is hostile
    assert not bare.spans
    assert _guard.counts() == {"reading a tracked function's result": 1}
    _guard.reset()


def test_nothing_is_recorded_while_disabled(ledgers: list[LedgerInMemory]) -> None:
    tokenledger.configure(enabled=False)
    assert track_llm(lambda: CHAT_ANSWER)() is CHAT_ANSWER
    assert not ledgers
