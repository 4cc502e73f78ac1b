"""What a call may cost: by past calls of its kind, else by its request."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tokenledger._budgets.estimate import (
    ENCODED_FILE_CHARACTERS,
    MIN_PAST_CALLS,
    PastCosts,
    estimated_cost,
)
from tokenledger._usage.estimate import input_characters
from tokenledger_semconv import attributes as names

if TYPE_CHECKING:
    from support.ledger_in_memory import LedgerInMemory
    from tokenledger_semconv.budgets import CallAttributes

CHAT: CallAttributes = {
    names.PROVIDER_NAME: "openai",
    names.OPERATION_NAME: "chat",
    names.REQUEST_MODEL: "gpt-4o",
    names.FEATURE: "search",
}


@pytest.mark.parametrize(
    ("settings", "output_tokens"),
    [
        ({}, 1_000),
        ({names.REQUEST_MAX_TOKENS: 50}, 50),
        ({names.REQUEST_MAX_TOKENS: 50, names.REQUEST_CHOICE_COUNT: 3}, 150),
        ({names.REQUEST_MAX_TOKENS: "many"}, 1_000),
    ],
    ids=str,
)
def test_a_first_call_may_cost_its_text_and_its_most_output(
    ledger: LedgerInMemory, settings: CallAttributes, output_tokens: int
) -> None:
    cost = estimated_cost({**CHAT, **settings}, 401, ledger)
    # A part of a token counts as one.
    assert cost == (101 * Decimal("2.5") + output_tokens * Decimal(10)) / 1_000_000


def test_an_embedding_has_no_output(ledger: LedgerInMemory) -> None:
    embedding = {
        names.PROVIDER_NAME: "openai",
        names.OPERATION_NAME: "embeddings",
        names.REQUEST_MODEL: "text-embedding-3-small",
    }
    assert estimated_cost(embedding, 4_000, ledger) == 1_000 * Decimal("0.02") / 1_000_000


def test_without_prices_there_is_no_estimate(ledger: LedgerInMemory) -> None:
    assert estimated_cost(CHAT, 400, None) is None
    assert estimated_cost({**CHAT, names.REQUEST_MODEL: "my-own-model"}, 400, ledger) is None


def test_a_high_quantile_of_past_calls_decides() -> None:
    costs = PastCosts()
    for cents in range(1, MIN_PAST_CALLS):
        costs.add(CHAT, Decimal(cents) / 100)
    assert costs.high_cost(CHAT) is None
    costs.add(CHAT, Decimal(100))
    # 19 of 20 calls, 95 %, cost no more than 19 cents.
    assert costs.high_cost(CHAT) == Decimal("0.19")


def test_only_the_last_hundred_calls_decide() -> None:
    costs = PastCosts()
    for usd in [Decimal(9)] * 50 + [Decimal(1)] * 100:
        costs.add(CHAT, usd)
    assert costs.high_cost(CHAT) == 1


@pytest.mark.parametrize("name", [names.FEATURE, names.REQUEST_MODEL, names.OPERATION_NAME])
def test_calls_of_another_kind_do_not_count(name: str) -> None:
    costs = PastCosts()
    for _ in range(MIN_PAST_CALLS):
        costs.add(CHAT, Decimal(1))
    assert costs.high_cost({**CHAT, name: "another"}) is None


def test_all_text_of_a_request_is_measured() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5_000}}
    text = {"type": "text", "text": "a question"}
    body = {"messages": [{"role": "user", "content": [text, picture]}], "stream": True, "n": 3}
    labels = len("user") + len("text") + len("image_url")
    assert input_characters(body) == labels + len("a question")
    assert (
        input_characters(body, ENCODED_FILE_CHARACTERS)
        == labels + len("a question") + ENCODED_FILE_CHARACTERS
    )


def test_token_ids_are_measured_as_tokens() -> None:
    assert input_characters({"input": [[1, 2, 3], [4]]}) == 4 * 4
