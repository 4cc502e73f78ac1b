"""Alerts on unusual spend over generated weeks: the spikes that are found, and the false alarms.

A slice has its own shape of the day, weekends, growth, noise, holidays, outages with what is made
up for afterwards, and spikes of three hours that cost three times as much.

    python -m benchmarks.alerts [WEEKS]
"""

from __future__ import annotations

import math
import random
import sys
from dataclasses import dataclass, field
from typing import Final

from tokenledger_exporter.alerts.unusual import MAX_WEEKS, WEEK_HOURS, usual_hours

WEEKS: Final = 10_000
FOUND_SHARE: Final = 0.95
FALSE_PER_MONTH: Final = 1.0
WEEKS_OF_SLICE: Final = 20
SPIKE: Final = 3.0
SPIKE_HOURS: Final = 3
DAY_HOURS: Final = 24
WEEKS_OF_MONTH: Final = 52 / 12


@dataclass
class Slice:
    """Hourly costs, and which hours are in a spike."""

    hours: list[float] = field(default_factory=list[float])
    spikes: list[list[int]] = field(default_factory=list[list[int]])


@dataclass
class Result:
    """What was found."""

    weeks: int = 0
    spikes: int = 0
    found: int = 0
    false_alarms: int = 0

    @property
    def found_share(self) -> float:
        return self.found / self.spikes

    @property
    def false_per_month(self) -> float:
        """False alarms per slice and month."""
        return self.false_alarms / self.weeks * WEEKS_OF_MONTH


def make_slice(chance: random.Random) -> Slice:
    """A slice of several months."""
    weeks = MAX_WEEKS + WEEKS_OF_SLICE
    level = 10 ** chance.uniform(0.5, 3)
    growth = chance.uniform(-0.02, 0.08)
    noise = chance.uniform(0.05, 0.25)
    night = chance.uniform(0.05, 0.8)
    weekend = chance.uniform(0.1, 1.0)
    made = Slice()
    for hour in range(weeks * WEEK_HOURS):
        of_day, day = hour % DAY_HOURS, hour // DAY_HOURS % 7
        shape = night + (1 - night) * max(0.0, math.sin((of_day - 6) / 14 * math.pi))
        cost = level * shape * (1 + growth) ** (hour / WEEK_HOURS)
        made.hours.append(cost * (weekend if day > 4 else 1) * chance.lognormvariate(0, noise))
    for day in range(weeks * 7):
        if chance.random() < 1 / 30:
            change(made, day * DAY_HOURS, DAY_HOURS, chance.uniform(0.1, 0.5))
        if chance.random() < 1 / 30:
            start = day * DAY_HOURS + chance.randrange(DAY_HOURS)
            length = chance.randrange(1, 7)
            change(made, start, length, 0.0)
            change(made, start + length, 2, 1.4)
    if chance.random() < 0.3:
        # The last week of December.
        change(made, chance.randrange(weeks) * WEEK_HOURS, WEEK_HOURS, 0.4)
    for week in range(MAX_WEEKS, weeks):
        if chance.random() < 0.3:
            start = week * WEEK_HOURS + chance.randrange(WEEK_HOURS - SPIKE_HOURS)
            if all(made.hours[start : start + SPIKE_HOURS]):
                change(made, start, SPIKE_HOURS, SPIKE)
                made.spikes.append(list(range(start, start + SPIKE_HOURS)))
    return made


def change(made: Slice, start: int, length: int, factor: float) -> None:
    for hour in range(start, min(start + length, len(made.hours))):
        made.hours[hour] *= factor


def judge(made: Slice) -> Result:
    """Judge every hour after the first weeks, as the keeper does; at most one alarm a day."""
    result = Result(weeks=len(made.hours) // WEEK_HOURS - MAX_WEEKS, spikes=len(made.spikes))
    in_spike = {hour for spike in made.spikes for hour in spike}
    unusual: set[int] = set()
    for midnight in range(MAX_WEEKS * WEEK_HOURS, len(made.hours), DAY_HOURS):
        usual = usual_hours(made.hours[midnight - MAX_WEEKS * WEEK_HOURS : midnight])
        unusual |= {
            midnight + hour
            for hour, known in enumerate(usual)
            if made.hours[midnight + hour] > known.limit
        }
    result.found = sum(1 for spike in made.spikes if unusual.intersection(spike))
    result.false_alarms = len({hour // DAY_HOURS for hour in unusual - in_spike})
    return result


def simulate(weeks: int, seed: int = 1) -> Result:
    """The sum over as many slices as have that many weeks."""
    total = Result()
    for number in range(max(1, weeks // WEEKS_OF_SLICE)):
        one = judge(make_slice(random.Random(f"{seed} {number}")))  # noqa: S311 - a simulation
        total.weeks += one.weeks
        total.spikes += one.spikes
        total.found += one.found
        total.false_alarms += one.false_alarms
    return total


def main() -> None:
    weeks = int(sys.argv[1]) if len(sys.argv) > 1 else WEEKS
    result = simulate(weeks)
    print(f"{result.weeks:,} weeks, {result.spikes:,} spikes of {SPIKE:g}x")
    print(f"found: {result.found_share:.2%} (at least {FOUND_SHARE:.0%})")
    print(f"false alarms per slice and month: {result.false_per_month:.3f} (at most 1)")
    if result.found_share < FOUND_SHARE or result.false_per_month > FALSE_PER_MONTH:
        sys.exit("the targets were missed")


if __name__ == "__main__":
    main()
