"""Reading OpenAI's answers, from plain mappings and from the SDK's own types."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from support.spans import token_vector
from tokenledger._usage.estimate import ONE_CHUNK, OPENAI_TOOL_CALL
from tokenledger._usage.openai import (
    ChatStream,
    read_chat,
    read_response,
    read_usage,
)
from tokenledger.instrumentors.openai.events import response_stream
from tokenledger_semconv import attributes as names
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
    result = read_chat(completion)
    assert token_vector(result) == _VECTOR
    assert json.loads(str(result[names.PROVIDER_USAGE])) == _USAGE
    assert result[names.RESPONSE_ID] == "chatcmpl-1"
    assert result[names.RESPONSE_MODEL] == "gpt-4o-2024-08-06"
    assert result[names.FINISH_REASONS] == ("stop", "length")
    assert result[names.OPENAI_SERVICE_TIER] == "flex"
    assert result[names.OPENAI_SYSTEM_FINGERPRINT] == "fp_1"


def test_what_is_not_reported_is_not_zero() -> None:
    assert token_vector(read_chat({"usage": {"prompt_tokens": 0}})) == TokenVector(input_tokens=0)
    assert token_vector(read_chat({**_COMPLETION, "usage": None})).is_empty
    assert not read_chat(None)


@pytest.mark.parametrize("wrong", [1.5, "7", True, None, {"a": 1}], ids=str)
def test_an_invalid_count_is_not_reported(wrong: object) -> None:
    assert token_vector(read_chat({"usage": {"prompt_tokens": wrong}})).is_empty


@pytest.mark.parametrize("form", [dict, CreateEmbeddingResponse.model_validate], ids=str)
def test_embeddings_have_no_output(form: Any) -> None:  # noqa: ANN401 - two constructors
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    answer = {"object": "list", "data": list[object](), "model": "text-embedding-3-small"}
    result = read_usage(form({**answer, "usage": usage}))
    assert token_vector(result) == TokenVector(input_tokens=8)


def test_a_response_counts_its_built_in_tools() -> None:
    result = read_response(
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
    assert token_vector(result) == TokenVector(
        input_tokens=50,
        output_tokens=20,
        cached_tokens=10,
        cache_write_tokens=4,
        reasoning_tokens=12,
        web_search_requests=2,
        file_search_requests=1,
        code_execution_requests=1,
    )
    assert result[names.FINISH_REASONS] == ("stop",)


def test_a_failed_response_is_an_error() -> None:
    assert read_response({"status": "failed"})[names.ERROR_TYPE] == "response.failed"
    assert names.FINISH_REASONS not in read_response({"status": "in_progress"})


def _chunk(**fields: object) -> dict[str, object]:
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}],
    }
    return {**chunk, **fields}


@pytest.mark.parametrize("form", [dict, ChatCompletionChunk.model_validate], ids=str)
def test_a_chat_stream_is_read_from_its_first_and_its_usage_chunk(
    form: Any,  # noqa: ANN401 - two constructors
) -> None:
    stream = ChatStream(hides_usage=True)
    assert stream.note(form(_chunk(usage=None))) is False
    assert stream.attributes()[names.RESPONSE_MODEL] == "gpt-4o-2024-08-06"
    assert token_vector(stream.attributes()).is_empty
    assert stream.note(form(_chunk(choices=list[object](), usage=_USAGE))) is True
    assert token_vector(stream.attributes()) == _VECTOR


def test_usage_that_the_app_asked_for_is_not_hidden() -> None:
    stream = ChatStream()
    assert stream.note(_chunk(choices=list[object](), usage=_USAGE)) is False


def test_usage_in_a_chunk_with_content_is_never_hidden() -> None:
    """Some hosts send it this way, and the content belongs to the app."""
    stream = ChatStream(hides_usage=True)
    assert stream.note(_chunk(usage=_USAGE)) is False
    assert token_vector(stream.attributes()) == _VECTOR


def test_the_usage_field_of_a_chunk_is_hidden() -> None:
    """Asking for the usage puts `"usage": null` on every chunk."""
    chunk = ChatCompletionChunk.model_validate(_chunk(usage=None))
    ChatStream(hides_usage=True).note(chunk)
    assert "usage" not in chunk.model_dump(exclude_unset=True)
    shown = ChatCompletionChunk.model_validate(_chunk(usage=None))
    ChatStream().note(shown)
    assert "usage" in shown.model_dump(exclude_unset=True)


def test_a_later_chunk_names_the_model_if_the_first_does_not() -> None:
    """Azure's first chunk holds the result of its prompt filter, and no model."""
    stream = ChatStream()
    stream.note(_chunk(model="", choices=list[object]()))
    stream.note(_chunk())
    stream.note(_chunk(model=""))
    assert stream.attributes()[names.RESPONSE_MODEL] == "gpt-4o-2024-08-06"


