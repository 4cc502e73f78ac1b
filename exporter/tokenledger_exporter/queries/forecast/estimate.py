"""A month's cost at its end, from hourly costs: Decimal in, Decimal out, no database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from math import ceil
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.pricing.price_row import MONEY
from tokenledger_exporter.queries.forecast.days import complete_days, hours_between
from tokenledger_exporter.queries.forecast.errors import FEWEST_DAYS, interval
from tokenledger_exporter.queries.forecast.seasonal import fit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, tzinfo

    from tokenledger_exporter.queries.forecast.days import Day

SEASONAL: Final = "seasonal"
MEAN30: Final = "mean30"
METHODS: Final = {
    SEASONAL: "hour of the week x day of the month x level with trend",
    MEAN30: "average of the last 7 days x 30",
}
"""The name of each method, and how it works."""

_ZERO: Final = Decimal(0)
_CENT: Final = Decimal("0.01")
_DAY: Final = timedelta(days=1)
_MEAN_DAYS: Final = 7
_MONTH_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a month will have cost at its end, in US dollars.

    Args:
        spent_usd: the exact cost so far.
        expected_usd: the forecast, to a cent.
        low_usd: the lower end of the 80 % interval; `None` if the method has none.
        high_usd: its upper end.
        method: the method that was used: a name of `METHODS`.
        days_learned: complete days that are known; `mean30` looks at the last 7.
    """

    spent_usd: Decimal
    expected_usd: Decimal
    low_usd: Decimal | None
    high_usd: Decimal | None
    method: str
    days_learned: int


def estimate(
    costs: Mapping[datetime, Decimal],
    month: tuple[datetime, datetime],
    now: datetime,
    zone: tzinfo,
    method: str = SEASONAL,
) -> Estimate:
    """Forecast the cost of a month.

    Args:
        costs: start of an hour -> its exact cost, for hours with calls.
        month: start of the month, and of the next one.
        now: the end of what is known; costs from there on are not looked at.
        zone: time zone of hours and days.
        method: `seasonal`, or `mean30`; less than 14 complete days fall back to `mean30`.
    """
    start, end = month
    spent = _sum(costs, start, min(now, end))
    days = complete_days(costs, now, zone)
    if now >= end:
        return Estimate(spent, spent, spent, spent, method, len(days))
    if method == MEAN30 or len(days) < FEWEST_DAYS:
        expected = max(_mean30(costs, now), spent).quantize(_CENT)
        return Estimate(spent, expected, None, None, MEAN30, len(days))
    remaining = _remaining(days, now, end, zone)
    factors = interval(days, ceil((end - now) / _DAY))

    def at_end(factor: float) -> Decimal:
        return MONEY.add(spent, Decimal(repr(remaining * factor))).quantize(_CENT)

    return Estimate(
        spent_usd=spent,
        expected_usd=at_end(factors.middle),
        low_usd=at_end(factors.low),
        high_usd=at_end(factors.high),
        method=SEASONAL,
        days_learned=len(days),
    )


def _remaining(days: tuple[Day, ...], now: datetime, end: datetime, zone: tzinfo) -> float:
    """What the model expects from now to the end, hour by hour."""
    model = fit(days)
    last = days[-1].date
    total = 0.0
    for hour, share in hours_between(now, end, zone):
        day = hour.date()
        ahead = (day - last).days
        total += model.day_cost(day, ahead) * model.hours[day.weekday()][hour.hour] * share
    return total


def _mean30(costs: Mapping[datetime, Decimal], now: datetime) -> Decimal:
    """The average of the last 7 days x 30; of the days since the first call, if these are fewer."""
    if not costs:
        return _ZERO
    since = now - _MEAN_DAYS * _DAY
    known = min(max(now - min(costs), _DAY), _MEAN_DAYS * _DAY)
    days = Decimal(known // timedelta(seconds=1)) / Decimal(_DAY // timedelta(seconds=1))
    return _sum(costs, since, now) * _MONTH_DAYS / days


def _sum(costs: Mapping[datetime, Decimal], since: datetime, until: datetime) -> Decimal:
    total = _ZERO
    for start, cost in costs.items():
        if since <= start < until:
            total = MONEY.add(total, cost)
    return total
