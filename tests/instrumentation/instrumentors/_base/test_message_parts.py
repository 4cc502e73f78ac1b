"""Messages of every API follow the conventions' schemas."""

from __future__ import annotations

from typing import Any

import pytest

from support.genai_schemas import valid_messages, valid_parts, valid_tools
from tokenledger.instrumentors._base.message_parts import (
    answer_parts,
    messages_of,
    tool_definitions,
)
from tokenledger.instrumentors._base.streamed_answer import MAX_CHARACTERS, StreamedAnswer

PIXEL = "data:image/png;base64,aGk="
WEATHER = {"location": "Paris"}
CALL = {"type": "tool_call", "id": "call_1", "name": "weather", "arguments": WEATHER}
SCHEMA = {"type": "object", "properties": {"location": {"type": "string"}}}

_CASES: dict[str, tuple[Any, list[tuple[str, Any]]]] = {
    "chat": (
        [
            {"role": "developer", "content": "be brief"},
            {
                "role": "user",
                "name": "ann",
                "content": [
                    {"type": "text", "text": "what is it?"},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                    {"type": "image_url", "image_url": {"url": PIXEL}},
                    {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
                    {"type": "file", "file": {"file_id": "file_1"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"location": "Paris"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "rainy"},
            {"role": "assistant", "content": "", "refusal": "no"},
        ],
        [
            ("developer", [{"type": "text", "content": "be brief"}]),
            (
                "user",
                [
                    {"type": "text", "content": "what is it?"},
                    {"type": "uri", "modality": "image", "uri": "https://example.com/a.png"},
                    {
                        "type": "blob",
                        "modality": "image",
                        "mime_type": "image/png",
                        "content": "aGk=",
                    },
                    {
                        "type": "blob",
                        "modality": "audio",
                        "mime_type": "audio/wav",
                        "content": "aGk=",
                    },
                    {"type": "file", "modality": "document", "file_id": "file_1"},
                ],
            ),
            ("assistant", [CALL]),
            ("tool", [{"type": "tool_call_response", "id": "call_1", "response": "rainy"}]),
            ("assistant", [{"type": "text", "content": ""}, {"type": "refusal", "content": "no"}]),
        ],
    ),
    "response": (
        [
            {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "hm"}],
            },
            {
                "type": "function_call",
                "call_id": "call_1",
                "name": "weather",
                "arguments": '{"location": "Paris"}',
            },
            {"type": "function_call_output", "call_id": "call_1", "output": "rainy"},
            {"type": "custom_tool_call", "call_id": "call_2", "name": "sql", "input": "select 1"},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"type": "item_reference", "id": "msg_1"},
            {"role": "user", "content": [{"type": "input_image", "image_url": PIXEL}]},
            {"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]},
        ],
        [
            ("user", [{"type": "text", "content": "weather?"}]),
            ("assistant", [{"type": "reasoning", "content": "hm"}]),
            ("assistant", [CALL]),
            ("tool", [{"type": "tool_call_response", "id": "call_1", "response": "rainy"}]),
            (
                "assistant",
                [{"type": "tool_call", "id": "call_2", "name": "sql", "arguments": "select 1"}],
            ),
            (
                "assistant",
                [
                    {
                        "type": "server_tool_call",
                        "id": "ws_1",
                        "name": "web_search",
                        "server_tool_call": {
                            "type": "web_search_call",
                            "id": "ws_1",
                            "status": "completed",
                        },
                    }
                ],
            ),
            ("user", [{"type": "item_reference", "id": "msg_1"}]),
            (
                "user",
                [
                    {
                        "type": "blob",
                        "modality": "image",
                        "mime_type": "image/png",
                        "content": "aGk=",
                    }
                ],
            ),
            ("user", [{"type": "file", "modality": "document", "file_id": "file_1"}]),
        ],
    ),
    "message": (
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "weather?"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "aGk="},
                    },
                    {"type": "document", "source": {"type": "url", "url": "https://e.com/a.pdf"}},
                    {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "tool_use", "id": "call_1", "name": "weather", "input": WEATHER},
                    {
                        "type": "server_tool_use",
                        "id": "srv_1",
                        "name": "web_search",
                        "input": {"query": "q"},
                    },
                    {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "call_1",
                        "content": [{"type": "text", "text": "rainy"}],
                    }
                ],
            },
        ],
        [
            (
                "user",
                [
                    {"type": "text", "content": "weather?"},
                    {
                        "type": "blob",
                        "modality": "image",
                        "mime_type": "image/png",
                        "content": "aGk=",
                    },
                    {"type": "uri", "modality": "document", "uri": "https://e.com/a.pdf"},
                    {"type": "file", "modality": "document", "file_id": "file_1"},
                ],
            ),
            (
                "assistant",
                [
                    {"type": "reasoning", "content": "hm"},
                    CALL,
                    {
                        "type": "server_tool_call",
                        "id": "srv_1",
                        "name": "web_search",
                        "server_tool_call": {"type": "web_search", "input": {"query": "q"}},
                    },
                    {
                        "type": "server_tool_call_response",
                        "id": "srv_1",
                        "server_tool_call_response": {
                            "type": "web_search_tool_result",
                            "content": [],
                        },
                    },
                ],
            ),
            (
                "user",
                [
                    {
                        "type": "tool_call_response",
                        "id": "call_1",
                        "response": [{"type": "text", "content": "rainy"}],
                    }
                ],
            ),
        ],
    ),
}


