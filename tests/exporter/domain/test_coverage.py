"""Coverage: only all of the calls are 100.0%."""

from __future__ import annotations

import pytest

from tokenledger_exporter.domain.coverage import Coverage


@pytest.mark.parametrize(
    ("priced", "unpriced", "share"),
    [
        (6014, 1, "99.9%"),
        (6015, 0, "100.0%"),
        (1, 2, "33.3%"),
        (2, 1, "66.6%"),
        (0, 7, "0.0%"),
    ],
)
def test_the_share_is_rounded_down(priced: int, unpriced: int, share: str) -> None:
    assert f"({share})" in Coverage(priced=priced, unpriced=unpriced).sentence


def test_a_sum_is_unknown_if_no_call_has_a_cost() -> None:
    assert Coverage(unpriced=1, unmeasured=1).knows_no_cost
    assert not Coverage(unpriced=1, partial=1).knows_no_cost
    assert not Coverage().knows_no_cost
