"""Figures for people: few digits on the page, rounded so that nothing misleads."""

from __future__ import annotations

import pytest

from tokenledger_exporter.domain.coverage import Coverage
from tokenledger_exporter.web.pages.figures import compact, money, segments


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (None, "unknown"),
        ("0", "$0.00"),
        ("0.000123456", "$0.000123"),
        ("0.0105", "$0.0105"),
        ("19.479212", "$19.4792"),
        ("1234567.891", "$1,234,567.89"),
        ("-0.5", "-$0.5000"),
        ("0.0000000012", "<$0.000001"),
    ],
)
def test_money_has_digits_that_suit_its_size(usd: str | None, text: str) -> None:
    assert money(usd) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1k"),
        (1_234, "1.23k"),
        (999_499, "999k"),
        (999_999, "1M"),
        (12_345_678, "12.3M"),
        (5_000_000_000, "5B"),
        (1_230_000_000_000, "1,230B"),
    ],
)
def test_a_large_count_has_three_digits_and_a_unit(value: int, text: str) -> None:
    assert compact(value) == text


def test_a_rare_state_stays_visible_in_the_bar_of_all_calls() -> None:
    """9,999 and 1: 99.99% and 0.01%, which is drawn as 0.6 of 100.59."""
    priced, unpriced = segments(Coverage(priced=9_999, unpriced=1))
    assert (priced.state, priced.calls, priced.x, priced.width) == ("priced", 9_999, 0, 99.4)
    assert (unpriced.state, unpriced.calls, unpriced.x, unpriced.width) == (
        "unpriced",
        1,
        99.4,
        0.6,
    )
    assert segments(Coverage()) == []
