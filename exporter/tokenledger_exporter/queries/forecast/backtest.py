"""Forecasts of past months from what was known on days of them, without a database."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.queries.forecast.estimate import MEAN30, SEASONAL, estimate
from tokenledger_exporter.queries.forecast.results import PastForecast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date, tzinfo
    from decimal import Decimal

CUTOFF_DAYS: Final = (4, 11, 21)
"""Days of a month whose start is the end of what is known."""

MOST_MONTHS: Final = 12
"""How many past months are forecast, the newest ones."""


def past_forecasts(
    costs: Mapping[datetime, Decimal],
    now: datetime,
    zone: tzinfo,
    cutoff_days: Sequence[int] = CUTOFF_DAYS,
) -> tuple[PastForecast, ...]:
    """Forecast each past month on several days of it, oldest first.

    Days with too little history for `seasonal` are left out.

    Args:
        costs: start of an hour -> its exact cost, for hours with calls.
        now: months that are over by then are past.
        zone: time zone of months, days and hours.
        cutoff_days: days of the month at whose start the forecasts are made.
    """
    if not costs:
        return ()
    months = list(_months(min(costs), now, zone))[-MOST_MONTHS:]
    return tuple(
        forecast
        for month in months
        for day in cutoff_days
        if (forecast := _past_forecast(costs, month, day, zone)) is not None
    )


def _past_forecast(
    costs: Mapping[datetime, Decimal], month: tuple[datetime, datetime], day: int, zone: tzinfo
) -> PastForecast | None:
    start, end = month
    now = start.replace(day=day)
    seasonal = estimate(costs, month, now, zone, SEASONAL)
    if seasonal.low_usd is None or seasonal.high_usd is None:
        return None
    return PastForecast(
        month=start.date(),
        as_of=now,
        days_learned=seasonal.days_learned,
        actual_usd=estimate(costs, month, end, zone).spent_usd,
        expected_usd=seasonal.expected_usd,
        low_usd=seasonal.low_usd,
        high_usd=seasonal.high_usd,
        mean30_usd=estimate(costs, month, now, zone, MEAN30).expected_usd,
    )


def _months(first: datetime, now: datetime, zone: tzinfo) -> Iterator[tuple[datetime, datetime]]:
    """Start and end of each month that is over and that has no day before the first call."""
    day = first.astimezone(zone).date()
    month = day if day.day == 1 else _month_after(day)
    while (end := _midnight(following := _month_after(month), zone)) <= now:
        yield _midnight(month, zone), end
        month = following


def _month_after(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)
