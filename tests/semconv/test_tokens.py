"""The token vector's invariants hold, or are named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenledger_semconv.tokens import TokenVector

counts = st.integers(0, 10**9)


@given(uncached=counts, read=counts, short=counts, hour=counts, output=counts)
def test_the_kinds_of_input_sum_to_input(
    uncached: int, read: int, short: int, hour: int, output: int
) -> None:
    vector = TokenVector(
        input_tokens=uncached + read + short + hour,
        output_tokens=output,
        cached_tokens=read,
        cache_write_tokens=short + hour,
        cache_write_1h_tokens=hour,
    )
    assert vector.faults() == ()
    assert vector.uncached_input_tokens == uncached
    assert vector.cache_write_5m_tokens == short
    assert vector.total_tokens == uncached + read + short + hour + output


@pytest.mark.parametrize(
    ("vector", "fault"),
    [
        (TokenVector(input_tokens=-1), "input_tokens is negative"),
        (
            TokenVector(input_tokens=10, cached_tokens=8, cache_write_tokens=3),
            "cache reads and writes (11) exceed input (10)",
        ),
        (
            TokenVector(input_tokens=10, cache_write_tokens=2, cache_write_1h_tokens=3),
            "one-hour writes (3) exceed writes (2)",
        ),
        (TokenVector(output_tokens=5, reasoning_tokens=6), "reasoning (6) exceed output (5)"),
        (TokenVector(input_tokens=5, audio_input_tokens=6), "audio input (6) exceed input (5)"),
    ],
)
def test_a_broken_invariant_is_named(vector: TokenVector, fault: str) -> None:
    assert fault in vector.faults()


def test_missing_is_not_zero() -> None:
    assert TokenVector().total_tokens is None
    assert TokenVector().is_empty
    assert TokenVector(input_tokens=0).total_tokens == 0
    assert not TokenVector(input_tokens=0).is_empty
