"""The fake provider speaks the vendors' protocols: real SDKs parse exactly the scripted answers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any, Literal

import anthropic
import openai
import pytest

from tokenledger_exporter.demo.provider import DemoProvider

if TYPE_CHECKING:
    from collections.abc import Generator

    from anthropic.types import MessageParam
    from openai.types.chat import ChatCompletionUserMessageParam

QUESTION: ChatCompletionUserMessageParam = {"role": "user", "content": "Where is my invoice?"}
ASKED: MessageParam = {"role": "user", "content": "Where is my invoice?"}


@pytest.fixture
def provider() -> Generator[DemoProvider]:
    with DemoProvider() as running:
        yield running


@pytest.fixture
def chat(provider: DemoProvider) -> Generator[openai.OpenAI]:
    with openai.OpenAI(base_url=provider.openai_base_url, api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(provider: DemoProvider) -> Generator[anthropic.Anthropic]:
    url = provider.anthropic_base_url
    with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client:
        yield client


def demo_usage(**counts: object) -> dict[str, str]:
    return {"x-demo-usage": json.dumps(counts)}


def test_a_chat_answer_has_exactly_the_scripted_parts(chat: openai.OpenAI) -> None:
    scripted = demo_usage(
        input=1_189, output=507, cache_read=1_024, reasoning=320, audio_in=40, audio_out=33
    )
    answer = chat.chat.completions.create(
        model="gpt-4o-mini", messages=[QUESTION], extra_headers=scripted
    )
    usage = answer.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (1_189, 507, 1_696)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 1_024
    assert usage.prompt_tokens_details.audio_tokens == 40
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 320
    assert usage.completion_tokens_details.audio_tokens == 33
    assert answer.model == "gpt-4o-mini-2024-07-18"
    assert answer.id.startswith("chatcmpl-")


def test_a_scripted_usage_object_is_sent_unchanged(chat: openai.OpenAI) -> None:
    whole = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    answer = chat.chat.completions.create(
        model="gpt-4o", messages=[QUESTION], extra_headers=demo_usage(**whole)
    )
    assert answer.usage is not None
    assert answer.usage.model_dump(exclude_unset=True) == whole


@pytest.mark.parametrize("tier", ["flex", "priority"])
def test_a_service_tier_is_the_requested_one(
    chat: openai.OpenAI, tier: Literal["flex", "priority"]
) -> None:
    answer = chat.chat.completions.create(
        model="gpt-5-mini", messages=[QUESTION], service_tier=tier
    )
    assert answer.service_tier == tier


def test_a_chat_stream_has_usage_only_if_requested(chat: openai.OpenAI) -> None:
    plain = list(chat.chat.completions.create(model="gpt-4o", messages=[QUESTION], stream=True))
    assert all("usage" not in chunk.model_fields_set for chunk in plain)
    chunks = list(
        chat.chat.completions.create(
            model="gpt-4o",
            messages=[QUESTION],
            stream=True,
            stream_options={"include_usage": True},
            extra_headers=demo_usage(input=91, output=17, cache_read=64),
        )
    )
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert all("usage" in chunk.model_fields_set for chunk in chunks)
    last = chunks[-1]
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (91, 17)
    assert len(chunks) == len(plain) + 1


def test_a_response_streams_typed_events_and_ends_with_usage(chat: openai.OpenAI) -> None:
    stream = chat.responses.create(
        model="gpt-5-mini",
        input="Where is my invoice?",
        tools=[{"type": "web_search"}],
        stream=True,
        extra_headers=demo_usage(input=300, output=200, reasoning=128, web_search=2),
    )
    events = list(stream)
    assert [event.type for event in events[:3]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    final = events[-1]
    assert final.type == "response.completed"
    usage = final.response.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (300, 200)
    assert usage.output_tokens_details.reasoning_tokens == 128
    kinds = [item.type for item in final.response.output]
    assert kinds == ["reasoning", "web_search_call", "web_search_call", "message"]
    said = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert said == final.response.output_text


def test_a_response_without_stream_has_the_scripted_parts(chat: openai.OpenAI) -> None:
    answer = chat.responses.create(
        model="gpt-4o",
        input="Where is my invoice?",
        extra_headers=demo_usage(input=2_000, output=10, cache_read=1_920, cache_write=64),
    )
    assert answer.usage is not None
    assert answer.usage.input_tokens_details.cached_tokens == 1_920
    assert answer.usage.input_tokens_details.cache_write_tokens == 64
    assert answer.id.startswith("resp_")


@pytest.mark.parametrize("encoding", ["base64", "float"])
def test_embeddings_have_the_requested_encoding(chat: openai.OpenAI, encoding: str) -> None:
    options: dict[str, Any] = {} if encoding == "base64" else {"encoding_format": "float"}
    answer = chat.embeddings.create(
        model="text-embedding-3-small", input=["lost invoice", "invoice lost"], **options
    )
    first, second = (item.embedding for item in answer.data)
    assert len(first) == 1_536
    assert first == second
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 6


def test_azure_deployments_answer_in_azures_shape(provider: DemoProvider) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=provider.url, api_version="2024-10-21", api_key="k"
    ) as client:
        answer = client.chat.completions.create(model="gpt-4o", messages=[QUESTION])
        chunks = list(
            client.chat.completions.create(model="gpt-4o", messages=[QUESTION], stream=True)
        )
    assert answer.usage is not None
    assert answer.model_extra is not None
    assert "prompt_filter_results" in answer.model_extra
    assert chunks[0].choices == []
    assert provider.requests[0].path.startswith("/openai/deployments/gpt-4o/chat/completions?")


def test_a_message_has_exactly_the_scripted_parts(claude: anthropic.Anthropic) -> None:
    scripted = demo_usage(
        input=5_000,
        output=300,
        cache_read=1_000,
        cache_write=3_000,
        cache_write_1h=2_000,
        reasoning=120,
        web_search=1,
        service_tier="priority",
    )
    answer = claude.messages.create(
        model="claude-haiku-4-5", max_tokens=400, messages=[ASKED], extra_headers=scripted
    )
    # As a dict, because anthropic 0.x keeps newer fields but has no attributes for them.
    usage = answer.usage.to_dict()
    assert (usage["input_tokens"], usage["output_tokens"]) == (5_000 - 1_000 - 3_000, 300)
    assert usage["cache_read_input_tokens"] == 1_000
    assert usage["cache_creation_input_tokens"] == 3_000
    assert usage["cache_creation"] == {
        "ephemeral_5m_input_tokens": 1_000,
        "ephemeral_1h_input_tokens": 2_000,
    }
    assert usage["output_tokens_details"] == {"thinking_tokens": 120}
    assert usage["server_tool_use"] == {"web_search_requests": 1, "web_fetch_requests": 0}
    assert usage["service_tier"] == "priority"
    assert [block.type for block in answer.content] == [
        "thinking",
        "server_tool_use",
        "web_search_tool_result",
        "text",
    ]
    assert answer.id.startswith("msg_01")


def test_a_message_stream_starts_with_a_placeholder_and_ends_with_the_count(
    claude: anthropic.Anthropic,
) -> None:
    events = list(
        claude.messages.create(
            model="claude-haiku-4-5",
            max_tokens=400,
            messages=[ASKED],
            stream=True,
            extra_headers=demo_usage(input=900, output=77, cache_read=800),
        )
    )
    start, end = events[0], events[-2]
    assert start.type == "message_start"
    assert start.message.usage.output_tokens == 1
    assert start.message.usage.input_tokens == 100
    assert end.type == "message_delta"
    assert (end.usage.input_tokens, end.usage.output_tokens) == (100, 77)
    assert end.usage.cache_read_input_tokens == 800
    assert events[-1].type == "message_stop"


def test_the_stream_helper_accumulates_the_scripted_counts(
    claude: anthropic.Anthropic, provider: DemoProvider
) -> None:
    with claude.messages.stream(
        model="claude-haiku-4-5",
        max_tokens=2_000,
        thinking={"type": "enabled", "budget_tokens": 1_024},
        messages=[ASKED],
        extra_headers=demo_usage(input=40, output=230, reasoning=110),
    ) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert message.usage.output_tokens == 230
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[-1].type == "text"
    assert message.content[-1].text == text
    assert "anthropic-version" in provider.requests[0].headers


def test_the_beta_path_answers_too(provider: DemoProvider, claude: anthropic.Anthropic) -> None:
    answer = claude.beta.messages.create(
        model="claude-haiku-4-5",
        max_tokens=50,
        messages=[{"role": "user", "content": "Where is my invoice?"}],
        # anthropic 2.x dropped the query its older releases send by themselves.
        extra_query={"beta": "true"},
    )
    assert answer.usage.input_tokens > 0
    assert provider.requests[0].path == "/v1/messages?beta=true"


@pytest.mark.asyncio
async def test_async_clients_read_the_same_numbers(provider: DemoProvider) -> None:
    headers = demo_usage(input=55, output=44)
    async with openai.AsyncOpenAI(base_url=provider.openai_base_url, api_key="k") as chat:
        answer = await chat.chat.completions.create(
            model="gpt-4o", messages=[QUESTION], extra_headers=headers
        )
    async with (
        anthropic.AsyncAnthropic(base_url=provider.anthropic_base_url, api_key="k") as claude,
        claude.messages.stream(
            model="claude-haiku-4-5", max_tokens=50, messages=[ASKED], extra_headers=headers
        ) as stream,
    ):
        message = await stream.get_final_message()
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (55, 44)
    assert (message.usage.input_tokens, message.usage.output_tokens) == (55, 44)


def test_a_marked_prefix_is_written_to_the_cache_once_and_read_after(
    claude: anthropic.Anthropic,
) -> None:
    handbook = "Refunds take five days. " * 400
    calls = [
        claude.messages.create(
            model="claude-haiku-4-5",
            max_tokens=50,
            system=[{"type": "text", "text": handbook, "cache_control": {"type": "ephemeral"}}],
            messages=[ASKED],
        ).usage
        for _ in range(2)
    ]
    prefix = len(handbook) // 4
    assert [usage.cache_creation_input_tokens for usage in calls] == [prefix, 0]
    assert [usage.cache_read_input_tokens for usage in calls] == [0, prefix]
    assert calls[0].input_tokens == calls[1].input_tokens


def test_long_instructions_are_cached_by_openai_on_the_second_call(chat: openai.OpenAI) -> None:
    system = {"role": "system", "content": "Refunds take five days. " * 200}
    messages: Any = [system, QUESTION]
    cached = [
        answer.usage.prompt_tokens_details.cached_tokens
        for _ in range(2)
        if (answer := chat.chat.completions.create(model="gpt-4o", messages=messages)).usage
        and answer.usage.prompt_tokens_details
    ]
    assert cached == [0, 24 * 200 // 4 // 128 * 128]


def test_the_same_request_costs_the_same_tokens_and_has_another_id(chat: openai.OpenAI) -> None:
    first, second = (
        chat.chat.completions.create(model="gpt-4o", messages=[QUESTION]) for _ in range(2)
    )
    assert first.usage == second.usage
    assert first.id != second.id


@pytest.mark.parametrize("end", ["close", "terminate"])
def test_the_program_prints_its_url_serves_and_leaves(end: str) -> None:
    command = [sys.executable, "-m", "tokenledger_exporter.demo.provider"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdin is not None
        url = program.stdout.readline().strip()
        body = json.dumps({"model": "gpt-4o", "messages": [QUESTION]}).encode()
        request = urllib.request.Request(f"{url}/v1/chat/completions", body)  # noqa: S310 - loopback
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - loopback
            assert json.load(answer)["object"] == "chat.completion"
        if end == "close":
            program.stdin.close()
        else:
            program.send_signal(signal.SIGTERM)
        assert program.wait(5) == 0
