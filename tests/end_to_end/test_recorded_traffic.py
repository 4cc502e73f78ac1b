"""Recorded traffic through the real SDKs: one row a call, the recorded tokens, the right money."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.rows import dict_row

import tokenledger
from end_to_end.money import each, mtok
from exchanges.replay import (
    CORPUS_VARIABLE,
    AsyncPlayer,
    Player,
    corpus_exchanges,
    own_exchanges,
)
from exchanges.test_replay import MISREAD

if TYPE_CHECKING:
    from exchanges.replay import (
        Exchange,
        Expected,
    )
    from tokenledger_exporter.demo.provider import DemoProvider

pytestmark = pytest.mark.usefixtures("unpatched")

OWN = [pytest.param(exchange, id=exchange.id) for exchange in own_exchanges()]

# Prices of OpenAI, Azure and Anthropic on 2026-11-22, US dollars a million tokens or a thousand
# searches.
COSTS = {
    "anthropic_beta": mtok("1", 577) + mtok("5", 151),
    "anthropic_cache_read": mtok("3", 17) + mtok("0.30", 4_099) + mtok("15", 151),
    "anthropic_cache_write_1h": mtok("3", 23) + mtok("6", 4_127) + mtok("15", 163),
    "anthropic_cache_write_5m": mtok("3", 19) + mtok("3.75", 4_111) + mtok("15", 157),
    "anthropic_cache_write_both": (
        mtok("3", 29)
        + mtok("0.30", 1_031)
        + mtok("3.75", 2_053)
        + mtok("6", 3_079)
        + mtok("15", 167)
    ),
    "anthropic_plain": mtok("1", 563) + mtok("5", 139),
    "anthropic_stream": mtok("1", 571) + mtok("5", 149),
    "anthropic_stream_cached": (
        mtok("3", 31) + mtok("0.30", 2_063) + mtok("3.75", 512) + mtok("6", 1_024) + mtok("15", 173)
    ),
    "anthropic_thinking": mtok("3", 83) + mtok("15", 1_709),
    "anthropic_web_search": mtok("3", 7_919) + mtok("15", 383) + each("10", 3),
    "azure_chat": mtok("2.50", 967) + mtok("10", 41),
    "azure_stream_without_usage": None,
    "chat_audio": mtok("2.50", 108) + mtok("32", 211) + mtok("10", 64) + mtok("64", 223),
    "chat_cached": mtok("2.50", 127) + mtok("1.25", 2_304) + mtok("10", 61),
    "chat_plain": mtok("0.15", 1_189) + mtok("0.60", 507),
    "chat_reasoning": mtok("0.25", 743) + mtok("2", 1_331),
    "chat_service_tier_flex": mtok("0.125", 3_907) + mtok("1", 353),
    "chat_service_tier_priority": mtok("0.45", 237) + mtok("0.045", 640) + mtok("3.60", 229),
    "chat_stream_with_usage": mtok("0.15", 103) + mtok("0.075", 1_408) + mtok("0.60", 83),
    "chat_stream_without_usage": None,
    "embeddings": mtok("0.02", 8_191),
    "responses_cached": mtok("2.50", 189) + mtok("1.25", 5_120) + mtok("10", 37),
    "responses_plain": mtok("2.50", 409) + mtok("10", 173),
    "responses_reasoning": mtok("0.25", 631) + mtok("2", 2_113),
    "responses_stream": mtok("0.25", 125) + mtok("0.025", 1_152) + mtok("2", 211),
    "responses_web_search": (
        mtok("0.25", 8_179) + mtok("0.025", 1_024) + mtok("2", 449) + each("10", 2)
    ),
}
"""What each of our exchanges costs; `None` where it cannot be known."""

ROWS = """
    SELECT feature, model, cost_usd, cost_status,
           input_tokens, output_tokens, cached_tokens, cache_write_tokens, cache_write_1h_tokens,
           reasoning_tokens, audio_input_tokens, audio_output_tokens
    FROM token_ledger_events
    WHERE NOT details ? 'tokenledger.usage.part'
"""
PARTS = """
    SELECT feature, model, input_tokens, output_tokens, cost_usd FROM token_ledger_events
    WHERE details ->> 'tokenledger.usage.part' = 'advisor_message'
    ORDER BY feature
"""
ADVICE = [
    # Three recorded answers asked another model for advice; their own counts leave it out.
    (
        *("08b6d7c238e0baa1", "claude-fable-5", 2_564, 99),
        (2_564 * Decimal(10) + 99 * Decimal(50)) / 1_000_000,
    ),
    (
        *("2f1feb93fa2a8161", "claude-opus-4-8", 2_529, 38),
        (2_529 * Decimal(5) + 38 * Decimal(25)) / 1_000_000,
    ),
    (
        *("8a5252e9d4dd4098", "claude-opus-4-8", 2_518, 22),
        (2_518 * Decimal(5) + 22 * Decimal(25)) / 1_000_000,
    ),
]

SERVED = {"1aa1e379a7d5e62e": "claude-sonnet-4-5"}
"""A stream whose first event names the model that declined, not the one that answered."""

_Row = dict[str, Any]


def rows(database_url: str) -> list[_Row]:
    """What is in the ledger once everything is written."""
    tokenledger.flush(timeout=30.0)
    with (
        psycopg.connect(database_url) as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        return cursor.execute(ROWS).fetchall()


def record(database_url: str) -> None:
    """The two lines of the quick start, for both SDKs."""
    tokenledger.configure(database_url=database_url)
    tokenledger.patch_openai()
    tokenledger.patch_anthropic()


def counted(row: _Row) -> _Row:
    """A row's model and counts; optional parts that the provider left out are none of the whole."""
    if row["cost_status"] == "unmeasured":
        return row
    return {
        "model": row["model"],
        "input": row["input_tokens"],
        "output": row["output_tokens"] or 0,
        "cached": row["cached_tokens"] or 0,
        "cache_write": row["cache_write_tokens"] or 0,
        "cache_write_1h": row["cache_write_1h_tokens"] or 0,
        "reasoning": row["reasoning_tokens"] or 0,
        "audio_in": row["audio_input_tokens"] or 0,
        "audio_out": row["audio_output_tokens"] or 0,
    }


