"""`track` and its variants record current and past calls, each once, and never raise."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import pytest
from opentelemetry.trace import StatusCode

import tokenledger
from support.ledger_in_memory import row_of
from support.spans import attributes_of, token_counts
from tokenledger import (
    _guard,
    atrack,
    atrack_many,
    attribution,
    track,
    track_cost,
    track_llm,
    track_many,
)
from tokenledger_semconv.attributes import (
    AGENT_ID,
    CALL_ID,
    COST_CENTER,
    FEATURE,
    METADATA_PREFIX,
    ORGANIZATION_ID,
    PROJECT,
    PROVIDER_NAME,
    REPORTED_COST,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    SESSION_ID,
    TEAM,
    USER_ID,
)

if TYPE_CHECKING:
    from support.ledger_in_memory import LedgerInMemory

NOON = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
NOON_NS = 1_795_176_000 * 10**9


def _identities(ledger: LedgerInMemory) -> list[Any]:
    return [attributes_of(span).get(CALL_ID) for span in ledger.spans]


def test_every_argument_fills_its_attribute(ledger: LedgerInMemory) -> None:
    track(
        provider="openai",
        model="gpt-4o",
        input_tokens=1_000,
        output_tokens=500,
        agent_id="agent",
        feature_name="translation",
        team_id="ml",
        status="success",
        latency_ms=1_500,
        tags={"language": "es", "tier": "tag"},
        user_id="u1",
        session_id="s1",
        organization_id="o1",
        project="p1",
        metadata={"tier": "gold"},
        cached_tokens=400,
        cache_write_tokens=300,
        reasoning_tokens=50,
        cost_usd=Decimal("0.0125"),
    )
    said = ledger.only()
    assert token_counts(said) == {
        "input_tokens": 1_000,
        "output_tokens": 500,
        "cache_read.input_tokens": 400,
        "cache_write.input_tokens": 300,
        "reasoning.output_tokens": 50,
    }
    named = (PROVIDER_NAME, RESPONSE_MODEL, AGENT_ID, FEATURE, TEAM, USER_ID, SESSION_ID)
    assert [said[name] for name in named] == [
        *("openai", "gpt-4o", "agent", "translation", "ml", "u1", "s1")
    ]
    assert (said[ORGANIZATION_ID], said[PROJECT]) == ("o1", "p1")
    assert said[METADATA_PREFIX + "language"] == "es"
    assert said[METADATA_PREFIX + "tier"] == "gold"
    assert said[REPORTED_COST] == "0.0125"
    span = ledger.spans[0]
    assert (span.end_time or 0) - (span.start_time or 0) == 1_500 * 10**6
    assert CALL_ID not in said


def test_the_provider_is_optional(ledger: LedgerInMemory) -> None:
    track(model="claude-opus-5", input_tokens=1, output_tokens=1)
    track("azure.ai.openai", "gpt-4o", 1, 1)
    said = [attributes_of(span)[PROVIDER_NAME] for span in ledger.spans]
    assert said == ["anthropic", "azure.ai.openai"]


def test_other_keywords_are_attribution(ledger: LedgerInMemory) -> None:
    track(model="gpt-4o", input_tokens=1, cost_center="cc", customer="acme")
    said = ledger.only()
    assert (said[COST_CENTER], said[METADATA_PREFIX + "customer"]) == ("cc", "acme")


def test_arguments_beat_the_scope_and_the_rest_comes_from_it(ledger: LedgerInMemory) -> None:
    with attribution(user_id="scope", feature="scope"):
        track(model="gpt-4o", input_tokens=1, user_id="call", feature_name=None)
    assert (ledger.only()[USER_ID], ledger.only()[FEATURE]) == ("call", "scope")


@pytest.mark.parametrize(
    "moment",
    [
        NOON,
        NOON.astimezone(timezone(timedelta(hours=5, minutes=30))),
        NOON.replace(tzinfo=None),
        "2026-11-20T12:00:00Z",
        "2026-11-20T13:00:00+01:00",
        1_795_176_000,
        1_795_176_000.0,
    ],
    ids=["utc", "other-zone", "naive", "text", "text-with-zone", "seconds", "float"],
)
def test_requested_at_is_the_time_of_the_row(
    ledger: LedgerInMemory, moment: datetime | float | str
) -> None:
    track(model="gpt-4o", input_tokens=1, requested_at=moment, latency_ms=250)
    span = ledger.spans[0]
    assert span.start_time == NOON_NS
    assert (span.end_time or 0) - NOON_NS == 250 * 10**6


def test_microseconds_are_stored(ledger: LedgerInMemory) -> None:
    track(model="gpt-4o", input_tokens=1, requested_at=NOON + timedelta(microseconds=123_457))
    assert ledger.spans[0].start_time == NOON_NS + 123_457_000


def test_the_same_past_call_is_one_call_however_often_it_is_reported(
    ledger: LedgerInMemory,
) -> None:
    for moment in (NOON, "2026-11-20T12:00:00Z"):
        track(model="gpt-4o", input_tokens=1, tags={"a": 1}, requested_at=moment)
    first, second = _identities(ledger)
    assert first
    assert first == second


@pytest.mark.parametrize(
    "other",
    [
        {"input_tokens": 2},
        {"user_id": "u2"},
        {"metadata": {"call": 2}},
        {"status": "error"},
        {"model": "gpt-4o-mini"},
        {"requested_at": NOON + timedelta(microseconds=1)},
        {"cost_usd": "1"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_past_calls_that_differ_are_two(ledger: LedgerInMemory, other: dict[str, Any]) -> None:
    call: dict[str, Any] = {"model": "gpt-4o", "input_tokens": 1, "requested_at": NOON}
    track_many([call, {**call, **other}])
    assert len(set(_identities(ledger))) == 2


def test_current_calls_are_never_merged(ledger: LedgerInMemory) -> None:
    track_many([{"model": "gpt-4o", "input_tokens": 1}] * 2)
    assert _identities(ledger) == [None, None]


@pytest.mark.parametrize("status", ["error", "timeout", "failed"])
def test_any_status_but_success_is_a_failed_call(ledger: LedgerInMemory, status: str) -> None:
    track(model="gpt-4o", status=status)
    assert ledger.spans[0].status.status_code is StatusCode.ERROR


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [
        ("input_tokens", -1),
        ("reasoning_tokens", "many"),
        ("reasoning_tokens", True),
        ("reasoning_tokens", 1.5),
        ("reasoning_tokens", Decimal("1e999999999")),
        ("reasoning_tokens", Decimal("sNaN")),
        ("reasoning_tokens", "9" * 5_000),
        ("latency_ms", "soon"),
        ("latency_ms", -1),
        ("latency_ms", "1" * 100_000),
        ("latency_ms", Decimal("sNaN")),
        ("latency_ms", 1e20),
        ("requested_at", "yesterday"),
        ("requested_at", True),
        ("requested_at", float("nan")),
        ("requested_at", 1_795_176_000_000),
        ("cost_usd", "free"),
        ("cost_usd", -1),
        ("cost_usd", float("inf")),
        ("cost_usd", Decimal("1e999999999")),
        ("cost_usd", Decimal("1e-999999999")),
        ("tags", ["a"]),
        ("metadata", "a"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_invalid_value_is_reported_and_the_rest_is_recorded(
    ledger: LedgerInMemory, argument: str, wrong: object
) -> None:
    call: dict[str, Any] = {"model": "gpt-4o", "output_tokens": 5, argument: wrong}
    track(**call)
    assert token_counts(ledger.only()) == {"output_tokens": 5}
    assert REPORTED_COST not in ledger.only()
    assert _guard.counts() == {f"track({argument}=)": 1}
    _guard.reset()


@pytest.mark.parametrize(
    ("reported", "text"),
    [(0.1, "0.1"), (1e-7, "0.0000001"), (2, "2"), ("0.00000000000123", "0.00000000000123")],
    ids=str,
)
def test_a_reported_cost_has_exactly_the_digits_that_were_passed(
    ledger: LedgerInMemory, reported: float | str, text: str
) -> None:
    track(model="gpt-4o", input_tokens=1, cost_usd=reported)
    assert ledger.only()[REPORTED_COST] == text


class _NumpyInteger:
    """What numpy's integers are to us: a number that is no `int`."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __int__(self) -> int:
        return self.value

    def __eq__(self, other: object) -> bool:
        return self.value == other

    def __le__(self, other: int) -> bool:
        return self.value <= other

    def __ge__(self, other: int) -> bool:
        return self.value >= other

    __hash__ = None  # type: ignore[assignment]


