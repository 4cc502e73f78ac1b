"""How well the forecast of a month's end does on generated traffic: `make bench-forecast`.

Ten kinds of traffic with fixed seeds, and the sample ledger. On several days of each of eleven
months, the month is forecast from what was known then, by the seasonal model and by the mean x 30,
and compared with what it cost. The first months have little history. Floats make the traffic; costs
are Decimal when the forecast reads them.
"""

from __future__ import annotations

import calendar
import random
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from itertools import chain
from math import exp
from multiprocessing import Pool
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.demo.sample_ledger import fill_sample_ledger
from tokenledger_exporter.embedded.postgres import temporary_postgres
from tokenledger_exporter.maintenance.install import migrate
from tokenledger_exporter.queries import TokenLedgerQueries
from tokenledger_exporter.queries.forecast.backtest import past_forecasts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date

    from tokenledger_exporter.queries import PastForecast

    Rate = Callable[[datetime], float]

_START: Final = datetime(2025, 1, 1, tzinfo=timezone.utc)
_HOUR: Final = timedelta(hours=1)
_DAYS: Final = 334
CUTOFF_DAYS: Final = (3, 8, 15, 22, 27)
"""Days of a month at whose start forecasts are made."""

# Constants of the model were chosen with seeds from 0 on, and with the first six of these.
_FIRST_SEED: Final = 1_000
_SAMPLE_DAYS: Final = 240

_USD_PER_HOUR: Final = 2.0
_DAILY_NOISE: Final = 0.15
_HOURLY_NOISE: Final = 0.3
_WEEKDAYS: Final = (1.1, 1.2, 1.2, 1.15, 1.0, 0.6, 0.5)
_OFFICE: Final = range(8, 19)


def _flat(_rng: random.Random) -> Rate:
    return lambda _moment: 1.0


def _weekly(_rng: random.Random) -> Rate:
    return lambda moment: _WEEKDAYS[moment.weekday()]


def _business_hours(_rng: random.Random) -> Rate:
    def rate(moment: datetime) -> float:
        if moment.weekday() >= calendar.SATURDAY:
            return 0.0
        return 2.0 if moment.hour in _OFFICE else 0.05

    return rate


def _growth(rng: random.Random) -> Rate:
    per_day = rng.uniform(0.004, 0.012)
    return lambda moment: exp(per_day * (moment - _START).days) * _WEEKDAYS[moment.weekday()]


def _launch(rng: random.Random) -> Rate:
    launch = _START + timedelta(days=rng.uniform(70, 300))
    factor = rng.uniform(2.0, 4.0)
    return lambda moment: _WEEKDAYS[moment.weekday()] * (factor if moment >= launch else 1.0)


def _holidays(rng: random.Random) -> Rate:
    free = {_START.date() + timedelta(days=rng.randrange(_DAYS)) for _ in range(14)}
    first = _START.date() + timedelta(days=rng.randrange(80, 300))
    free |= {first + timedelta(days=day) for day in range(5)}

    def rate(moment: datetime) -> float:
        weekday = _WEEKDAYS[moment.weekday()]
        return min(weekday, 0.3) if moment.date() in free else weekday

    return rate


def _outages(rng: random.Random) -> Rate:
    down: list[tuple[datetime, datetime]] = []
    for _ in range(12):
        start = _START + timedelta(days=rng.uniform(0, _DAYS))
        down.append((start, start + timedelta(hours=rng.choice((3, 6, 12, 30, 48)))))

    def rate(moment: datetime) -> float:
        is_down = any(start <= moment < end for start, end in down)
        return 0.0 if is_down else _WEEKDAYS[moment.weekday()]

    return rate


def _month_end(rng: random.Random) -> Rate:
    peak = rng.uniform(2.0, 4.0)

    def rate(moment: datetime) -> float:
        last = calendar.monthrange(moment.year, moment.month)[1]
        return _WEEKDAYS[moment.weekday()] * (peak if moment.day > last - 3 else 1.0)

    return rate


