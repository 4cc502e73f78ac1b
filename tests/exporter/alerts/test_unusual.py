"""What is unusual: the arithmetic, a short simulation, and an hour of a real ledger."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg

from benchmarks.alerts import simulate
from exporter.alerts.conftest import NOON, later
from tokenledger_exporter.alerts.alerts import alert_history, set_alert
from tokenledger_exporter.alerts.unusual import WEEK_HOURS, usual_hours

if TYPE_CHECKING:
    from exporter.alerts.conftest import Watched


def weeks(*levels: float) -> list[float]:
    """Weeks, oldest first, whose days have a night and a noon."""
    shape = [1 + math.sin(hour / 24 * math.pi) for hour in range(24)] * 7
    return [level * cost for level in levels for cost in shape]


def test_a_steady_hour_is_expected_as_it_was() -> None:
    usual = usual_hours(weeks(10, 10, 10, 10))
    assert len(usual) == 24
    assert math.isclose(usual[0].expected, 10)
    assert math.isclose(usual[12].expected, 20)
    # 75 percent more is the smallest rise that is unusual.
    assert math.isclose(usual[12].limit, 35)


def test_growth_is_not_unusual() -> None:
    grown = usual_hours(weeks(10, 12, 14.4, 17.28))
    # A fifth more each week: the next is 20.736.
    assert math.isclose(grown[0].expected, 20.736)


def test_a_holiday_in_one_week_moves_nothing() -> None:
    hours = weeks(10, 10, 10, 10)
    for hour in range(2 * WEEK_HOURS, 2 * WEEK_HOURS + 48):
        hours[hour] = 0.5
    assert math.isclose(usual_hours(hours)[0].expected, 10)


def test_after_a_week_of_holidays_the_usual_level_is_not_unusual() -> None:
    usual = usual_hours(weeks(10, 10, 10, 3))
    assert usual[0].limit > 10


def test_a_job_that_runs_now_and_then_is_not_unusual() -> None:
    hours = [1.0 if hour % 24 == 12 else 0.0 for hour in range(4 * WEEK_HOURS)]
    hours[30] = hours[200] = hours[350] = hours[371] = hours[500] = hours[522] = hours[601] = 50.0
    assert usual_hours(hours)[3].limit > 50


def test_two_weeks_are_needed() -> None:
    assert usual_hours(weeks(10)) == []
    # Hours before the first call do not count.
    assert usual_hours([0.0] * WEEK_HOURS + weeks(10)) == []
    assert len(usual_hours(weeks(10, 10))) == 24


def test_a_short_simulation_finds_spikes_and_gives_few_false_alarms() -> None:
    result = simulate(200)
    assert result.spikes > 40
    assert result.found_share >= 0.9
    assert result.false_per_month <= 1


def past(watched: Watched) -> None:
    """Three weeks of hours that cost 10: 6 by chat and 4 by search."""
    statement = (
        "INSERT INTO token_ledger_events (provider, model, cost_status, cost_usd, feature, "
        "timestamp)"
        " SELECT 'openai', 'gpt-4o', 'priced', usd, feature, %s - hours * interval '1 hour'"
        " FROM generate_series(1, 550) AS numbers (hours),"
        " (VALUES ('chat', 6), ('search', 4)) AS features (feature, usd)"
    )
    with psycopg.connect(watched.url) as connection:
        connection.execute(statement.encode(), (NOON,))


def test_an_unusual_hour_fires_once_names_its_cause_and_is_over(watched: Watched) -> None:
    past(watched)
    set_alert(watched.url, "odd", on="unusual", to=[watched.webhook])
    watched.spend("10")
    assert watched.check().fired == 0
    watched.spend("20", feature="search")
    # 30 in the hour so far, against 10.
    assert watched.check().fired == 1
    watched.spend("30", later(1), feature="search")
    assert watched.check(later(1)).fired == 0, "the next hour is the same incident"
    watched.send()
    [message] = watched.target.requests
    body = message.json()
    assert body["title"] == "Unusual spend: $30.00 in an hour"
    assert "usual at this hour of the week: $10.00" in body["text"]
    # Search costs 20 instead of 4, calls without a feature 10 instead of 0, and chat nothing
    # instead of 6: 16 of 20.
    assert body["facts"]["explained_by"] == {
        "dimension": "feature",
        "value": "search",
        "rise_usd": "16.00",
        "share_percent": "80",
    }
    watched.spend("10", later(2))
    watched.spend("10", later(3))
    assert watched.check(later(3)).over == 1


def test_an_unusual_feature_fires_where_the_whole_does_not(watched: Watched) -> None:
    past(watched)
    set_alert(watched.url, "odd", on="unusual", by="feature", to=[watched.webhook])
    set_alert(watched.url, "all", on="unusual", to=[watched.webhook])
    # 6 + 10 is not unusual against 10, and 10 is against 4.
    watched.spend("6", feature="chat")
    watched.spend("10", feature="search")
    assert watched.check().fired == 1
    assert [(each.alert, each.value) for each in alert_history(watched.url)] == [("odd", "search")]


def test_small_amounts_are_not_reported(watched: Watched) -> None:
    past(watched)
    set_alert(watched.url, "odd", on="unusual", above="50", to=[watched.webhook])
    watched.spend("40")
    assert watched.check().fired == 0
    watched.spend("11", NOON - timedelta(minutes=5))
    assert watched.check().fired == 1