class _Count(IntEnum):
    THOUSAND = 1_000


@pytest.mark.parametrize(
    "count",
    [1_000, _NumpyInteger(1_000), _Count.THOUSAND, 1_000.0, Decimal(1_000), " 1000 "],
    ids=["int", "numpy", "subclass", "float", "Decimal", "text"],
)
def test_a_count_may_be_any_whole_number(ledger: LedgerInMemory, count: object) -> None:
    number = cast("Any", count)
    track(model="gpt-4o", input_tokens=number, output_tokens=100)
    track_cost(number, 100, "gpt-4o")
    for span in ledger.spans:
        assert type(attributes_of(span)["gen_ai.usage.input_tokens"]) is int
        row = row_of(span)
        # 2.50 and 10 dollars per million.
        assert row.cost_usd == (1_000 * Decimal("2.5") + 100 * Decimal(10)) / 1_000_000
        assert row.cost_status == "priced"


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [("cached_tokens", "many"), ("requested_at", 1_795_176_000_000)],
)
def test_the_row_names_a_value_that_was_left_out(
    ledger: LedgerInMemory, argument: str, wrong: object
) -> None:
    call: dict[str, Any] = {"model": "gpt-4o", "input_tokens": 10, "output_tokens": 5}
    call[argument] = wrong
    track(**call)
    row = row_of(ledger.spans[0])
    assert row.cost_status == "partial"
    assert row.cost_note == f"unknown: {argument}: the value is not what this argument takes"
    _guard.reset()


