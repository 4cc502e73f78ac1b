"""The interval of a forecast, from the errors that the model made on this ledger's own past.

At many past days, the model forecasts from what was known then as many days ahead as remain now.
The quantiles of actual cost by forecast are the interval, and their median corrects the forecast.
Floats are allowed in this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.queries.forecast.seasonal import fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenledger_exporter.queries.forecast.days import Day

FEWEST_DAYS: Final = 14
"""Complete days that the model needs."""

_MOST_CUTOFFS: Final = 40
# The model of today has learned months: errors from before the first third are not its own.
_SHARE_TO_LEARN: Final = 3
_LARGEST_RATIO: Final = 20.0
_TAIL: Final = 0.095
# How much of the typical error is corrected: past errors are few, and depend on each other.
_CORRECTION: Final = 0.5
# Widening by the number of independent periods, and the spread where there is none.
_WIDENING: Final = 0.9
_SPREAD_WITHOUT_PAST: Final = 0.5
_PERIODS_TO_TRUST: Final = 3.0


@dataclass(frozen=True, slots=True)
class Interval:
    """Factors of the model's forecast: the corrected forecast, and the ends of its interval."""

    middle: float
    low: float
    high: float


def interval(days: Sequence[Day], days_ahead: int) -> Interval:
    """The factors for a forecast so many days ahead."""
    horizon = max(1, min(days_ahead, (len(days) - FEWEST_DAYS) // 2))
    errors = _past_errors(days, horizon)
    if not errors:
        return Interval(1.0, exp(-_SPREAD_WITHOUT_PAST), exp(_SPREAD_WITHOUT_PAST))
    periods = (len(days) - FEWEST_DAYS) / days_ahead
    trust = periods / (periods + _PERIODS_TO_TRUST)
    middle = _CORRECTION * trust * _quantile(errors, 0.5)
    symmetric = _quantile([abs(error - middle) for error in errors], 1 - 2 * _TAIL)
    wider = 1 + _WIDENING / periods
    low = trust * (middle - _quantile(errors, _TAIL)) + (1 - trust) * symmetric
    high = trust * (_quantile(errors, 1 - _TAIL) - middle) + (1 - trust) * symmetric
    return Interval(
        exp(middle), exp(middle - wider * max(low, 0.0)), exp(middle + wider * max(high, 0.0))
    )


def _past_errors(days: Sequence[Day], horizon: int) -> list[float]:
    """The logarithms of actual cost by forecast, at past days."""
    first = max(FEWEST_DAYS, len(days) // _SHARE_TO_LEARN)
    last = len(days) - horizon
    step = max(1, (last - first) // _MOST_CUTOFFS)
    errors: list[float] = []
    for end in range(last, first - 1, -step):
        model = fit(days[:end], with_hours=False)
        following = days[end : end + horizon]
        forecast = sum(model.day_cost(day.date, ahead) for ahead, day in enumerate(following, 1))
        actual = sum(day.total for day in following)
        if forecast > 0:
            ratio = min(max(actual / forecast, 1 / _LARGEST_RATIO), _LARGEST_RATIO)
            errors.append(log(ratio))
    return sorted(errors)


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
