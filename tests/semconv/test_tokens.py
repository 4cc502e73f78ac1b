"""The token vector's invariants hold, or are named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenledger_semconv.tokens import MAX_COUNT, TokenVector

counts = st.integers(0, MAX_COUNT // 4)


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
        (
            TokenVector(audio_input_tokens=5, cached_audio_tokens=6),
            "cached audio (6) exceed audio input (5)",
        ),
        (
            TokenVector(image_input_tokens=5, cached_image_tokens=6),
            "cached images (6) exceed image input (5)",
        ),
        (
            TokenVector(cached_tokens=5, cached_audio_tokens=3, cached_image_tokens=3),
            "cached audio and images (6) exceed cache reads (5)",
        ),
        (TokenVector(cached_audio_tokens=1), "cached audio and images (1) exceed cache reads (0)"),
        (
            TokenVector(
                input_tokens=10, cached_tokens=8, audio_input_tokens=10, cached_audio_tokens=0
            ),
            "uncached audio and images (10) exceed uncached input (2)",
        ),
        (TokenVector(audio_seconds=-1), "audio_seconds is negative"),
    ],
)
def test_a_broken_invariant_is_named(vector: TokenVector, fault: str) -> None:
    assert fault in vector.faults()


def test_missing_is_not_zero() -> None:
    assert TokenVector().total_tokens is None
    assert TokenVector().is_empty
    assert TokenVector(input_tokens=0).total_tokens == 0
    assert not TokenVector(input_tokens=0).is_empty


@pytest.mark.parametrize(
    "vector",
    [
        TokenVector(input_tokens=0),
        TokenVector(output_tokens=0),
        TokenVector(audio_seconds=0),
        TokenVector(input_characters=0),
        TokenVector(images=0),
    ],
)
def test_any_billed_count_is_a_measure(vector: TokenVector) -> None:
    assert vector.is_measured
    assert vector.has_length == (vector.total_tokens is None)


def test_tool_uses_alone_do_not_measure_a_call() -> None:
    assert not TokenVector(web_search_requests=1).is_measured