def test_a_duration_may_be_any_number(ledger: LedgerInMemory) -> None:
    for duration in (1, 1.0, Decimal(1), Fraction(1)):
        track(model="gpt-4o", input_tokens=1, latency_ms=cast("Any", duration))
    lasted = {(span.end_time or 0) - (span.start_time or 0) for span in ledger.spans}
    assert lasted == {1_000_000}


def test_a_missing_model_is_not_recorded_as_the_word_none(ledger: LedgerInMemory) -> None:
    track(provider="openai", model=None, input_tokens=1)
    track_cost(1, 1, None)
    track_llm(model=None)(lambda: {"usage": {"prompt_tokens": 1, "completion_tokens": 1}})()
    track_cost(model=None)(lambda: {"usage": {"prompt_tokens": 1, "completion_tokens": 1}})()
    said = [attributes_of(span) for span in ledger.spans]
    assert len(said) == 4
    assert not {REQUEST_MODEL, RESPONSE_MODEL} & {name for span in said for name in span}


def test_the_calls_around_an_invalid_one_are_recorded(ledger: LedgerInMemory) -> None:
    good = {"model": "gpt-4o", "input_tokens": 1}
    track_many([good, cast("Any", 3), good])
    assert len(ledger.spans) == 2
    assert _guard.counts() == {"track_many(calls=)": 1}
    _guard.reset()
    track_many(cast("Any", None))
    assert _guard.counts() == {"track_many": 1}
    _guard.reset()


@pytest.mark.asyncio
async def test_coroutines_record_under_their_own_attribution(ledger: LedgerInMemory) -> None:
    async def work(user: str) -> None:
        with attribution(user_id=user):
            await asyncio.sleep(0)
            await atrack(model="gpt-4o", input_tokens=1)
            await atrack_many([{"model": "gpt-4o", "input_tokens": 2}])

    users = [f"u{number}" for number in range(10)]
    await asyncio.gather(*map(work, users))
    assert sorted(attributes_of(span)[USER_ID] for span in ledger.spans) == sorted(users * 2)


@pytest.mark.asyncio
async def test_waiting_for_a_commit_does_not_block_the_loop(
    ledgers: list[LedgerInMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenledger.configure(async_mode=False)
    threads: list[int] = []

    class Noting:
        def record_call(self, *_args: object, **_kwargs: object) -> None:
            threads.append(threading.get_ident())

    monkeypatch.setattr("tokenledger._manual.track.record_call", Noting().record_call)
    with attribution(user_id="u1"):
        await atrack(model="gpt-4o", input_tokens=1)
    assert len(threads) == 1
    assert threads != [threading.get_ident()]
    assert len(ledgers) == 1


def test_nothing_is_recorded_while_disabled(ledgers: list[LedgerInMemory]) -> None:
    tokenledger.configure(enabled=False)
    track(model="gpt-4o", input_tokens=1)
    assert not ledgers


def test_track_cost_without_counts_is_a_decorator_that_records_the_answer(
    ledger: LedgerInMemory,
) -> None:
    @track_cost(feature="chat", metadata={"tier": "gold"})
    def ask(question: str) -> dict[str, object]:
        """Asks."""
        return {
            "model": "gpt-4o",
            "usage": {"prompt_tokens": 10, "completion_tokens": 5},
            "": question,
        }

    assert not ledger.spans
    assert ask("?")[""] == "?"
    assert ask.__doc__ == "Asks."
    said = ledger.only()
    assert token_counts(said) == {"input_tokens": 10, "output_tokens": 5}
    assert (said[FEATURE], said[METADATA_PREFIX + "tier"]) == ("chat", "gold")


def test_track_cost_is_a_decorator_without_arguments(ledger: LedgerInMemory) -> None:
    @track_cost
    def ask() -> dict[str, object]:
        return {"model": "gpt-4o", "usage": {"prompt_tokens": 10, "completion_tokens": 5}}

    ask()
    assert token_counts(ledger.only()) == {"input_tokens": 10, "output_tokens": 5}


def test_track_cost_with_only_a_status_records_a_failed_call(ledger: LedgerInMemory) -> None:
    book: Any = track_cost
    assert book(model="gpt-4o", status="error") is None
    assert ledger.spans[0].status.status_code is StatusCode.ERROR


def test_a_call_reported_before_init_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Without a ledger and without tracing it would vanish silently."""
    _guard.reset()
    for _ in range(3):
        track("openai", "gpt-4o", 1_000, 100)
    track_cost(1_000, 100, "gpt-4o")
    (message,) = [entry.getMessage() for entry in caplog.records]
    assert message.startswith(
        "tokenledger: a call reported before init() was ignored: no ledger is open; "
        "call tokenledger.init() or tokenledger.configure() first"
    )
    assert _guard.counts() == {"a call reported before init()": 4}
    _guard.reset()
