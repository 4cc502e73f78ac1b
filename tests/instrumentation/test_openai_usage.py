"""Reading OpenAI's answers, from plain mappings and from the SDK's own types."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tokenledger.instrumentors.openai_usage import (
    ChatStream,
    ResponseStream,
    read_chat,
    read_embeddings,
    read_response,
    tokens_of,
)
from tokenledger_semconv.attributes import OPENAI_SERVICE_TIER, OPENAI_SYSTEM_FINGERPRINT
from tokenledger_semconv.tokens import TokenVector

_USAGE: dict[str, Any] = {
    "prompt_tokens": 100,
    "completion_tokens": 40,
    "total_tokens": 140,
    "prompt_tokens_details": {
        "cached_tokens": 64,
        "cache_write_tokens": 8,
        "audio_tokens": 5,
        "image_tokens": 3,
    },
    "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 2},
}
_VECTOR = TokenVector(
    input_tokens=100,
    output_tokens=40,
    cached_tokens=64,
    cache_write_tokens=8,
    reasoning_tokens=30,
    audio_input_tokens=5,
    audio_output_tokens=2,
    image_input_tokens=3,
)
_COMPLETION: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024-08-06",
    "service_tier": "flex",
    "system_fingerprint": "fp_1",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x"}},
        {"index": 1, "finish_reason": "length", "message": {"role": "assistant", "content": "x"}},
    ],
    "usage": _USAGE,
}


@pytest.mark.parametrize(
    "completion",
    [_COMPLETION, ChatCompletion.model_validate(_COMPLETION)],
    ids=["mapping", "sdk-object"],
)
def test_a_completion_is_read_whole(completion: object) -> None:
    reading = read_chat(completion)
    assert reading.tokens == _VECTOR
    assert reading.usage == _USAGE
    assert reading.response_id == "chatcmpl-1"
    assert reading.response_model == "gpt-4o-2024-08-06"
    assert reading.finish_reasons == ("stop", "length")
    assert reading.further == {OPENAI_SERVICE_TIER: "flex", OPENAI_SYSTEM_FINGERPRINT: "fp_1"}


def test_what_is_not_reported_is_not_zero() -> None:
    assert tokens_of({"prompt_tokens": 0}) == TokenVector(input_tokens=0)
    assert read_chat({**_COMPLETION, "usage": None}).tokens.is_empty
    assert read_chat(None).tokens.is_empty


@pytest.mark.parametrize("wrong", [-1, 1.5, "7", True, None], ids=str)
def test_what_is_no_count_is_not_reported(wrong: object) -> None:
    assert tokens_of({"prompt_tokens": wrong}).is_empty


@pytest.mark.parametrize("form", [dict, CreateEmbeddingResponse.model_validate], ids=str)
def test_embeddings_have_no_output(form: Any) -> None:  # noqa: ANN401 - two constructors
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    answer = {"object": "list", "data": list[object](), "model": "text-embedding-3-small"}
    reading = read_embeddings(form({**answer, "usage": usage}))
    assert reading.tokens == TokenVector(input_tokens=8)


def test_a_response_counts_its_built_in_tools() -> None:
    reading = read_response(
        {
            "id": "resp_1",
            "model": "gpt-4o",
            "status": "completed",
            "service_tier": "priority",
            "output": [
                {"type": "web_search_call"},
                {"type": "web_search_call"},
                {"type": "file_search_call"},
                {"type": "code_interpreter_call"},
                {"type": "message"},
            ],
            "usage": {
                "input_tokens": 50,
                "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 4},
                "output_tokens": 20,
                "output_tokens_details": {"reasoning_tokens": 12},
            },
        }
    )
    assert reading.tokens == TokenVector(
        input_tokens=50,
        output_tokens=20,
        cached_tokens=10,
        cache_write_tokens=4,
        reasoning_tokens=12,
        web_search_requests=2,
        file_search_requests=1,
        code_execution_requests=1,
    )
    assert reading.finish_reasons == ("completed",)


def test_a_response_that_failed_says_so() -> None:
    assert read_response({"status": "failed"}).error_type == "response.failed"
    assert read_response({"status": "in_progress"}).finish_reasons == ()


def _chunk(**fields: object) -> dict[str, object]:
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "delta": {"content": "x"}}],
    }
    return {**chunk, **fields}


@pytest.mark.parametrize("form", [dict, ChatCompletionChunk.model_validate], ids=str)
def test_a_chat_stream_is_read_off_its_first_and_its_usage_chunk(
    form: Any,  # noqa: ANN401 - two constructors
) -> None:
    stream = ChatStream(hides_usage=True)
    assert stream.see(form(_chunk(usage=None))) is False
    assert stream.reading().response_model == "gpt-4o-2024-08-06"
    assert stream.reading().tokens.is_empty
    assert stream.see(form(_chunk(choices=list[object](), usage=_USAGE))) is True
    assert stream.reading().tokens == _VECTOR


def test_usage_somebody_asked_for_is_not_hidden() -> None:
    stream = ChatStream()
    assert stream.see(_chunk(choices=list[object](), usage=_USAGE)) is False


def test_usage_beside_content_is_never_hidden() -> None:
    """Some hosts send it so, and the content is the app's."""
    stream = ChatStream(hides_usage=True)
    assert stream.see(_chunk(usage=_USAGE)) is False
    assert stream.reading().tokens == _VECTOR


def test_only_chunks_with_usage_are_worth_reading() -> None:
    stream = ChatStream()
    with_usage = ChatCompletionChunk.model_validate(_chunk(usage=_USAGE))
    without = ChatCompletionChunk.model_validate(_chunk())
    stream.see(without)
    assert stream.field(without) in stream.quiet
    assert stream.field(with_usage) not in stream.quiet


def test_chunks_are_read_until_one_names_the_model() -> None:
    """Azure's first chunk holds its prompt filter's findings, and no model."""
    stream = ChatStream()
    stream.see(_chunk(model="", choices=list[object]()))
    assert None not in stream.quiet
    stream.see(_chunk())
    assert None in stream.quiet
    assert stream.reading().response_model == "gpt-4o-2024-08-06"


def test_a_responses_stream_broken_off_has_a_model_and_no_counts() -> None:
    stream = ResponseStream()
    created = {"id": "resp_1", "model": "gpt-4o", "status": "in_progress", "usage": None}
    stream.see({"type": "response.created", "response": created})
    reading = stream.reading()
    assert (reading.response_id, reading.response_model) == ("resp_1", "gpt-4o")
    assert reading.tokens.is_empty


def test_an_error_event_fails_the_stream_without_its_words() -> None:
    stream = ResponseStream()
    stream.see({"type": "error", "message": "canary"})
    assert stream.reading().error_type == "error"
    assert "canary" not in repr(stream.reading())