@pytest.mark.parametrize("api", _CASES)
def test_the_messages_of_a_request_follow_the_schema(api: str) -> None:
    sent, expected = _CASES[api]
    messages = valid_messages(messages_of(sent, "user"))
    assert [(message["role"], message["parts"]) for message in messages] == expected


def test_a_response_is_one_generation_and_so_one_message() -> None:
    items = [
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "hi"}]},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{not json"},
    ]
    assert valid_parts(answer_parts(items)) == [
        {"type": "reasoning", "content": "hm"},
        {"type": "text", "content": "hi"},
        {"type": "tool_call", "id": "call_1", "name": "weather", "arguments": "{not json"},
    ]


def test_token_ids_are_no_messages() -> None:
    assert messages_of([1, 2, 3], "user") == []


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}},
        {"type": "function", "name": "weather", "parameters": SCHEMA},
        {"name": "weather", "input_schema": SCHEMA},
    ],
)
def test_functions_of_every_api_have_the_same_definition(tool: dict[str, Any]) -> None:
    assert valid_tools(tool_definitions([tool])) == [
        {"type": "function", "name": "weather", "parameters": SCHEMA}
    ]


def test_a_tool_of_the_provider_is_named_by_its_type() -> None:
    tools = [{"type": "web_search"}, {"type": "web_search_20250305", "name": "web_search"}]
    assert valid_tools(tool_definitions(tools)) == [
        {"type": "web_search", "name": "web_search"},
        {"type": "web_search_20250305", "name": "web_search"},
    ]


def test_the_answer_of_a_stream_is_bounded_and_says_so() -> None:
    answer = StreamedAnswer()
    for _ in range(3):
        answer.add({"choices": [{"index": 0, "delta": {"content": "x" * 400_000}}]})
    [message] = answer.messages(("length",))
    assert [part["type"] for part in message["parts"]] == ["text", "truncated"]
    assert len(message["parts"][0]["content"]) == MAX_CHARACTERS
    assert message["finish_reason"] == "length"


def test_the_last_chunk_may_be_read_twice() -> None:
    answer = StreamedAnswer()
    chunk = {"choices": [{"index": 0, "delta": {"content": "x"}}]}
    answer.add(chunk)
    answer.add(chunk)
    assert answer.messages(()) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "x"}]}
    ]


def test_tool_calls_of_a_chat_stream_are_put_together() -> None:
    answer = StreamedAnswer()
    for call in (
        {"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"location":'}},
        {"index": 0, "function": {"arguments": ' "Paris"}'}},
    ):
        answer.add({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    assert answer.messages(("tool_calls",)) == [
        {"role": "assistant", "parts": [CALL], "finish_reason": "tool_call"}
    ]


def test_the_blocks_of_a_message_stream_are_put_together() -> None:
    blocks: list[tuple[dict[str, Any], list[tuple[str, str, str]]]] = [
        ({"type": "thinking", "thinking": ""}, [("thinking_delta", "thinking", "hm")]),
        (
            {"type": "text", "text": ""},
            [("text_delta", "text", "h"), ("text_delta", "text", "i")],
        ),
        (
            {"type": "tool_use", "id": "call_1", "name": "weather", "input": {}},
            [("input_json_delta", "partial_json", '{"location": "Paris"}')],
        ),
    ]
    answer = StreamedAnswer()
    for index, (block, deltas) in enumerate(blocks):
        answer.add({"type": "content_block_start", "index": index, "content_block": block})
        for kind, field, piece in deltas:
            delta = {"type": kind, field: piece}
            answer.add({"type": "content_block_delta", "index": index, "delta": delta})
    [message] = answer.messages(("tool_call",))
    assert valid_parts(message["parts"]) == [
        {"type": "reasoning", "content": "hm"},
        {"type": "text", "content": "hi"},
        CALL,
    ]
