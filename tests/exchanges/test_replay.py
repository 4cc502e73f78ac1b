"""The replay harness: the real SDKs, bare, read from every recording what the provider billed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exchanges.replay import (
    CORPUS_VARIABLE,
    AsyncPlayer,
    Player,
    corpus_exchanges,
    own_exchanges,
)
from tokenledger_exporter.demo.provider import DemoProvider

if TYPE_CHECKING:
    from collections.abc import Generator

    from exchanges.replay import (
        Exchange,
    )

OWN = [pytest.param(exchange, id=exchange.id) for exchange in own_exchanges()]

MISREAD = {
    # An SDK's own fixture: its unknown events carry decoy counts of 99, which `expected` took.
    "bd0d16e802e380d8",
}
"""Recordings of the corpus whose `expected` contradicts their own events."""


@pytest.fixture
def provider() -> Generator[DemoProvider]:
    with DemoProvider() as running:
        yield running


def merged(*objects: Any) -> dict[str, Any]:  # noqa: ANN401 - usage models of two SDKs
    """Usage objects over each other; what a later one leaves out stays."""
    dumped = (part.model_dump(exclude_none=True) for part in objects if part is not None)
    return {key: value for part in dumped for key, value in part.items()}


def usage_of(exchange: Exchange, answer: Any) -> dict[str, Any]:  # noqa: ANN401 - any answer
    """The provider's usage object as the SDK gives it to the app; empty if there was none."""
    if not exchange.stream:
        return merged(answer.usage)
    if exchange.endpoint == "messages":
        started = [event.message.usage for event in answer if event.type == "message_start"]
        return merged(*started, *[e.usage for e in answer if e.type == "message_delta"])
    if exchange.endpoint == "responses":
        return merged(answer[-1].response.usage)
    return merged(*[chunk.usage for chunk in answer])


def counted(exchange: Exchange, usage: dict[str, Any]) -> tuple[int, int, int, int]:
    """Input, cache reads, output and reasoning, in the corpus's own convention."""
    if exchange.endpoint == "messages":
        read = usage.get("cache_read_input_tokens", 0)
        cached = read + usage.get("cache_creation_input_tokens", 0)
        thought = usage.get("output_tokens_details", {}).get("thinking_tokens", 0)
        return usage["input_tokens"] + cached, read, usage["output_tokens"], thought
    names = ("input", "output") if exchange.endpoint == "responses" else ("prompt", "completion")
    given, made = (usage.get(f"{name}_tokens", 0) for name in names)
    details = [usage.get(f"{name}_tokens_details", {}) for name in names]
    return (
        given,
        details[0].get("cached_tokens", 0),
        made,
        details[1].get("reasoning_tokens", 0),
    )


def assert_as_billed(exchange: Exchange, answer: Any) -> None:  # noqa: ANN401 - any answer
    expected = exchange.expected
    usage = usage_of(exchange, answer)
    assert bool(usage) == expected.has_usage, exchange.id
    if usage:
        told = (expected.input, expected.cache_read, expected.output, expected.reasoning)
        assert counted(exchange, usage) == told, exchange.id


@pytest.mark.parametrize("exchange", OWN)
def test_our_exchanges_are_played_and_read(provider: DemoProvider, exchange: Exchange) -> None:
    with Player(provider) as player:
        assert_as_billed(exchange, player.play(exchange))
    assert provider.requests[0].body == exchange.request


@pytest.mark.asyncio
async def test_our_exchanges_are_played_with_async_clients(provider: DemoProvider) -> None:
    async with AsyncPlayer(provider) as player:
        for exchange in own_exchanges():
            assert_as_billed(exchange, await player.play(exchange))


def test_our_exchanges_have_ids_of_their_own() -> None:
    ids = [exchange.id for exchange in own_exchanges()]
    assert len(set(ids)) == len(ids) == 26


@pytest.mark.asyncio
async def test_the_whole_corpus_is_replayed(provider: DemoProvider) -> None:
    """Every exchange, with both kinds of client."""
    corpus = corpus_exchanges()
    if not corpus:
        pytest.skip(f"{CORPUS_VARIABLE} names no folder with the recorded corpus")
    read = [exchange for exchange in corpus if exchange.id not in MISREAD]
    assert len(corpus) - len(read) == len(MISREAD & {exchange.id for exchange in corpus})
    with Player(provider) as player:
        for exchange in read:
            assert_as_billed(exchange, player.play(exchange))
    async with AsyncPlayer(provider) as async_player:
        for exchange in read:
            assert_as_billed(exchange, await async_player.play(exchange))
    assert len(provider.requests) == 2 * len(read)
