"""Usage objects that emitters copy into an attribute, shape by shape."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenledger_exporter.dialects.usage_json import counts_of, parsed, plain_values, usage_text

if TYPE_CHECKING:
    from tokenledger_exporter.dialects.usage_json import JsonObject

OPENAI_CHAT: JsonObject = {
    "prompt_tokens": 1_000,
    "completion_tokens": 200,
    "prompt_tokens_details": {"cached_tokens": 600, "audio_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 50, "audio_tokens": 5},
}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            OPENAI_CHAT,
            {
                "input_tokens": 1_000,
                "output_tokens": 200,
                "cached_tokens": 600,
                "reasoning_tokens": 50,
                "audio_input_tokens": 10,
                "audio_output_tokens": 5,
            },
        ),
        (
            # OpenAI's responses: input includes the cached tokens.
            {
                "input_tokens": 1_000,
                "output_tokens": 200,
                "input_tokens_details": {"cached_tokens": 600},
                "output_tokens_details": {"reasoning_tokens": 50},
            },
            {
                "input_tokens": 1_000,
                "output_tokens": 200,
                "cached_tokens": 600,
                "reasoning_tokens": 50,
            },
        ),
        (
            # Anthropic: input leaves out reads and writes.
            {
                "input_tokens": 100,
                "output_tokens": 200,
                "cache_read_input_tokens": 600,
                "cache_creation_input_tokens": 300,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 200,
                    "ephemeral_1h_input_tokens": 100,
                },
                "server_tool_use": {"web_search_requests": 2},
            },
            {
                "input_tokens": 1_000,
                "output_tokens": 200,
                "cached_tokens": 600,
                "cache_write_tokens": 300,
                "cache_write_1h_tokens": 100,
                "web_search_requests": 2,
            },
        ),
        (
            # A compaction is billed in addition; an advisor is another model.
            {
                "input_tokens": 100,
                "output_tokens": 200,
                "cache_read_input_tokens": 0,
                "iterations": [
                    {"type": "compaction", "input_tokens": 5_000, "output_tokens": 70},
                    {"type": "message", "input_tokens": 100, "output_tokens": 200},
                    {
                        "type": "advisor_message",
                        "model": "claude-opus-5",
                        "input_tokens": 9,
                        "output_tokens": 9,
                    },
                ],
            },
            {"input_tokens": 100 + 5_000, "output_tokens": 200 + 70, "cached_tokens": 0},
        ),
        (
            # LiteLLM's shape of an Anthropic call: input includes them.
            {
                "prompt_tokens": 1_000,
                "completion_tokens": 200,
                "prompt_tokens_details": {
                    "cached_tokens": 600,
                    "cache_creation_tokens": 300,
                    "cache_creation_token_details": {
                        "ephemeral_5m_input_tokens": 200,
                        "ephemeral_1h_input_tokens": 100,
                    },
                },
                "cache_read_input_tokens": 600,
                "cache_creation_input_tokens": 300,
            },
            {
                "input_tokens": 1_000,
                "output_tokens": 200,
                "cached_tokens": 600,
                "cache_write_tokens": 300,
                "cache_write_1h_tokens": 100,
            },
        ),
        (
            # LangChain: the total of the cache writes may be 0 although the parts are not.
            {
                "input_tokens": 1_000,
                "output_tokens": 200,
                "input_token_details": {
                    "cache_read": 600,
                    "cache_creation": 0,
                    "ephemeral_5m_input_tokens": 200,
                    "ephemeral_1h_input_tokens": 100,
                },
            },
            {
                "input_tokens": 1_000,
                "output_tokens": 200,
                "cached_tokens": 600,
                "cache_write_tokens": 300,
                "cache_write_1h_tokens": 100,
            },
        ),
        (
            # Langfuse: no key holds what another holds.
            {
                "input": 400,
                "input_cached_tokens": 600,
                "output": 150,
                "output_reasoning_tokens": 50,
            },
            {
                "input_tokens": 1_000,
                "output_tokens": 200,
                "cached_tokens": 600,
                "reasoning_tokens": 50,
            },
        ),
        (
            # Gemini: candidates exclude thoughts, and the prompt excludes the prompts of tools.
            {
                "promptTokenCount": 990,
                "toolUsePromptTokenCount": 10,
                "cachedContentTokenCount": 600,
                "candidatesTokenCount": 150,
                "thoughtsTokenCount": 50,
            },
            {
                "input_tokens": 1_000,
                "output_tokens": 200,
                "cached_tokens": 600,
                "reasoning_tokens": 50,
            },
        ),
        (
            # Bedrock: input leaves out reads and writes.
            {
                "inputTokens": 100,
                "outputTokens": 200,
                "cacheReadInputTokens": 600,
                "cacheWriteInputTokens": 300,
            },
            {
                "input_tokens": 1_000,
                "output_tokens": 200,
                "cached_tokens": 600,
                "cache_write_tokens": 300,
            },
        ),
        (
            # Its list of cache writes by lifetime: 2,000 for an hour, 500 for five minutes.
            {
                "inputTokens": 100,
                "outputTokens": 200,
                "cacheReadInputTokens": 600,
                "cacheWriteInputTokens": 2_500,
                "cacheDetails": [
                    {"ttl": "1h", "inputTokens": 2_000},
                    {"ttl": "5m", "inputTokens": 500},
                    {"ttl": ["2h"], "inputTokens": 7},
                ],
            },
            {
                "input_tokens": 3_200,
                "output_tokens": 200,
                "cached_tokens": 600,
                "cache_write_tokens": 2_500,
                "cache_write_1h_tokens": 2_000,
            },
        ),
        ({"tokens": 5}, {}),
    ],
    ids=[
        *("openai-chat", "openai-responses", "anthropic", "compacted", "litellm", "langchain"),
        *("langfuse", "gemini", "bedrock", "bedrock-lifetimes", "unknown"),
    ],
)
def test_every_shape_is_read_with_total_input_and_total_output(
    usage: JsonObject, expected: dict[str, int]
) -> None:
    assert counts_of(usage) == expected
    # The part of it that is recorded gives the same counts.
    assert counts_of(parsed(usage_text(json.dumps(usage)))) == expected
    assert counts_of(parsed(usage_text(str(usage)))) == expected


@pytest.mark.parametrize(
    "document",
    [
        {"anthropic": {"usage": {"input_tokens": 3}, "note": "canary"}},
        {"usage_metadata": {"input_tokens": 3}, "content": {"input_tokens": 9}},
        {"google": {"usageMetadata": {"input_tokens": 3}}},
    ],
)
def test_the_usage_is_found_by_its_name(document: JsonObject) -> None:
    assert json.loads(usage_text(json.dumps(document))) == {"input_tokens": 3}


def test_kind_model_and_counts_of_iterations_are_recorded() -> None:
    advisor = {"type": "advisor_message", "model": "claude-opus-5", "input_tokens": 9}
    invalid: list[object] = [
        *({"type": "canary"}, "canary", {"type": "message", "model": "can ary\n"}),
    ]
    entries = [{**advisor, "text": "canary"}, *invalid]
    usage = json.loads(usage_text(json.dumps({"input_tokens": 3, "iterations": entries})))
    assert usage == {"input_tokens": 3, "iterations": [advisor, {"type": "message"}]}


def test_numbers_outside_of_a_usage_object_are_ignored() -> None:
    """An answer of a model may contain any key and any number."""
    answer = {"content": {"parts": [{"args": {"input_tokens": 9}}], "input_tokens": 9}}
    assert not usage_text(json.dumps(answer))


def test_a_tier_is_read_if_the_provider_reports_no_usage() -> None:
    assert json.loads(usage_text('{"openai": {"serviceTier": "flex"}}')) == {"service_tier": "flex"}


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[1]", "null", "{'a': __import__('os')}", "{" * 5_000, '{"a": NaN}'),
        '{"input_tokens": 1e400}',
    ],
)
def test_a_text_that_is_not_an_object_gives_nothing(text: str) -> None:
    assert (parsed(text), usage_text(text), plain_values(text)) == ({}, "", "")


def test_a_text_too_long_for_the_apps_thread_is_not_read() -> None:
    text = json.dumps({"usage_metadata": {"input_tokens": 3}, "content": "x" * 131_072})
    assert not usage_text(text)


@settings(deadline=None)
@given(text=st.text())
def test_any_text_gives_an_object_or_nothing(text: str) -> None:
    for value in (text, f"{{{text}", json.dumps({"usage": {text: 1}}), str({text: text})):
        assert isinstance(json.loads(usage_text(value) or "{}"), dict)
        assert isinstance(json.loads(plain_values(value) or "{}"), dict)
