"""The local days of a ledger, from its hourly costs; hours of an outage are taken out.

Costs become floats here, for the statistical model alone.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime, tzinfo
    from decimal import Decimal

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_NEAR_AN_END: Final = 10
# An hour of the week that had calls in this share of the weeks is expected to have some.
_USUALLY: Final = 0.8
_WEEKS_TO_KNOW: Final = 3
# A day that lost more than this share of its usual cost says nothing.
_MOST_MISSING: Final = 0.6
# After this many days without calls, traffic has ended: it is not an outage.
_LONGEST_OUTAGE: Final = 3


@dataclass(frozen=True, slots=True)
class Day:
    """One local day.

    Args:
        date: the day.
        position: where it is in its month, see `position_of`.
        hours: cost of each hour that its clock shows, 0 to 23.
        cost: cost of the day; `None` if an outage took most of it. An outage of a few hours is
            filled up by the usual share of these hours.
    """

    date: date
    position: int
    hours: tuple[float, ...]
    cost: float | None

    @property
    def total(self) -> float:
        """What the day really cost, outages included."""
        return sum(self.hours)


def position_of(day: date) -> int:
    """Where a day is in its month: 1 to 10 from the start, -1 to -10 from the end, else 0."""
    if day.day <= _NEAR_AN_END:
        return day.day
    following = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    from_end = (following - day).days
    return -from_end if from_end <= _NEAR_AN_END else 0


def complete_days(
    costs: Mapping[datetime, Decimal], until: datetime, zone: tzinfo
) -> tuple[Day, ...]:
    """Every day after that of the first call and before that of `until`.

    Args:
        costs: start of an hour -> its cost, for hours with calls.
        until: end of what is known.
        zone: whose days.
    """
    hours: defaultdict[date, list[float]] = defaultdict(lambda: [0.0] * 24)
    for start, cost in costs.items():
        if start < until:
            local = start.astimezone(zone)
            hours[local.date()][local.hour] += float(cost)
    if not hours:
        return ()
    day, last = min(hours) + _DAY, until.astimezone(zone).date()
    days: list[Day] = []
    while day < last:
        known = tuple(hours.get(day, ())) or (0.0,) * 24
        days.append(Day(day, position_of(day), known, sum(known)))
        day += _DAY
    return _without_outages(days)


def hours_between(since: datetime, until: datetime, zone: tzinfo) -> list[tuple[datetime, float]]:
    """The local hours of a period, and how much of each is in it, 0 to 1.

    An hour that the clock shows twice is there twice, and one that it skips is not there.
    """
    hours: list[tuple[datetime, float]] = []
    moment, end = since.astimezone(timezone.utc), until.astimezone(timezone.utc)
    while moment < end:
        local = moment.astimezone(zone)
        into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        following = min(moment - into + _HOUR, end)
        hours.append((local, (following - moment) / _HOUR))
        moment = following
    return hours


def hour_shares(days: Sequence[Day]) -> list[list[float]]:
    """Weekday -> hour -> its share of the day's cost; they add up to 1.

    Each day counts the same, so that one expensive run does not move the profile.
    """
    sums = [[0.0] * 24 for _ in range(7)]
    overall = [1e-9] * 24
    for day in days:
        total = day.total
        for hour, cost in enumerate(day.hours if total else ()):
            sums[day.date.weekday()][hour] += cost / total
            overall[hour] += cost / total
    whole = sum(overall)
    # Two further days of the common shape steady a weekday that was seen a few times.
    shaped = [[cost + 2 * overall[hour] / whole for hour, cost in enumerate(s)] for s in sums]
    return [[cost / sum(shape) for cost in shape] for shape in shaped]


def _without_outages(days: Sequence[Day]) -> tuple[Day, ...]:
    usual = _usual_hours(days)
    shares = hour_shares(days)
    missing = [
        sum(
            shares[day.date.weekday()][hour]
            for hour in usual[day.date.weekday()]
            if not day.hours[hour]
        )
        for day in days
    ]
    runs = _run_lengths([share > _MOST_MISSING for share in missing])
    return tuple(
        day if run > _LONGEST_OUTAGE else _filled(day, share)
        for day, share, run in zip(days, missing, runs, strict=True)
    )


def _usual_hours(days: Sequence[Day]) -> list[list[int]]:
    """Weekday -> its hours that nearly always have calls."""
    counts = [[0] * 24 for _ in range(7)]
    weeks = [0] * 7
    for day in days:
        weeks[day.date.weekday()] += 1
        for hour, cost in enumerate(day.hours):
            counts[day.date.weekday()][hour] += cost > 0
    return [
        [h for h in range(24) if seen >= _WEEKS_TO_KNOW and count[h] >= _USUALLY * seen]
        for count, seen in zip(counts, weeks, strict=True)
    ]


def _run_lengths(flags: Sequence[bool]) -> list[int]:
    """For each place, how many places with the same flag are around it, itself included."""
    lengths: list[int] = []
    start = 0
    for place, flag in enumerate(flags):
        if place + 1 == len(flags) or flags[place + 1] != flag:
            run = place + 1 - start
            lengths += [run if flag else 0] * run
            start = place + 1
    return lengths


def _filled(day: Day, missing: float) -> Day:
    """The day with the usual cost of its missing share."""
    return replace(day, cost=None if missing > _MOST_MISSING else day.total / (1 - missing))