def test_the_finish_reasons_of_a_stream_are_in_the_order_of_its_choices() -> None:
    stream = ChatStream()
    stream.note(
        _chunk(choices=[{"index": 1, "finish_reason": "length", "delta": {"role": "assistant"}}])
    )
    stream.note(
        _chunk(choices=[{"index": 0, "finish_reason": "stop", "delta": {"role": "assistant"}}])
    )
    assert stream.attributes()[names.FINISH_REASONS] == ("stop", "length")


def test_the_text_of_a_chunk_is_weighed_in_whichever_field_it_is() -> None:
    call = {"function": {"name": "look", "arguments": '{"a":1}'}}
    deltas = [{"content": "four"}, {"reasoning_content": "four"}, {"tool_calls": [call]}, {}]
    weights = [ChatStream().weigh(_chunk(choices=[{"delta": delta}])) for delta in deltas]
    assert weights == [
        ONE_CHUNK + 4,
        ONE_CHUNK + 4,
        ONE_CHUNK + OPENAI_TOOL_CALL + len("look" + '{"a":1}'),
        0,
    ]


def test_a_responses_stream_that_broke_off_has_a_model_and_no_counts() -> None:
    stream = response_stream()
    created = {"id": "resp_1", "model": "gpt-4o", "status": "in_progress", "usage": None}
    stream.note({"type": "response.created", "response": created})
    result = stream.attributes()
    assert (result[names.RESPONSE_ID], result[names.RESPONSE_MODEL]) == ("resp_1", "gpt-4o")
    assert token_vector(result).is_empty


def test_an_error_event_fails_the_stream_and_its_text_is_not_stored() -> None:
    stream = response_stream()
    stream.note({"type": "error", "message": "canary"})
    assert stream.attributes() == {names.ERROR_TYPE: "error"}


@pytest.mark.parametrize(
    "late",
    [
        {"id": "", "model": "", "service_tier": "", "system_fingerprint": "", "choices": []},
        {"id": None, "model": None, "service_tier": None, "choices": [], "usage": {}},
        {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}},
    ],
    ids=["blank", "null", "no counts"],
)
def test_a_late_empty_chunk_removes_nothing(late: dict[str, object]) -> None:
    """Azure's asynchronous content filter sends them."""
    whole: dict[str, Any] = {
        "id": "c-1",
        "model": "gpt-4o",
        "service_tier": "default",
        "system_fingerprint": "fp_1",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4},
    }
    reader = ChatStream()
    reader.note(whole)
    before = reader.attributes()
    reader.note(late)
    assert reader.attributes() == before
    assert before[names.RESPONSE_ID] == "c-1"


def test_a_response_that_ends_blank_keeps_the_names_of_its_first_event() -> None:
    reader = response_stream()
    begun = {"id": "resp_1", "model": "gpt-4o", "status": "in_progress", "service_tier": "flex"}
    reader.note({"type": "response.created", "response": begun})
    ended = {"id": "", "model": "", "status": "completed", "service_tier": ""}
    used = {"input_tokens": 9, "output_tokens": 4}
    reader.note({"type": "response.completed", "response": {**ended, "usage": used}})
    result = reader.attributes()
    assert result[names.RESPONSE_ID] == "resp_1"
    assert result[names.RESPONSE_MODEL] == "gpt-4o"
    assert result[names.OPENAI_SERVICE_TIER] == "flex"
    assert result[names.INPUT_TOKENS] == 9


_CALL = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"}
_TEXT_ITEM = {"type": "message", "role": "assistant"}


_ENDED: list[tuple[dict[str, Any], str]] = [
    ({"status": "completed", "output": [_TEXT_ITEM]}, "stop"),
    ({"status": "completed", "output": [_TEXT_ITEM, _CALL]}, "tool_call"),
    ({"status": "completed", "output": [{"type": "custom_tool_call"}]}, "tool_call"),
    # The provider runs this one itself.
    ({"status": "completed", "output": [{"type": "web_search_call"}, _TEXT_ITEM]}, "stop"),
    (
        {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
        "length",
    ),
    (
        {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
        "content_filter",
    ),
    ({"status": "incomplete", "incomplete_details": {"reason": "new_word"}}, "new_word"),
    ({"status": "incomplete"}, "incomplete"),
    ({"status": "failed", "error": {"code": "server_error"}}, "error"),
    ({"status": "cancelled"}, "error"),
    ({"status": "new_status"}, "new_status"),
]


@pytest.mark.parametrize(("answer", "reason"), _ENDED)
def test_a_response_has_one_finish_reason_in_the_conventions_words(
    answer: dict[str, Any], reason: str
) -> None:
    assert read_response(answer)[names.FINISH_REASONS] == (reason,)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"code": "rate_limit_exceeded", "message": "canary"}, "rate_limit_exceeded"),
        ({"code": None, "message": "canary"}, "response.failed"),
        (None, "response.failed"),
    ],
)
def test_a_failed_response_has_the_providers_code_and_not_its_text(
    error: dict[str, Any] | None, code: str
) -> None:
    result = read_response({"status": "failed", "error": error})
    assert result[names.ERROR_TYPE] == code
    assert "canary" not in str(result)
