"""Messages are on spans only if OpenTelemetry's switch is on, and never in the ledger."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

import tokenledger
from support.app_logs import AppLogs
from support.fake_provider import Refuse
from support.genai_schemas import valid_messages, valid_tools
from support.ledger_in_memory import stored_record
from support.sdk_calls import (
    CHAT,
    CHAT_STREAM,
    MESSAGE,
    PROMPT,
    RESPONSE,
    STREAMS,
    run,
    run_async,
)
from support.spans import attributes_of
from tokenledger.instrumentors.anthropic import AnthropicInstrumentor
from tokenledger.instrumentors.openai import OpenAIInstrumentor
from tokenledger_semconv.content import (
    INPUT_MESSAGES,
    OUTPUT_MESSAGES,
    SYSTEM_INSTRUCTIONS,
    TOOL_DEFINITIONS,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.fake_provider import DemoProvider
    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Clients, Sdk, Shape
    from support.spans import AppTracing

SWITCH = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
ASKED = [{"role": "user", "parts": [{"type": "text", "content": PROMPT}]}]


def _only_span(app: AppTracing) -> dict[str, Any]:
    (span,) = app.spans
    return attributes_of(span)


@pytest.mark.parametrize("shape", [CHAT, RESPONSE, MESSAGE], ids=str)
def test_messages_are_on_the_span_if_the_switch_is_on(
    app: AppTracing,
    ledgers: list[LedgerInMemory],
    clients: Clients,
    monkeypatch: pytest.MonkeyPatch,
    shape: Shape,
) -> None:
    monkeypatch.setenv(SWITCH, "SPAN_ONLY")
    tokenledger.init()
    run(clients, shape)
    app_span = _only_span(app)
    assert json.loads(app_span[INPUT_MESSAGES]) == ASKED
    [answered] = valid_messages(app_span[OUTPUT_MESSAGES], output=True)
    assert [part["content"] for part in answered["parts"] if part["type"] == "text"]
    assert answered["finish_reason"] == "stop"
    record = stored_record(ledgers[0].spans[0])
    assert PROMPT not in str(record)
    assert INPUT_MESSAGES not in record.attributes


@pytest.mark.asyncio
async def test_instructions_have_an_attribute_of_their_own(
    app: AppTracing,
    ledgers: list[LedgerInMemory],
    async_clients: Clients,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SWITCH, "true")
    tokenledger.init()
    await run_async(async_clients, MESSAGE, system="be brief")
    assert json.loads(_only_span(app)[SYSTEM_INSTRUCTIONS]) == [
        {"type": "text", "content": "be brief"}
    ]
    assert len(ledgers[0].spans) == 1


@pytest.mark.parametrize("shape", STREAMS, ids=str)
def test_the_answer_of_a_stream_is_the_text_that_the_app_got(
    app: AppTracing,
    ledgers: list[LedgerInMemory],
    clients: Clients,
    monkeypatch: pytest.MonkeyPatch,
    shape: Shape,
) -> None:
    monkeypatch.setenv(SWITCH, "true")
    tokenledger.init()
    chunks = run(clients, shape)
    span = _only_span(app)
    [message] = valid_messages(span[OUTPUT_MESSAGES], output=True)
    [answer] = [part["content"] for part in message["parts"] if part["type"] == "text"]
    assert answer
    if shape.arguments.get("stream"):
        assert answer == "".join(_text_of(chunk) for chunk in chunks)
    assert span["gen_ai.usage.output_tokens"] == 50
    assert answer not in str(stored_record(ledgers[0].spans[0]))


def _text_of(chunk: Sdk) -> str:
    """The text in a chunk of any stream."""
    if choices := getattr(chunk, "choices", None):
        return str(choices[0].delta.content or "")
    if chunk.type == "response.output_text.delta":
        return str(chunk.delta)
    # The oldest releases leave a part that they do not know as a dict.
    kind = getattr(getattr(chunk, "delta", None), "type", "")
    return str(chunk.delta.text) if kind == "text_delta" else ""


def test_the_tools_of_a_request_are_on_its_span(
    app: AppTracing, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, "true")
    tokenledger.patch_openai()
    function = {"name": "weather", "description": "d", "parameters": {"type": "object"}}
    run(clients, CHAT, tools=[{"type": "function", "function": function}])
    assert valid_tools(_only_span(app)[TOOL_DEFINITIONS]) == [{"type": "function", **function}]


@pytest.fixture
def logs() -> AppLogs:
    return AppLogs()


@pytest.mark.parametrize("shape", [CHAT, CHAT_STREAM, RESPONSE, MESSAGE], ids=str)
@pytest.mark.parametrize("word", ["event_only", "SPAN_AND_EVENT"])
def test_messages_are_in_an_event_if_the_switch_asks_for_it(  # noqa: PLR0913, PLR0917 - fixtures and parameters
    app: AppTracing,
    clients: Clients,
    logs: AppLogs,
    monkeypatch: pytest.MonkeyPatch,
    shape: Shape,
    word: str,
) -> None:
    monkeypatch.setenv(SWITCH, word)
    for instrumentor in (OpenAIInstrumentor(), AnthropicInstrumentor()):
        instrumentor.instrument(logger_provider=logs.provider)
    with tokenledger.attribution(user_id="canary-user"):
        run(clients, shape)
    [event] = logs.records
    span = app.spans[0]
    assert event.event_name == "gen_ai.client.inference.operation.details"
    assert span.context is not None
    assert event.span_id == span.context.span_id
    details: dict[str, Any] = dict(event.attributes or {})
    [asked] = valid_messages(details[INPUT_MESSAGES])
    assert asked["parts"][0]["content"] == PROMPT
    assert valid_messages(details[OUTPUT_MESSAGES], output=True)
    assert details["gen_ai.usage.output_tokens"] == 50
    assert details["gen_ai.operation.name"] == "chat"
    assert "canary-user" not in str(details)
    assert (INPUT_MESSAGES in _only_span(app)) is (word == "SPAN_AND_EVENT")
    assert (OUTPUT_MESSAGES in _only_span(app)) is (word == "SPAN_AND_EVENT")


def test_a_failed_call_has_an_event_with_its_error(
    app: AppTracing,
    clients: Clients,
    provider: DemoProvider,
    logs: AppLogs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SWITCH, "event_only")
    OpenAIInstrumentor().instrument(logger_provider=logs.provider)
    provider.script(Refuse(429))
    with pytest.raises(openai.RateLimitError):
        run(clients, CHAT)
    [event] = logs.records
    details: dict[str, Any] = dict(event.attributes or {})
    assert details["error.type"] == "RateLimitError"
    assert valid_messages(details[INPUT_MESSAGES])
    assert INPUT_MESSAGES not in _only_span(app)


def test_events_without_a_logger_provider_are_one_warning(
    app: AppTracing,
    clients: Clients,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(SWITCH, "event_only")
    tokenledger.patch_openai()
    run(clients, CHAT)
    run(clients, CHAT)
    warned = [record.message for record in caplog.records if "logger provider" in record.message]
    assert len(warned) == 1
    assert warned[0].endswith("because the app has no logger provider; set one, or use span_only")
    assert len(app.spans) == 2


def test_an_unknown_word_captures_nothing_and_is_one_warning(
    app: AppTracing,
    clients: Clients,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(SWITCH, "spans")
    tokenledger.patch_openai()
    run(clients, CHAT)
    assert INPUT_MESSAGES not in _only_span(app)
    assert len([record for record in caplog.records if SWITCH in record.message]) == 1


@pytest.mark.parametrize("word", ["", "false", "no_content"])
def test_no_message_is_on_the_span_by_default(
    app: AppTracing,
    ledgers: list[LedgerInMemory],
    clients: Clients,
    monkeypatch: pytest.MonkeyPatch,
    word: str,
) -> None:
    monkeypatch.setenv(SWITCH, "true")
    tokenledger.init()
    tokenledger.unpatch_openai()
    monkeypatch.setenv(SWITCH, word)
    tokenledger.patch_openai()
    run(clients, CHAT)
    assert not {INPUT_MESSAGES, OUTPUT_MESSAGES, SYSTEM_INSTRUCTIONS} & _only_span(app).keys()
    assert len(ledgers[0].spans) == 1


def _once(*items: object) -> Iterator[object]:
    yield from items


_TEXT = {"type": "text", "text": PROMPT}
ASKED_PLAINLY = [{"role": "user", "content": PROMPT}]
# The SDK's types allow each of these: an iterable that can be read only once.
_LAZY: dict[str, Callable[[], dict[str, Any]]] = {
    "content": lambda: {"messages": [{"role": "user", "content": _once(_TEXT)}]},
    "a message's tool results": lambda: {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t", "content": _once(_TEXT)},
                    {"type": "text", "text": "and?"},
                ],
            }
        ]
    },
    "all messages": lambda: {"messages": _once({"role": "user", "content": PROMPT})},
    "system": lambda: {"messages": ASKED_PLAINLY, "system": _once(_TEXT)},
    "tools": lambda: {
        "messages": ASKED_PLAINLY,
        "tools": _once({"name": "t", "input_schema": {"type": "object"}}),
    },
}


@pytest.mark.parametrize("what", _LAZY)
def test_an_iterable_that_can_be_read_once_is_left_to_the_request(
    ledgers: list[LedgerInMemory],
    clients: Clients,
    provider: DemoProvider,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    monkeypatch.setenv(SWITCH, "true")
    create: Any = clients.anthropic.messages.create
    about = {"model": "claude-sonnet-5", "max_tokens": 64, "stream": True}
    try:
        list(create(**about, **_LAZY[what]()))
    except TypeError:
        pytest.skip("this release of the SDK takes no such iterable")
    tokenledger.init()
    list(create(**about, **_LAZY[what]()))
    bare, ours = [request.body for request in provider.requests]
    assert ours == bare
    assert PROMPT in json.dumps(ours)
    assert len(ledgers[0].spans) == 1


def test_messages_that_cannot_be_encoded_do_not_lose_the_row(
    ledgers: list[LedgerInMemory], clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep: Any = PROMPT
    for _ in range(200):
        deep = {"type": "tool_result", "content": [deep]}
    monkeypatch.setenv(SWITCH, "true")
    tokenledger.init()
    run(clients, MESSAGE, messages=[{"role": "user", "content": [deep]}])
    assert ledgers[0].only()["gen_ai.usage.output_tokens"] == 50
