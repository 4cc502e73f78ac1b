"""The total of a usage is held against its parts, and one rule at most explains a difference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenledger_semconv.tokens import TokenVector
from tokenledger_semconv.usage.totals import surplus_of, total_in, with_total

counts = st.integers(0, 10**6)


@pytest.mark.parametrize(
    ("tokens", "total", "expected"),
    [
        (TokenVector(100, 20, reasoning_tokens=15), 120, TokenVector(100, 20, reasoning_tokens=15)),
        (TokenVector(100, 20, reasoning_tokens=15), 135, TokenVector(100, 35, reasoning_tokens=15)),
        (TokenVector(100, 20, 600, 30), 750, TokenVector(730, 20, 600, 30)),
        (
            TokenVector(100, 20, 600, reasoning_tokens=15),
            735,
            TokenVector(700, 35, 600, reasoning_tokens=15),
        ),
        (TokenVector(100, 20), 135, TokenVector(100, 20)),
        (TokenVector(100, 20), 90, TokenVector(100, 20)),
        (TokenVector(100), 120, TokenVector(100, 20)),
        (TokenVector(None, 20), 120, TokenVector(100, 20)),
        (TokenVector(100), 100, TokenVector(100)),
        (TokenVector(), 100, TokenVector()),
        (TokenVector(100, 20), None, TokenVector(100, 20)),
    ],
    ids=[
        *("adds up", "reasoning on top", "cache on top", "both on top", "unexplained", "too low"),
        *("output is the rest", "input is the rest", "no rest", "no side", "no total"),
    ],
)
def test_a_total_corrects_the_counts_by_one_rule(
    tokens: TokenVector, total: int | None, expected: TokenVector
) -> None:
    assert with_total(tokens, total) == expected


@given(read=counts, written=counts, reasoning=counts)
def test_counts_that_add_up_are_never_changed(read: int, written: int, reasoning: int) -> None:
    tokens = TokenVector(read, written, reasoning_tokens=reasoning)
    assert with_total(tokens, read + written) == tokens
    assert surplus_of(tokens, read + written) == 0


def test_a_surplus_is_what_the_counts_lack() -> None:
    assert surplus_of(TokenVector(100, 20), 150) == 30
    assert surplus_of(TokenVector(100, 20), 90) == -30
    assert surplus_of(TokenVector(100, 20), None) == 0


def test_a_total_without_the_cached_tokens_fits() -> None:
    """Some emitters add up Anthropic's own counts, which leave them out."""
    assert surplus_of(TokenVector(1_000, 200, 600, 300), 300) == 0


@pytest.mark.parametrize(
    "name", ["total_tokens", "totalTokens", "total_token_count", "totalTokenCount"]
)
def test_a_total_is_read_under_each_of_its_names(name: str) -> None:
    assert total_in({name: 12}) == 12
    assert total_in({name: 0}) is None