def billed(expected: Expected, feature: str = "") -> _Row:
    """The same of a recording: its counts, or a row that says that nothing was counted."""
    if not expected.has_usage:
        nothing = dict.fromkeys(
            [
                *("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens"),
                *("cache_write_1h_tokens", "reasoning_tokens"),
                *("audio_input_tokens", "audio_output_tokens", "cost_usd"),
            ]
        )
        known = {"feature": feature, "model": expected.model, "cost_status": "unmeasured"}
        return {**nothing, **known}
    return {
        "model": SERVED.get(feature, expected.model),
        "input": expected.input,
        "output": expected.output,
        "cached": expected.cache_read,
        "cache_write": expected.cache_write,
        "cache_write_1h": expected.cache_write_1h,
        "reasoning": expected.reasoning,
        "audio_in": expected.audio_in or 0,
        "audio_out": expected.audio_out or 0,
    }


@pytest.mark.parametrize("exchange", OWN)
@pytest.mark.asyncio
async def test_an_exchange_is_one_row_with_its_tokens_and_its_cost(
    provider: DemoProvider, database_url: str, exchange: Exchange
) -> None:
    record(database_url)
    with Player(provider) as player:
        player.play(exchange)
    by_sync = rows(database_url)
    async with AsyncPlayer(provider) as async_player:
        await async_player.play(exchange)
    by_both = rows(database_url)
    assert [counted(row) for row in by_sync] == [billed(exchange.expected)]
    assert [counted(row) for row in by_both] == [billed(exchange.expected)] * 2
    assert [money(row) for row in by_both] == [COSTS[exchange.id]] * 2


def money(row: _Row) -> Decimal | None:
    """The cost, which a priced row has and an unmeasured one has not."""
    assert row["cost_status"] == ("unmeasured" if row["cost_usd"] is None else "priced")
    cost: Decimal | None = row["cost_usd"]
    return cost


def test_every_recorded_exchange_has_an_expected_cost() -> None:
    assert COSTS.keys() == {exchange.id for exchange in own_exchanges()}
    assert sum(cost is not None for cost in COSTS.values()) == 24


@pytest.fixture
def corpus() -> dict[str, Exchange]:
    """The larger corpus, by id, without what contradicts itself."""
    found = {exchange.id: exchange for exchange in corpus_exchanges()}
    if not found:
        pytest.skip(f"{CORPUS_VARIABLE} is not set")
    return {id_: exchange for id_, exchange in found.items() if id_ not in MISREAD}


def test_the_whole_corpus_is_recorded_call_by_call(
    provider: DemoProvider, database_url: str, corpus: dict[str, Exchange]
) -> None:
    record(database_url)
    with Player(provider) as player:
        for exchange in corpus.values():
            with tokenledger.attribution(feature=exchange.id):
                player.play(exchange)
    assert_as_recorded(rows(database_url), corpus)
    with psycopg.connect(database_url) as connection:
        parts = connection.execute(PARTS).fetchall()
    # The oldest releases of the SDK have no method that asks for advice.
    assert parts == [advice for advice in ADVICE if advice[0] in corpus]


@pytest.mark.asyncio
async def test_the_whole_corpus_is_recorded_from_async_clients(
    provider: DemoProvider, database_url: str, corpus: dict[str, Exchange]
) -> None:
    record(database_url)
    async with AsyncPlayer(provider) as player:
        for exchange in corpus.values():
            with tokenledger.attribution(feature=exchange.id):
                await player.play(exchange)
    assert_as_recorded(rows(database_url), corpus)
    with psycopg.connect(database_url) as connection:
        parts = connection.execute(PARTS).fetchall()
    # The oldest releases of the SDK have no method that asks for advice.
    assert parts == [advice for advice in ADVICE if advice[0] in corpus]


def assert_as_recorded(found: list[_Row], corpus: dict[str, Exchange]) -> None:
    """One row per exchange, plus those of advisors, with the recorded counts.

    Money only where something was counted.
    """
    calls = Counter(row["feature"] for row in found)
    assert calls == Counter(corpus.keys())
    differing = [
        f"{row['feature']}: {counted(row)} instead of {expected}"
        for row in found
        if counted(row) != (expected := billed(corpus[row["feature"]].expected, row["feature"]))
    ]
    assert not differing, "\n".join(differing)
    unmeasured = [row for row in found if row["cost_status"] == "unmeasured"]
    silent = [exchange for exchange in corpus.values() if not exchange.expected.has_usage]
    assert len(unmeasured) == len(silent) > 0
    assert {row["cost_usd"] for row in unmeasured} == {None}
    # A price list that knows the model prices every part of the call, a partly priced one none.
    # Audio of a model without an audio price, and the searches of one that always searches, are the
    # only usage that cannot be priced whole.
    whole = [
        row
        for row in found
        if not row["audio_input_tokens"]
        and not row["audio_output_tokens"]
        and "search-preview" not in row["model"]
    ]
    assert {row["cost_status"] for row in whole} <= {"priced", "unpriced", "unmeasured"}
    assert {row["cost_status"] for row in found} <= {"priced", "partial", "unpriced", "unmeasured"}
