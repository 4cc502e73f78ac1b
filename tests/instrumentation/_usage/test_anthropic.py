"""Reading Anthropic's answers, from plain mappings and from the SDK's own types."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from anthropic import Anthropic
from anthropic.types import Message

from support.anthropic_answers import message
from support.ledger_in_memory import row_of
from support.loopback import Loopback, method_of, streamed
from support.spans import token_vector
from tokenledger._usage.anthropic import (
    MessageStream,
    merged,
    read_message,
)
from tokenledger_semconv import attributes as names
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from support.ledger_in_memory import LedgerInMemory, LedgerRow

_USAGE: dict[str, Any] = {
    "input_tokens": 100,
    "cache_read_input_tokens": 2_000,
    "cache_creation_input_tokens": 300,
    "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
    "output_tokens": 50,
    "output_tokens_details": {"thinking_tokens": 30},
    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
    "service_tier": "priority",
}
_VECTOR = TokenVector(
    input_tokens=100 + 2_000 + 300,
    output_tokens=50,
    cached_tokens=2_000,
    cache_write_tokens=300,
    cache_write_1h_tokens=100,
    reasoning_tokens=30,
    web_search_requests=2,
)
_MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5",
    "content": [],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": _USAGE,
}


@pytest.mark.parametrize(
    "message", [_MESSAGE, Message.model_validate(_MESSAGE)], ids=["mapping", "sdk-object"]
)
def test_a_message_is_read_whole(message: object) -> None:
    result = read_message(message)
    assert token_vector(result) == _VECTOR
    assert not token_vector(result).faults()
    assert json.loads(str(result[names.PROVIDER_USAGE])) == _USAGE
    assert (result[names.RESPONSE_ID], result[names.RESPONSE_MODEL]) == ("msg_1", "claude-sonnet-5")
    assert result[names.FINISH_REASONS] == ("stop",)
    assert result[names.ANTHROPIC_SERVICE_TIER] == "priority"
    assert result[names.CACHE_WRITE_5M_TOKENS] == 200


def _tokens(usage: dict[str, Any]) -> TokenVector:
    return token_vector(read_message({"usage": usage}))


def test_what_is_not_reported_is_not_zero() -> None:
    assert _tokens({"input_tokens": 7}) == TokenVector(input_tokens=7)
    assert _tokens({"cache_read_input_tokens": 7}).input_tokens is None
    assert token_vector(read_message({**_MESSAGE, "usage": None})).is_empty


def _start(**usage: object) -> dict[str, object]:
    message = {**_MESSAGE, "stop_reason": None, "usage": {**_USAGE, "output_tokens": 1, **usage}}
    return {"type": "message_start", "message": message}


def test_a_stream_is_read_from_its_start_and_its_last_delta() -> None:
    stream = MessageStream()
    assert stream.note(_start()) is False
    delta = {"output_tokens": 50, "output_tokens_details": {"thinking_tokens": 30}}
    stream.note({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": delta})
    result = stream.attributes()
    assert token_vector(result) == _VECTOR
    assert result[names.FINISH_REASONS] == ("length",)


def test_a_stream_that_broke_off_has_its_input_and_no_output() -> None:
    """The one output token of `message_start` is a placeholder."""
    stream = MessageStream()
    stream.note(_start(output_tokens_details=None))
    tokens = token_vector(stream.attributes())
    assert tokens.input_tokens == 2_400
    assert tokens.output_tokens is None


def test_a_stream_that_broke_off_before_its_first_event_reports_nothing() -> None:
    assert not MessageStream().attributes()


def test_the_later_report_of_a_stream_wins() -> None:
    stream = MessageStream()
    stream.note(_start())
    later = {"input_tokens": 120, "cache_read_input_tokens": 1_980, "output_tokens": 9}
    stream.note({"type": "message_delta", "delta": {}, "usage": later})
    tokens = token_vector(stream.attributes())
    assert tokens.input_tokens == 120 + 1_980 + 300
    assert tokens.output_tokens == 9


def test_merging_preserves_what_the_later_report_leaves_out() -> None:
    earlier = {"a": 1, "nested": {"x": 1, "y": 2}, "kept": 5}
    later = {"a": 2, "nested": {"x": 3, "y": None}, "kept": None}
    assert merged(earlier, later) == {"a": 2, "nested": {"x": 3, "y": 2}, "kept": 5}
    assert earlier == {"a": 1, "nested": {"x": 1, "y": 2}, "kept": 5}


_COMPACTION = {
    "type": "compaction",
    "input_tokens": 1_000,
    "cache_read_input_tokens": 400,
    "cache_creation_input_tokens": 70,
    "cache_creation": {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 20},
    "output_tokens": 600,
}
_ITERATIONS = [
    _COMPACTION,
    {**_COMPACTION, "type": "message"},
    {**_COMPACTION, "type": "advisor_message", "model": "claude-opus-5"},
]
_COMPACTED = TokenVector(
    input_tokens=(100 + 2_000 + 300) + (1_000 + 400 + 70),
    output_tokens=50 + 600,
    cached_tokens=2_000 + 400,
    cache_write_tokens=300 + 70,
    cache_write_1h_tokens=100 + 20,
    reasoning_tokens=30,
    web_search_requests=2,
)


def test_a_compaction_is_billed_in_addition_to_its_message() -> None:
    """Iterations of the message itself are in its counts already; an advisor is another model."""
    tokens = _tokens({**_USAGE, "iterations": _ITERATIONS})
    assert tokens == _COMPACTED
    assert not tokens.faults()


def test_two_compactions_of_one_message_are_both_billed() -> None:
    usage = {"input_tokens": 5, "output_tokens": 7, "iterations": [_COMPACTION, _COMPACTION]}
    tokens = _tokens(usage)
    assert tokens.input_tokens == 5 + 2 * (1_000 + 400 + 70)
    assert tokens.output_tokens == 7 + 2 * 600


def test_a_compaction_in_a_stream_is_billed_once() -> None:
    """Start and delta both report it: each report is cumulative."""
    stream = MessageStream()
    stream.note(_start(iterations=_ITERATIONS))
    usage = {"output_tokens": 50, "iterations": _ITERATIONS}
    stream.note({"type": "message_delta", "delta": {}, "usage": usage})
    assert token_vector(stream.attributes()) == _COMPACTED


def test_a_compaction_does_not_pass_for_an_output_that_is_missing() -> None:
    stream = MessageStream()
    stream.note(_start(iterations=_ITERATIONS))
    assert token_vector(stream.attributes()).output_tokens is None


def test_the_region_and_the_speed_of_a_call_are_recorded() -> None:
    usage = {**_USAGE, "speed": "fast", "inference_geo": "us"}
    result = read_message({**_MESSAGE, "usage": usage})
    assert (result[names.ANTHROPIC_SPEED], result[names.ANTHROPIC_INFERENCE_GEO]) == ("fast", "us")


def test_a_stream_reports_fast_mode_at_its_start() -> None:
    stream = MessageStream()
    stream.note(_start(speed="fast"))
    stream.note({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 50}})
    assert stream.attributes()[names.ANTHROPIC_SPEED] == "fast"


_FIRST_TURN: dict[str, Any] = {
    "input_tokens": 100,
    "cache_read_input_tokens": 0,
    "cache_creation_input_tokens": 1_000,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 1_000},
    "output_tokens": 1,
}
_ALL_TURNS: dict[str, Any] = {
    "input_tokens": 160,
    "cache_read_input_tokens": 1_000,
    "cache_creation_input_tokens": 1_800,
    "output_tokens": 40,
}


def turn(wrote_5m: int, wrote_1h: int) -> dict[str, Any]:
    return {
        "type": "message",
        "input_tokens": 80,
        "output_tokens": 20,
        "cache_read_input_tokens": 500,
        "cache_creation_input_tokens": wrote_5m + wrote_1h,
        "cache_creation": {
            "ephemeral_5m_input_tokens": wrote_5m,
            "ephemeral_1h_input_tokens": wrote_1h,
        },
    }


def streamed_row(ledger: LedgerInMemory, first: dict[str, Any], last: dict[str, Any]) -> LedgerRow:
    """The row of a stream of Claude Sonnet 4.6 with these counts at its start and at its end."""
    begun = message(content=[], stop_reason=None, model="claude-sonnet-4-6", usage=first)
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    events: tuple[dict[str, Any], ...] = (
        {"type": "message_start", "message": begun},
        {"type": "message_delta", "delta": ended, "usage": last},
        {"type": "message_stop"},
    )
    with Loopback() as server, Anthropic(base_url=server.url, api_key="sk-canary") as client:
        server.on("*", streamed(events))
        request: Any = {
            "model": "claude-sonnet-4-6",
            "max_tokens": 9,
            "messages": [],
            "stream": True,
        }
        list(method_of(client, "messages.create")(**request))
    [span] = ledger.spans
    return row_of(span)


def priced(shorter: int, hour: int) -> Decimal:
    """Sonnet 4.6, dollars per million: 3 input, 0.30 cached, 3.75 and 6 written, 15 output."""
    read = 160 * Decimal(3) + 1_000 * Decimal("0.3")
    wrote = shorter * Decimal("3.75") + hour * Decimal(6)
    return (read + wrote + 40 * Decimal(15)) / 1_000_000


def test_later_cache_writes_of_a_stream_have_the_lifetimes_of_its_turns(
    ledger: LedgerInMemory,
) -> None:
    last = {**_ALL_TURNS, "iterations": [turn(0, 1_000), turn(300, 500)]}
    row = streamed_row(ledger, _FIRST_TURN, last)
    assert (row.cache_write_tokens, row.cache_write_1h_tokens) == (1_800, 1_500)
    assert (row.cost_usd, row.cost_status) == (priced(300, 1_500), "priced")


def test_later_cache_writes_of_unknown_lifetime_make_the_row_partial(
    ledger: LedgerInMemory,
) -> None:
    row = streamed_row(ledger, _FIRST_TURN, _ALL_TURNS)
    assert (row.cost_usd, row.cost_status) == (priced(800, 1_000), "partial")
    assert row.cost_note == "unknown: how long some of the cache writes are kept"


@pytest.mark.parametrize("wrong", [7, [7], [{"type": "message", "cache_creation": "x"}], [{}]])
def test_turns_of_another_shape_change_no_count(ledger: LedgerInMemory, wrong: object) -> None:
    last = {**_ALL_TURNS, "cache_creation_input_tokens": 1_000, "iterations": wrong}
    row = streamed_row(ledger, _FIRST_TURN, last)
    assert (row.cache_write_1h_tokens, row.cost_status) == (1_000, "priced")


def test_a_late_empty_event_removes_nothing() -> None:
    reader = MessageStream()
    used = {"input_tokens": 9, "service_tier": "priority", "inference_geo": "us"}
    begun = {"id": "msg_1", "model": "claude-sonnet-5", "usage": used}
    reader.note({"type": "message_start", "message": begun})
    reader.note({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 4}})
    before = reader.attributes()
    reader.note({"type": "message_start", "message": {"id": "", "model": "", "usage": {}}})
    blank = {"output_tokens": 4, "service_tier": "", "inference_geo": None}
    reader.note({"type": "message_delta", "delta": {"stop_reason": ""}, "usage": blank})
    result = reader.attributes()
    usage = names.PROVIDER_USAGE
    assert {**result, usage: ""} == {**before, usage: ""}
    assert result[names.RESPONSE_ID] == "msg_1"


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("tool_use", "tool_call"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        # It decides what is billed, and the ledger looks for this word.
        ("refusal", "refusal"),
        ("pause_turn", "pause_turn"),
        ("compaction", "compaction"),
        ("new_word", "new_word"),
    ],
)
def test_a_message_has_its_finish_reason_in_the_conventions_words(word: str, reason: str) -> None:
    assert read_message({"stop_reason": word})[names.FINISH_REASONS] == (reason,)
    stream = MessageStream()
    stream.note({"type": "message_delta", "delta": {"stop_reason": word}, "usage": {}})
    assert stream.attributes()[names.FINISH_REASONS] == (reason,)


@pytest.mark.parametrize("is_stream", [False, True], ids=["answer", "stream"])
def test_a_host_that_speaks_anthropics_api_may_report_a_cost(*, is_stream: bool) -> None:
    usage = {**_USAGE, "cost": 0.0123, "is_byok": False}
    if is_stream:
        stream = MessageStream()
        stream.note({"type": "message_start", "message": {**_MESSAGE, "usage": _USAGE}})
        stream.note({"type": "message_delta", "delta": {}, "usage": usage})
        result = stream.attributes()
    else:
        result = read_message({**_MESSAGE, "usage": usage})
    assert (result[names.REPORTED_COST], result[names.COST_SOURCE]) == ("0.0123", "usage.cost")
    assert token_vector(result) == _VECTOR


def test_a_tool_that_is_not_known_is_named() -> None:
    tools = {"web_search_requests": 2, "tool_search_requests": 1, "maps_requests": 3}
    result = read_message({**_MESSAGE, "usage": {**_USAGE, "server_tool_use": tools}})
    assert result[names.UNKNOWN_USAGE] == "usage field server_tool_use.maps_requests"
    assert result[names.WEB_SEARCH_REQUESTS] == 2
    assert names.UNKNOWN_USAGE not in read_message(_MESSAGE)
