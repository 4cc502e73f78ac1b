"""The short form of `make bench-forecast`: one ledger of each kind of traffic."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import pytest

from benchmarks.forecast import TRAFFIC, forecasts_of, hourly_costs, score

if TYPE_CHECKING:
    from tokenledger_exporter.queries import PastForecast

SEED: Final = 1_000


@cache
def past(name: str) -> tuple[PastForecast, ...]:
    """One forecast of each month of a ledger."""
    return forecasts_of(name, SEED, (22,))


@pytest.mark.parametrize("name", TRAFFIC)
def test_seasonal_beats_the_mean_x_30_on_each_kind_of_traffic(name: str) -> None:
    result = score(past(name))
    assert result.forecasts == 11
    assert result.seasonal < result.mean30


def test_the_interval_contains_about_80_of_100_months() -> None:
    names = ("flat", "holidays", "bursts", "agent runs")
    result = score([forecast for name in names for forecast in past(name)])
    assert 0.65 < result.inside / result.forecasts < 0.95


def test_the_same_seed_is_the_same_traffic() -> None:
    costs = hourly_costs("growth", 3)
    assert costs == hourly_costs("growth", 3)
    assert costs != hourly_costs("growth", 4)