def _bursts(rng: random.Random) -> Rate:
    bursts = {
        _START.date() + timedelta(days=day): rng.uniform(3, 10)
        for day in range(_DAYS)
        if rng.random() < 1 / 25
    }
    return lambda moment: _WEEKDAYS[moment.weekday()] * bursts.get(moment.date(), 1.0)


def _agents(rng: random.Random) -> Rate:
    """Runs of agents: few, and each costs as much as a heavy tail says."""

    def rate(moment: datetime) -> float:
        runs = sum(rng.random() < 0.25 * _WEEKDAYS[moment.weekday()] for _ in range(4))
        return sum(min(rng.paretovariate(1.5), 200.0) for _ in range(runs)) / 3

    return rate


TRAFFIC: Final[dict[str, Callable[[random.Random], Rate]]] = {
    "flat": _flat,
    "weekly cycle": _weekly,
    "business hours": _business_hours,
    "growth": _growth,
    "launch step": _launch,
    "holidays": _holidays,
    "outages": _outages,
    "month-end peaks": _month_end,
    "bursts": _bursts,
    "agent runs": _agents,
}
"""Name of a kind of traffic -> what an hour costs, as a multiple of a usual hour."""


def hourly_costs(name: str, seed: int) -> dict[datetime, Decimal]:
    """The hours of eleven months of one kind of traffic; hours without calls are not there."""
    rng = random.Random(f"{name} {seed}")  # noqa: S311 - a simulation
    rate = TRAFFIC[name](rng)
    costs: dict[datetime, Decimal] = {}
    noise: dict[date, float] = {}
    for number in range(_DAYS * 24):
        moment = _START + number * _HOUR
        day = noise.setdefault(moment.date(), rng.gauss(0, _DAILY_NOISE))
        cost = rate(moment) * _USD_PER_HOUR * exp(day + rng.gauss(0, _HOURLY_NOISE))
        if cost:
            costs[moment] = Decimal(f"{cost:.9f}")
    return costs


@dataclass(frozen=True, slots=True)
class Score:
    """How good forecasts were: sums of absolute errors as shares of the months' costs."""

    forecasts: int
    seasonal: float
    mean30: float
    inside: int

    @property
    def line(self) -> str:
        """Average errors and the share of months inside the interval, as text."""
        n = self.forecasts
        return f"{n:>9,} {self.seasonal / n:>9.1%} {self.mean30 / n:>9.1%} {self.inside / n:>11.1%}"


def score(past: Iterable[PastForecast]) -> Score:
    """Add up the errors of forecasts."""
    months = [each for each in past if each.actual_usd]
    return Score(
        forecasts=len(months),
        seasonal=float(sum(abs(each.error or Decimal(0)) for each in months)),
        mean30=float(sum(abs(each.mean30_error or Decimal(0)) for each in months)),
        inside=sum(each.is_inside for each in months),
    )


def forecasts_of(
    name: str, seed: int, cutoff_days: Sequence[int] = CUTOFF_DAYS
) -> tuple[PastForecast, ...]:
    """Forecast each month of one ledger on each of the days."""
    end = _START + timedelta(days=_DAYS)
    return past_forecasts(hourly_costs(name, seed), end, timezone.utc, cutoff_days)


def sample_forecasts(days: int) -> tuple[PastForecast, ...]:
    """Forecast the months of the sample ledger, read from a Postgres of its own."""
    with temporary_postgres() as database_url:
        migrate(database_url)
        fill_sample_ledger(database_url, days=days)
        return TokenLedgerQueries(database_url).backtest_forecast().forecasts


def main(seeds: int) -> None:
    """Score every kind of traffic with so many seeds, and the sample; print a line for each."""
    print(f"{'traffic':<16} {'forecasts':>9} {'seasonal':>9} {'mean x 30':>9} {'inside 80 %':>11}")
    with Pool() as pool:
        for name in TRAFFIC:
            runs = [(name, _FIRST_SEED + number) for number in range(seeds)]
            past = chain.from_iterable(pool.starmap(forecasts_of, runs))
            print(f"{name:<16} {score(past).line}", flush=True)
    print(f"{'sample ledger':<16} {score(sample_forecasts(_SAMPLE_DAYS)).line}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
