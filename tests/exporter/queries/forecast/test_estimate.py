"""Forecasts from hourly costs, without a database: seasons, outages, spikes, clocks, short past."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import pytest

from tokenledger_exporter.queries.forecast.backtest import past_forecasts
from tokenledger_exporter.queries.forecast.days import complete_days, hours_between, position_of
from tokenledger_exporter.queries.forecast.estimate import MEAN30, SEASONAL, estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

UTC: Final = timezone.utc
HOUR: Final = timedelta(hours=1)
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
JUNE: Final = (datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC))


def hours(
    until: datetime, cost: Callable[[datetime], str | int], since: datetime = START
) -> dict[datetime, Decimal]:
    """What each hour cost; an hour of 0 has no calls."""
    count = (until - since) // HOUR
    costs = {since + n * HOUR: Decimal(cost(since + n * HOUR)) for n in range(count)}
    return {start: usd for start, usd in costs.items() if usd}


def by_weekday(moment: datetime) -> int:
    """10 dollars an hour on weekdays, 1 on weekends."""
    return 1 if moment.weekday() >= 5 else 10


def total(
    costs: Mapping[datetime, Decimal], since: datetime, until: datetime, factor: int = 1
) -> Decimal:
    return factor * sum((usd for at, usd in costs.items() if since <= at < until), Decimal(0))


def test_the_cost_so_far_is_exact_and_the_rest_is_added() -> None:
    now = datetime(2026, 6, 11, tzinfo=UTC)
    result = estimate(hours(now, lambda _: "0.000000001"), JUNE, now, UTC)
    # 10 days x 24 hours
    assert result.spent_usd == Decimal("0.000000240")
    costs = hours(now, lambda _: 2)
    result = estimate(costs, JUNE, now, UTC)
    # 240 hours x 2 so far, and 480 hours to come: 480 + 960
    assert (result.spent_usd, result.expected_usd) == (Decimal(480), Decimal(1_440))
    assert (result.low_usd, result.high_usd) == (Decimal(1_440), Decimal(1_440))
    assert (result.method, result.days_learned) == (SEASONAL, 160)


def test_weekends_of_the_rest_of_the_month_are_forecast_as_weekends() -> None:
    now = datetime(2026, 6, 20, tzinfo=UTC)
    result = estimate(hours(now, by_weekday), JUNE, now, UTC)
    # 15 weekdays and 4 days of weekends
    assert result.spent_usd == 15 * 240 + 4 * 24
    # 4 x 24 and 7 x 240 to come
    assert result.expected_usd == pytest.approx(result.spent_usd + 4 * 24 + 7 * 240, abs=1)


def test_the_hours_that_remain_of_a_day_are_those_of_its_profile() -> None:
    def office(moment: datetime) -> int:
        return 9 if 8 <= moment.hour < 18 else 0

    evening = datetime(2026, 6, 30, 18, tzinfo=UTC)
    result = estimate(hours(evening, office), JUNE, evening, UTC)
    assert result.expected_usd == result.spent_usd
    morning = datetime(2026, 6, 30, 13, tzinfo=UTC)
    result = estimate(hours(morning, office), JUNE, morning, UTC)
    # From 13 to 18: 5 x 9
    assert result.expected_usd == pytest.approx(result.spent_usd + 45, abs=Decimal("0.1"))


def test_peaks_at_the_end_of_each_month_are_expected_again() -> None:
    def month_end(moment: datetime) -> int:
        return 6 if position_of(moment.date()) in {-1, -2, -3} else 2

    now = datetime(2026, 6, 16, tzinfo=UTC)
    result = estimate(hours(now, month_end), JUNE, now, UTC)
    # 27 days x 48 and 3 days x 144
    assert result.expected_usd == pytest.approx(27 * 48 + 3 * 144, rel=Decimal("0.03"))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({12: 0, 13: 0}, id="outage"),
        pytest.param({14: 60}, id="spike"),
        pytest.param({15: 0}, id="holiday"),
    ],
)
def test_an_unusual_day_does_not_move_the_forecast(change: dict[int, int]) -> None:
    def cost(moment: datetime) -> int:
        return change.get(moment.day, 2) if moment.month == JUNE[0].month else 2

    now = datetime(2026, 6, 16, tzinfo=UTC)
    result = estimate(hours(now, cost), JUNE, now, UTC)
    # 15 days at 48
    assert result.expected_usd - result.spent_usd == pytest.approx(15 * 48, rel=Decimal("0.05"))


def test_growth_is_followed() -> None:
    def growing(moment: datetime) -> str:
        return f"{1.01 ** ((moment - START) / timedelta(days=1)):.6f}"

    now = datetime(2026, 6, 6, tzinfo=UTC)
    actual = total(hours(JUNE[1], growing), *JUNE)
    result = estimate(hours(now, growing), JUNE, now, UTC)
    mean30 = estimate(hours(now, growing), JUNE, now, UTC, MEAN30)
    assert result.expected_usd == pytest.approx(actual, rel=Decimal("0.05"))
    assert abs(mean30.expected_usd - actual) > 3 * abs(result.expected_usd - actual)


def test_traffic_that_ended_is_not_an_outage() -> None:
    now = datetime(2026, 6, 16, tzinfo=UTC)
    costs = hours(now, lambda at: 2 if (at.month, at.day) < (5, 1) else 0)
    result = estimate(costs, JUNE, now, UTC)
    assert result.spent_usd == 0
    # A month was 1,440.
    assert result.expected_usd < 72


def test_mean30_is_the_week_before_and_never_less_than_what_is_spent() -> None:
    now = datetime(2026, 6, 29, tzinfo=UTC)
    result = estimate(hours(now, lambda _: 2), JUNE, now, UTC, MEAN30)
    # 7 x 48 / 7 x 30
    assert (result.expected_usd, result.method) == (Decimal(1_440), MEAN30)
    assert (result.low_usd, result.high_usd) == (None, None)
    slowed = estimate(hours(now, lambda at: 2 if at.day < 20 else 1), JUNE, now, UTC, MEAN30)
    # 19 x 48 + 9 x 24 = 1,128 is more than 24 x 30
    assert slowed.expected_usd == slowed.spent_usd == 1_128


@pytest.mark.parametrize(("days", "method"), [(3, MEAN30), (14, MEAN30), (15, SEASONAL)])
def test_a_short_past_falls_back_to_mean30(days: int, method: str) -> None:
    # The day of the first call is not complete.
    now = datetime(2026, 6, 20, tzinfo=UTC)
    costs = hours(now, lambda _: 2, now - timedelta(days=days))
    result = estimate(costs, JUNE, now, UTC)
    assert (result.method, result.days_learned) == (method, days - 1)
    # A day costs 48; three days are not a week with four days of nothing.
    expected = 48 * 30 if method == MEAN30 else 48 * (days + 11)
    assert result.expected_usd == pytest.approx(expected, abs=1)


def test_a_short_past_has_a_wider_interval() -> None:
    def noisy(moment: datetime) -> int:
        return 2 + (moment.toordinal() * 7_919) % 5

    now = datetime(2026, 6, 10, tzinfo=UTC)

    def width(days: int) -> Decimal:
        result = estimate(hours(now, noisy, now - timedelta(days=days)), JUNE, now, UTC)
        assert result.low_usd is not None
        assert result.high_usd is not None
        assert result.spent_usd <= result.low_usd < result.expected_usd < result.high_usd
        return result.high_usd - result.low_usd

    assert width(18) > 2 * width(150)


def test_a_month_that_is_over_has_its_exact_cost() -> None:
    result = estimate(hours(JUNE[1], lambda _: "0.1"), JUNE, JUNE[1], UTC)
    # 30 x 24 x 0.1
    assert result.spent_usd == result.expected_usd == result.low_usd == Decimal("72.0")


def test_february_has_28_days() -> None:
    month = (datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
    now = datetime(2026, 2, 15, tzinfo=UTC)
    result = estimate(hours(now, lambda _: 2, datetime(2025, 11, 1, tzinfo=UTC)), month, now, UTC)
    assert result.expected_usd == 28 * 48
    assert [position_of(datetime(2026, 2, day, tzinfo=UTC).date()) for day in (1, 15, 28)] == [
        1,
        0,
        -1,
    ]


@pytest.mark.parametrize(
    ("month", "hour_count"), [(3, 31 * 24 - 1), (10, 31 * 24 + 1)], ids=["23 hours", "25 hours"]
)
def test_a_month_with_a_clock_change_has_an_hour_less_or_more(month: int, hour_count: int) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    start = datetime(2026, month, 1, tzinfo=berlin)
    end = datetime(2026, month + 1, 1, tzinfo=berlin)
    assert sum(share for _, share in hours_between(start, end, berlin)) == hour_count
    now = datetime(2026, month, 20, tzinfo=berlin)
    costs = hours(now.astimezone(UTC), lambda _: 2, START - timedelta(days=60))
    result = estimate(costs, (start, end), now, berlin)
    assert result.expected_usd == pytest.approx(2 * hour_count, abs=3)


def test_an_outage_of_some_hours_is_filled_up_and_one_of_a_day_is_left_out() -> None:
    def down(moment: datetime) -> int:
        day = (moment.month, moment.day)
        return 0 if day == (1, 28) or (day == (1, 27) and moment.hour < 6) else 2

    until = datetime(2026, 3, 1, tzinfo=UTC)
    days = complete_days(hours(until, down), until, UTC)
    by_day = {day.date.day: day for day in days if day.date.month == 1}
    assert by_day[26].cost == 48
    assert by_day[27].cost == pytest.approx(48, abs=2)
    assert (by_day[28].cost, by_day[28].total) == (None, 0)


def test_a_back_test_knows_nothing_of_the_future() -> None:
    costs = hours(datetime(2026, 5, 1, tzinfo=UTC), by_weekday)
    past = past_forecasts(costs, JUNE[0], UTC, (20,))
    assert [(each.month.month, each.days_learned) for each in past] == [
        (1, 18),
        (2, 49),
        (3, 77),
        (4, 108),
        (5, 138),
    ]
    later = {at: usd * 9 if at.month == 4 and at.day > 19 else usd for at, usd in costs.items()}
    [april] = [each for each in past_forecasts(later, JUNE[0], UTC, (20,)) if each.month.month == 4]
    assert april.expected_usd == past[3].expected_usd
    assert april.actual_usd > past[3].actual_usd
    assert not april.is_inside
    # Nothing was spent in May.
    assert past[4].error is None
