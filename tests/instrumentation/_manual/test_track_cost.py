"""`track_cost` makes the same kind of span as a call, and never raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from opentelemetry.trace import StatusCode

import tokenledger
from support.spans import attributes_of, token_counts
from tokenledger import _guard, attribution, track_cost
from tokenledger_semconv.attributes import (
    ERROR_TYPE,
    METADATA_PREFIX,
    OPERATION_NAME,
    PROVIDER_NAME,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    SCOPE_PREFIX,
    SESSION_ID,
    TEAM,
    USER_ID,
)

if TYPE_CHECKING:
    from support.ledger_in_memory import LedgerInMemory
    from support.spans import AppTracing


def test_the_quick_starts_call_makes_a_span(ledger: LedgerInMemory) -> None:
    track_cost(
        input_tokens=150,
        output_tokens=500,
        model="gpt-4o",
        user_id="user_123",
        metadata={"session_id": "sess_abc", "feature": "chat", "conversation_id": "conv_xyz"},
    )
    span = ledger.only()
    assert ledger.spans[0].name == "chat gpt-4o"
    assert token_counts(span) == {"input_tokens": 150, "output_tokens": 500}
    assert span[OPERATION_NAME] == "chat"
    assert span[PROVIDER_NAME] == "openai"
    assert span[REQUEST_MODEL] == span[RESPONSE_MODEL] == "gpt-4o"
    assert span[USER_ID] == "user_123"
    assert span[SESSION_ID] == span[METADATA_PREFIX + "session_id"] == "sess_abc"
    assert span[METADATA_PREFIX + "conversation_id"] == "conv_xyz"
    scope = ledger.spans[0].instrumentation_scope
    assert scope is not None
    assert scope.name == SCOPE_PREFIX + "track"


def test_every_count_is_carried(ledger: LedgerInMemory) -> None:
    track_cost(
        1_000,
        100,
        "claude-sonnet-5",
        cached_tokens=400,
        cache_write_tokens=300,
        cache_write_1h_tokens=200,
        reasoning_tokens=50,
    )
    assert token_counts(ledger.only()) == {
        "input_tokens": 1_000,
        "output_tokens": 100,
        "cache_read.input_tokens": 400,
        "cache_write.input_tokens": 300,
        "reasoning.output_tokens": 50,
    }


def test_arguments_beat_the_scope(ledger: LedgerInMemory) -> None:
    with attribution(user_id="scope", team="ml"):
        track_cost(1, 1, "gpt-4o", user_id="call")
    assert ledger.only()[USER_ID] == "call"
    assert ledger.only()[TEAM] == "ml"


def test_a_call_with_a_duration_ends_now(ledger: LedgerInMemory) -> None:
    track_cost(1, 1, "gpt-4o", duration_ms=1_500.5)
    span = ledger.spans[0]
    assert (span.end_time or 0) - (span.start_time or 0) == 1_500_500_000


def test_a_failed_call_is_an_error(ledger: LedgerInMemory) -> None:
    track_cost(0, 0, "gpt-4o", status="error")
    assert ledger.only()[ERROR_TYPE] == "_OTHER"
    assert ledger.spans[0].status.status_code is StatusCode.ERROR


def test_the_provider_is_derived_from_the_model(ledger: LedgerInMemory) -> None:
    track_cost(1, 1, "claude-opus-5")
    assert ledger.only()["gen_ai.provider.name"] == "anthropic"


def test_a_passed_provider_is_used_and_an_unknown_one_is_left_out(ledger: LedgerInMemory) -> None:
    track_cost(1, 1, "gpt-4o", provider="azure.ai.openai")
    track_cost(1, 1, "in-house-7b")
    said = [attributes_of(span).get(PROVIDER_NAME) for span in ledger.spans]
    assert said == ["azure.ai.openai", None]


@pytest.mark.parametrize(
    "wrong", [-1, 1.5, "twelve", True, [1]], ids=["negative", "float", "text", "bool", "list"]
)
def test_an_invalid_count_is_left_out_and_reported(ledger: LedgerInMemory, wrong: object) -> None:
    track_cost(cast("Any", wrong), 5, "gpt-4o")
    assert token_counts(ledger.only()) == {"output_tokens": 5}
    assert _guard.counts() == {"track_cost(input_tokens=)": 1}
    _guard.reset()


@pytest.mark.parametrize("wrong", ["soon", float("nan"), float("inf")], ids=str)
def test_an_invalid_duration_is_reported(ledger: LedgerInMemory, wrong: object) -> None:
    track_cost(1, 1, "gpt-4o", duration_ms=cast("Any", wrong))
    assert len(ledger.spans) == 1
    assert _guard.counts() == {"track_cost(duration_ms=)": 1}
    _guard.reset()


class _Hostile:
    def __str__(self) -> str:
        raise RuntimeError


def test_nothing_raises_an_error_in_the_app(ledger: LedgerInMemory) -> None:
    hostile: Any = _Hostile()
    track_cost(1, 1, hostile, metadata=hostile, user_id=hostile)
    # A value that cannot be printed is named by its class, and the call is recorded.
    assert attributes_of(ledger.spans[0])["gen_ai.request.model"] == "_Hostile"
    assert tokenledger.health()["failures"] == {"track_cost(metadata=)": 1}
    _guard.reset()


def test_nothing_is_recorded_while_disabled(app: AppTracing, ledgers: list[LedgerInMemory]) -> None:
    tokenledger.configure(enabled=False)
    track_cost(1, 1, "gpt-4o")
    assert not ledgers
    assert not app.spans
