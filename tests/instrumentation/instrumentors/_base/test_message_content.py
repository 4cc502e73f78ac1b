"""Messages are on spans only if OpenTelemetry's switch is on, and never in the ledger."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import tokenledger
from support.ledger_in_memory import stored_record
from support.sdk_calls import CHAT, CHAT_STREAM, MESSAGE, PROMPT, RESPONSE, run, run_async
from support.spans import attributes_of
from tokenledger_semconv.content import INPUT_MESSAGES, OUTPUT_MESSAGES, SYSTEM_INSTRUCTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.fake_provider import DemoProvider
    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Clients, Shape
    from support.spans import AppTracing

TEXTS = ("text", "output_text")
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
    answered = json.loads(app_span[OUTPUT_MESSAGES])
    assert {message["role"] for message in answered} == {"assistant"}
    parts = [part for message in answered for part in message["parts"]]
    assert [part["content"] for part in parts if part["type"] in TEXTS]
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


def test_the_answer_of_a_stream_is_not_recorded(
    app: AppTracing,
    ledgers: list[LedgerInMemory],
    clients: Clients,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SWITCH, "true")
    tokenledger.init()
    run(clients, CHAT_STREAM)
    assert OUTPUT_MESSAGES not in _only_span(app)
    assert len(ledgers[0].spans) == 1


@pytest.mark.parametrize("word", ["", "false", "event_only"])
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
