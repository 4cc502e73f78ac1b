"""The seasonal model: hour of the week times day of the month times a level with a trend.

Floats are allowed in this module: it estimates, and its results become money elsewhere. It is
robust by medians: an outage, a holiday or a spike of one day moves no profile and no level.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.queries.forecast.days import hour_shares, position_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from tokenledger_exporter.queries.forecast.days import Day

_WEEK: Final = 7
_PROFILE_DAYS: Final = 10 * _WEEK
_SMALLEST_WEIGHT: Final = 0.02
_HALF_LIFE_DAYS: Final = 12.0
_TREND_WEEKS: Final = 10
_FEWEST_TREND_WEEKS: Final = 4
_SIGNIFICANT_SLOPE: Final = 3.0
_DAMPING: Final[float] = 0.97
_STEEPEST: Final = 0.03
# Normal spread of a median absolute deviation.
_MAD: Final = 1.4826
_OUTLIER: Final = 3.0
_SIGNIFICANT: Final = 2.5


@dataclass(frozen=True, slots=True)
class Seasonal:
    """A fitted model.

    Args:
        level: cost of an average day, at the end of what is known.
        trend: growth per day, 0.01 for one percent; it fades.
        weekdays: weight of each day of the week; their average is 1.
        positions: weight of days near the start and the end of a month; others are 1.
        hours: weekday -> share of each hour.
    """

    level: float
    trend: float
    weekdays: tuple[float, ...]
    positions: Mapping[int, float]
    hours: Sequence[Sequence[float]]

    def day_cost(self, day: date, ahead: float) -> float:
        """The expected cost of a day.

        Args:
            day: the day.
            ahead: how many days after the end of what is known.
        """
        position = self.positions.get(position_of(day), 1.0)
        growth = self.trend * (1 - _DAMPING**ahead) / (1 - _DAMPING)
        cost: float = self.level * max(0.0, 1 + growth) * self.weekdays[day.weekday()] * position
        return cost


def fit(days: Sequence[Day], *, with_hours: bool = True) -> Seasonal:
    """Fit the model to the complete days up to now, oldest first.

    Args:
        days: at least 14 days.
        with_hours: whether the shares of hours are needed.
    """
    weekdays = _weekday_weights(days[-_PROFILE_DAYS:])
    plain = [_plain(day, weekdays[day.date.weekday()]) for day in days]
    positions = _position_weights(days, plain)
    plain = [
        cost / positions.get(day.position, 1.0) if cost is not None else None
        for day, cost in zip(days, plain, strict=True)
    ]
    recent = _without_spikes(plain[-_PROFILE_DAYS:])
    weights = [weekdays[day.date.weekday()] for day in days[-_PROFILE_DAYS:]]
    trend = _trend(recent)
    level = _level(recent, weights, trend)
    hours = hour_shares(days[-_PROFILE_DAYS:]) if with_hours else ()
    return Seasonal(level, trend, weekdays, positions, hours)


def _plain(day: Day, weight: float) -> float | None:
    """The cost of the day as if it were an average one; `None` if that cannot be said."""
    return day.cost / weight if day.cost is not None and weight >= _SMALLEST_WEIGHT else None


def _weekday_weights(days: Sequence[Day]) -> tuple[float, ...]:
    """The median share of each weekday in the week around it, as far as weekdays differ."""
    ratios: list[list[float]] = [[] for _ in range(_WEEK)]
    for place in range(3, len(days) - 3):
        week = [day.cost for day in days[place - 3 : place + 4] if day.cost is not None]
        cost = days[place].cost
        if len(week) == _WEEK and cost is not None and sum(week) > 0:
            ratios[days[place].date.weekday()].append(cost * _WEEK / sum(week))
    if not all(ratios):
        return (1.0,) * _WEEK
    centers = [median(values) for values in ratios]
    average = fmean(centers)
    if not average:
        return (1.0,) * _WEEK
    noise = fmean(
        (value - center) ** 2 / len(values)
        for values, center in zip(ratios, centers, strict=True)
        for value in values
    )
    between = fmean((center - average) ** 2 for center in centers)
    share = max(0.0, 1 - noise / between) if between else 0.0
    return tuple(1 + share * (center / average - 1) for center in centers)


def _position_weights(days: Sequence[Day], plain: Sequence[float | None]) -> dict[int, float]:
    """The weight of days near an end of the month, if months agree that they differ."""
    ratios: defaultdict[int, list[float]] = defaultdict(list)
    for place, cost in enumerate(plain):
        around = [each for each in plain[max(0, place - 10) : place + 11] if each is not None]
        usual = median(around) if around else 0.0
        if cost is not None and usual:
            ratios[days[place].position].append(cost / usual)
    values = [value for group in ratios.values() for value in group]
    if not values:
        return {}
    center = median(values)
    spread = max(_MAD * median(abs(value - center) for value in values), 0.05)
    return {
        position: weight
        for position, group in ratios.items()
        if position and (weight := _significant(group, spread)) != 1.0
    }


def _significant(ratios: Sequence[float], spread: float) -> float:
    """The typical ratio, drawn to 1 by how likely chance explains it; 1 for a single month."""
    if len(ratios) < 2:  # noqa: PLR2004 - one month is no pattern
        return 1.0
    nearest = sorted(ratios, key=lambda ratio: abs(ratio - 1))
    typical = median(ratios) if len(ratios) > 2 else nearest[0]  # noqa: PLR2004
    score = (typical - 1) * len(ratios) ** 0.5 / spread
    return 1 + (typical - 1) * max(0.0, 1 - (_SIGNIFICANT / score) ** 2) if score else 1.0


def _without_spikes(costs: Sequence[float | None]) -> list[float | None]:
    """Costs no farther from the median of the week around them than usual."""
    clipped: list[float | None] = []
    for place, cost in enumerate(costs):
        start = max(0, min(place - 3, len(costs) - _WEEK))
        around = [each for each in costs[start : start + _WEEK] if each is not None]
        if cost is None or not around:
            clipped.append(None)
            continue
        center = median(around)
        reach = _OUTLIER * max(_MAD * median(abs(each - center) for each in around), 0.05 * center)
        clipped.append(min(max(cost, center - reach), center + reach))
    return clipped


def _trend(costs: Sequence[float | None]) -> float:
    """Growth per day that both the older and the newer weeks show; 0 if they disagree."""
    weeks: list[float] = []
    for end in range(len(costs), _WEEK - 1, -_WEEK):
        week = [cost for cost in costs[end - _WEEK : end] if cost is not None]
        if not week or len(weeks) == _TREND_WEEKS:
            break
        weeks.insert(0, fmean(week))
    if len(weeks) < _FEWEST_TREND_WEEKS or not min(weeks):
        return 0.0
    half = len(weeks) // 2
    older, newer = _slope(weeks[: len(weeks) - half]), _slope(weeks[half:])
    if older * newer <= 0:
        return 0.0
    # A step is in one half only, so it is no trend.
    slope = min(_clear_slope(weeks), 2 * older, 2 * newer, key=abs) / _WEEK
    return min(max(slope, -_STEEPEST), _STEEPEST)


def _clear_slope(values: Sequence[float]) -> float:
    """The slope, drawn to 0 by how likely chance explains it."""
    slope, center = _slope(values), median(values)
    middle = (len(values) - 1) / 2
    distances = [place - middle for place in range(len(values))]
    rest = [
        value / center - 1 - slope * distance
        for value, distance in zip(values, distances, strict=True)
    ]
    noise = sum((each - fmean(rest)) ** 2 for each in rest) / (len(values) - 2)
    error = (noise / sum(distance**2 for distance in distances)) ** 0.5
    clear = 1 - (_SIGNIFICANT_SLOPE * error / slope) ** 2 if slope else 0.0
    return slope * max(0.0, clear)


def _slope(values: Sequence[float]) -> float:
    """The median relative change per step between any two values."""
    center = median(values)
    return median(
        (later - earlier) / (places * center)
        for first, earlier in enumerate(values)
        for places, later in enumerate(values[first + 1 :], 1)
    )


def _level(costs: Sequence[float | None], weights: Sequence[float], trend: float) -> float:
    """The cost of an average day now: recent days count more, and older ones grow by the trend."""
    total = weight_sum = 0.0
    for age, (cost, weight) in enumerate(zip(reversed(costs), reversed(weights), strict=True)):
        if cost is not None:
            share = weight * 0.5 ** (age / _HALF_LIFE_DAYS)
            total += share * cost * max(0.0, 1 + trend * min(age, _PROFILE_DAYS / 2))
            weight_sum += share
    return total / weight_sum if weight_sum else 0.0
