"""What an hour usually costs, from the same hour of past weeks; arithmetic only.

The center is a median over weeks, so that a holiday or an outage in one of them does not move it.
Past weeks are raised by the ratio of the last week's days to theirs, so that growth is not
unusual. The spread is that of the hours around it. Floats are enough: these are estimates, and what
a message says was spent comes from the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

WEEK_HOURS: Final = 168
"""Hours of a week."""

MIN_WEEKS: Final = 2
"""With fewer past weeks, nothing is unusual."""

MAX_WEEKS: Final = 6
"""How many past weeks are looked at."""

_DAY_HOURS: Final = 24
_LEAST_RISE: Final = 0.75
_SPREADS: Final = 5.0
# From the median absolute deviation to a standard deviation, and from a few weeks to all.
_MAD_TO_SPREAD: Final = 1.4826
_FEW_WEEKS: Final = 1.15
_MAX_LEVEL: Final = 4.0
_MAX_GROWTH: Final = 1.3
# An hour that usually costs less than this share of the average hour is compared with the most
# expensive hours instead: a job that runs now and then is not unusual.
_QUIET_SHARE: Final = 0.05
_HIGH_SHARE: Final = 0.996


@dataclass(frozen=True, slots=True)
class Usual:
    """What an hour usually costs, in US dollars.

    Args:
        expected: the median of the past weeks.
        limit: an hour that costs more is unusual.
    """

    expected: float
    limit: float


def usual_hours(hours: Sequence[float]) -> list[Usual]:
    """What each hour of the next day usually costs.

    Args:
        hours: cost per hour up to the start of that day, oldest first, in US dollars; only whole
            weeks are used, and at most `MAX_WEEKS`. Hours before the first call do not count.

    Returns:
        24 hours; empty if there are fewer than `MIN_WEEKS` weeks.
    """
    weeks = _weeks(hours)
    if len(weeks) < MIN_WEEKS:
        return []
    levels = [_level(weeks[0], week) for week in weeks]
    growth = min(max(levels[-1] ** (1 / (len(weeks) - 1)), 1.0), _MAX_GROWTH)
    raised = [[cost * level for cost in week] for week, level in zip(weeks, levels, strict=True)]
    centers = [median(costs) for costs in zip(*raised, strict=True)]
    # After a week of holidays its level is too low, and the plain median is right.
    plain = [median(costs) for costs in zip(*weeks, strict=True)]
    quiet = _QUIET_SHARE * sum(plain) / WEEK_HOURS
    high = sorted(cost for week in weeks for cost in week)[
        int(_HIGH_SHARE * (WEEK_HOURS * len(weeks) - 1))
    ]
    usual: list[Usual] = []
    for hour in range(_DAY_HOURS):
        expected = max(centers[hour], plain[hour]) * growth
        spread = _spread(raised, centers, hour)
        limit = expected * (1 + max(_LEAST_RISE, _SPREADS * spread))
        if expected <= quiet:
            limit = max(limit, high * (1 + _LEAST_RISE))
        usual.append(Usual(expected, limit))
    return usual


def _weeks(hours: Sequence[float]) -> list[Sequence[float]]:
    """The past weeks, newest first; weeks before the first call are left out."""
    first = next((number for number, cost in enumerate(hours) if cost > 0), len(hours))
    count = min((len(hours) - first) // WEEK_HOURS, MAX_WEEKS)
    end = len(hours)
    return [hours[end - WEEK_HOURS * (k + 1) : end - WEEK_HOURS * k] for k in range(count)]


def _level(last: Sequence[float], week: Sequence[float]) -> float:
    """How much more the days of the last week cost than those of a past week."""
    ratios = [
        new / old for new, old in zip(_days(last), _days(week), strict=True) if new > 0 and old > 0
    ]
    return min(max(median(ratios), 1 / _MAX_LEVEL), _MAX_LEVEL) if ratios else 1.0


def _days(week: Sequence[float]) -> list[float]:
    return [sum(week[start : start + _DAY_HOURS]) for start in range(0, WEEK_HOURS, _DAY_HOURS)]


def _spread(weeks: Sequence[Sequence[float]], centers: Sequence[float], hour: int) -> float:
    """By which share the hours around this hour of the day differ from their center."""
    around = [
        (hour + shift) % _DAY_HOURS + day * _DAY_HOURS for day in range(7) for shift in (-1, 0, 1)
    ]
    differences = [
        abs(week[number] / centers[number] - 1)
        for number in around
        if centers[number] > 0
        for week in weeks
    ]
    return median(differences) * _MAD_TO_SPREAD * _FEW_WEEKS if differences else 0.0
