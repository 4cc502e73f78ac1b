"""Anthropic runs further models inside one call: each is billed, and each at its own price."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anthropic
import pytest

import tokenledger
from support.anthropic_answers import message
from support.ledger_in_memory import rows_of
from support.loopback import Loopback, method_of, said, streamed
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Sdk

pytestmark = pytest.mark.filterwarnings("ignore:The :DeprecationWarning")

_ASKED: dict[str, Any] = {
    "model": "claude-fable-5-1",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "canary-prompt"}],
}
_CACHED = {"cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
_DECLINED = {
    "type": "message",
    "model": "claude-fable-5-1",
    "input_tokens": 5_000,
    "output_tokens": 1_200,
    **_CACHED,
}
_ANSWERED = {
    "type": "fallback_message",
    "model": "claude-opus-4-8",
    "input_tokens": 5_200,
    "output_tokens": 900,
    **_CACHED,
}
_HANDED_OVER = {
    "type": "fallback",
    "from": {"model": "claude-fable-5-1"},
    "to": {"model": "claude-opus-4-8"},
    "trigger": {"type": "refusal", "category": "cyber"},
}
_USAGE = {
    "input_tokens": 5_200,
    "output_tokens": 900,
    **_CACHED,
    "iterations": [_DECLINED, _ANSWERED],
}
_TEXT = {"type": "text", "text": "canary-answer"}
ANSWER = message(_HANDED_OVER, _TEXT, model="claude-opus-4-8", usage=_USAGE)
EVENTS: tuple[dict[str, Any], ...] = (
    {
        "type": "message_start",
        "message": message(
            content=[],
            stop_reason=None,
            model="claude-fable-5-1",
            usage={"input_tokens": 5_000, "output_tokens": 1, **_CACHED},
        ),
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "canary-answer"},
    },
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": _HANDED_OVER},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}},
    {
        "type": "content_block_delta",
        "index": 2,
        "delta": {"type": "text_delta", "text": "canary-answer"},
    },
    {"type": "content_block_stop", "index": 2},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": _USAGE,
    },
    {"type": "message_stop"},
)
_OPUS = (5_200 * Decimal(5) + 900 * Decimal(25)) / 1_000_000
_FABLE = (5_000 * Decimal(10) + 1_200 * Decimal(50)) / 1_000_000
_BILLED = [("claude-opus-4-8", _OPUS), ("claude-fable-5-1", _FABLE)]


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as server:
        server.on("*", said(ANSWER))
        yield server


@pytest.fixture
def client(server: Loopback) -> Iterator[Sdk]:
    with anthropic.Anthropic(base_url=server.url, api_key="sk-canary", max_retries=0) as client:
        yield client


def billed(ledger: LedgerInMemory) -> list[tuple[str, Decimal | None]]:
    """Models and costs of the rows of the only call."""
    [span] = ledger.spans
    return [(row.model, row.cost_usd) for row in rows_of(span)]


@pytest.mark.parametrize("method", ["messages.create", "beta.messages.create"])
def test_a_model_that_declined_halfway_is_billed_in_addition_to_the_one_that_answered(
    ledger: LedgerInMemory, client: Sdk, method: str
) -> None:
    method_of(client, method)(**_ASKED)
    assert billed(ledger) == _BILLED
    span = ledger.only()
    assert span[attributes.REQUEST_MODEL] == "claude-fable-5-1"
    assert span[attributes.RESPONSE_MODEL] == "claude-opus-4-8"
    assert span[attributes.ANTHROPIC_REFUSALS] == ("cyber",)
    assert "canary" not in str(span)


@pytest.mark.parametrize("method", ["messages.create", "beta.messages.create"])
def test_a_stream_that_another_model_continued_is_billed_for_both(
    ledger: LedgerInMemory, server: Loopback, client: Sdk, method: str
) -> None:
    server.on("*", streamed(EVENTS))
    assert len(list(method_of(client, method)(**_ASKED, stream=True))) == len(EVENTS)
    assert billed(ledger) == _BILLED
    span = ledger.only()
    assert span[attributes.RESPONSE_MODEL] == "claude-opus-4-8"
    assert span[attributes.ANTHROPIC_REFUSALS] == ("cyber",)


def test_a_stream_that_began_with_its_fallback_uses_the_counts_of_its_first_event(
    ledger: LedgerInMemory, server: Loopback, client: Sdk
) -> None:
    begun = message(
        content=[],
        stop_reason=None,
        model="claude-opus-4-8",
        usage={"input_tokens": 5_200, "output_tokens": 1, **_CACHED},
    )
    iterations = [{**_DECLINED, "output_tokens": 0}, _ANSWERED]
    usage = {"output_tokens": 900, "iterations": iterations}
    events = ({"type": "message_start", "message": begun}, *EVENTS[4:9])
    ended = {**EVENTS[9], "usage": usage}
    server.on("*", streamed((*events, ended, EVENTS[10])))
    list(method_of(client, "messages.create")(**_ASKED, stream=True))
    # Declined before any output, in a policy area that is not billed.
    assert billed(ledger) == [("claude-opus-4-8", _OPUS)]


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_a_refusal_before_any_output_is_a_row_that_cost_nothing(
    ledger: LedgerInMemory, server: Loopback, client: Sdk, *, streams: bool
) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "canary-explanation"}
    usage = {"input_tokens": 412, "output_tokens": 0, **_CACHED}
    refused = message(
        model="claude-fable-5-1", stop="refusal", content=[], stop_details=details, usage=usage
    )
    begun = {**refused, "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    delta = {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}
    events: tuple[dict[str, Any], ...] = (
        {"type": "message_start", "message": begun},
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 0}},
        {"type": "message_stop"},
    )
    server.on("*", streamed(events) if streams else said(refused))
    answer = method_of(client, "messages.create")(**_ASKED, stream=streams)
    if streams:
        list(answer)
    assert billed(ledger) == [("claude-fable-5-1", Decimal(0))]
    span = ledger.only()
    assert span[attributes.ANTHROPIC_REFUSALS] == ("cyber",)
    assert "canary" not in str(span)
    [row] = rows_of(ledger.spans[0])
    assert (row.cost_status, row.input_tokens) == ("priced", 412)


def test_an_advisor_is_billed_at_its_own_price_and_metered(
    ledger: LedgerInMemory, server: Loopback, client: Sdk
) -> None:
    advice = {**_ANSWERED, "type": "advisor_message", "model": "claude-opus-5"}
    turn = {**_DECLINED, "model": "claude-sonnet-4-6"}
    usage = {
        "input_tokens": 5_000,
        "output_tokens": 1_200,
        **_CACHED,
        "iterations": [turn, advice],
    }
    server.on("*", said(message(_TEXT, model="claude-sonnet-4-6", usage=usage)))
    with tokenledger.meter() as spent:
        method_of(client, "messages.create")(**{**_ASKED, "model": "claude-sonnet-4-6"})
    sonnet = (5_000 * Decimal(3) + 1_200 * Decimal(15)) / 1_000_000
    assert billed(ledger) == [("claude-sonnet-4-6", sonnet), ("claude-opus-5", _OPUS)]
    reported_usage = json.loads(str(ledger.only()[attributes.PROVIDER_USAGE]))
    assert [entry["type"] for entry in reported_usage["iterations"]] == [
        "message",
        "advisor_message",
    ]
    assert spent.calls == 1
