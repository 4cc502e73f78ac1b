"""An alert fires once per period and threshold, and says when it is over."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from exporter.alerts.conftest import NOON, later
from support.ledger_rows import ask
from tokenledger_exporter.alerts.alerts import (
    alert_history,
    delete_alert,
    pause_alert,
    set_alert,
    show_alert,
)
from tokenledger_exporter.alerts.check import check_alerts
from tokenledger_exporter.budgets.budgets import delete_budget, set_budget

if TYPE_CHECKING:
    from exporter.alerts.conftest import Watched
    from tokenledger_exporter.alerts.check import Checked

NOW = datetime.now(timezone.utc)


def set_spend(watched: Watched, **more: str) -> None:
    options = {"on": "spend", "above": "100", "per": "day", **more}
    set_alert(watched.url, "ml", to=[watched.webhook], where={"team": "ml"}, **options)


def test_spend_above_a_threshold_fires_once_and_is_over_in_the_next_period(
    watched: Watched,
) -> None:
    set_spend(watched)
    watched.spend("40", team="ml", calls=2)
    watched.spend("500", team="other")
    assert watched.check().fired == 0
    watched.spend("20.01", team="ml")
    # 2 x 40 + 20.01 = 100.01
    assert watched.check().fired == 1
    assert [watched.check(later(1)).fired, watched.check(later(2)).fired] == [0, 0]
    assert watched.send().delivered == 1
    assert watched.titles() == ["Spend (team=ml) is above $100 per day"]
    assert "$100.01 in 3 calls" in watched.target.requests[0].json()["text"]
    next_day = later(12)
    assert watched.check(next_day).over == 1
    assert watched.send().delivered == 1
    over = watched.target.requests[1].json()
    assert over["event"] == "over"
    assert over["over_reason"] == "period"
    assert over["incident_id"] == watched.target.requests[0].json()["incident_id"]
    assert watched.check(later(13)).over == 0


def test_exactly_the_threshold_is_not_above_it(watched: Watched) -> None:
    set_spend(watched)
    watched.spend("100", team="ml")
    assert watched.check().fired == 0


def test_spend_of_the_last_seconds_of_a_period_fires_after_its_end(watched: Watched) -> None:
    set_spend(watched)
    midnight = NOON.replace(hour=0, minute=0) + timedelta(days=1)
    assert watched.check(midnight - timedelta(seconds=20)).fired == 0
    watched.spend("101", midnight - timedelta(seconds=5), team="ml")
    assert watched.check(midnight + timedelta(seconds=30)).fired == 1
    checked = watched.check(midnight + timedelta(minutes=6))
    assert (checked.fired, checked.over) == (0, 1)


def test_the_next_period_fires_again(watched: Watched) -> None:
    set_spend(watched, per="hour")
    watched.spend("101", team="ml")
    watched.spend("101", later(1), team="ml")
    assert watched.check().fired == 1
    checked = watched.check(later(1))
    assert (checked.fired, checked.over) == (1, 1)


def test_each_value_of_a_dimension_fires_by_itself(watched: Watched) -> None:
    set_spend(watched, by="user")
    watched.spend("101", team="ml", user_id="ada")
    watched.spend("99", team="ml", user_id="bob")
    assert watched.check().fired == 1
    watched.spend("2", team="ml", user_id="bob")
    assert watched.check().fired == 1
    assert {each.value for each in alert_history(watched.url)} == {"ada", "bob"}


def test_a_period_starts_at_local_midnight(watched: Watched) -> None:
    # Midnight in Tokyo is 15:00 UTC, 21.5 hours before.
    set_spend(watched, timezone="Asia/Tokyo")
    watched.spend("101", later(-22), team="ml")
    assert watched.check().fired == 0
    watched.spend("101", later(-21), team="ml")
    assert watched.check().fired == 1


def test_the_warnings_of_a_budget_fire_one_by_one(watched: Watched) -> None:
    watched.spend("81", NOW, team="ml")
    set_budget(watched.url, "ml", limit=100, where={"team": "ml"}, warn="50,80,100")
    set_alert(watched.url, "budgets", on="budget", budget="ml", to=[watched.webhook])
    assert watched.check(NOW).fired == 2
    assert watched.check(NOW).fired == 0
    watched.send()
    assert sorted(watched.titles()) == ["Budget ml has used 50%", "Budget ml has used 80%"]
    assert (
        "$81.00 of $100 is used (81%); $19.00 is left."
        in (watched.target.requests[0].json()["text"])
    )
    # 81 of 200 is 40.5 percent.
    set_budget(watched.url, "ml", limit=200)
    checked = watched.check(NOW)
    assert (checked.fired, checked.over) == (0, 2)
    watched.send()
    assert watched.target.requests[-1].json()["over_reason"] == "below"


def test_a_budget_per_user_names_the_user(watched: Watched) -> None:
    watched.spend("6", NOW, user_id="ada")
    watched.spend("4", NOW, user_id="bob")
    set_budget(watched.url, "users", limit=5, each="user")
    set_alert(watched.url, "users", on="budget", budget="users", to=[watched.webhook])
    assert watched.check(NOW).fired == 1
    watched.send()
    assert watched.titles() == ["Budget users of user ada has used 100%"]


def test_a_deleted_budget_is_said_and_stops_no_other_alert(watched: Watched) -> None:
    set_budget(watched.url, "gone", limit=5)
    set_alert(watched.url, "a", on="budget", budget="gone", to=[watched.webhook])
    set_spend(watched)
    watched.spend("101", team="ml")
    delete_budget(watched.url, "gone")
    checked = watched.check()
    assert checked.fired == 1
    assert "budget 'gone' does not exist" in checked.troubles[0]
    assert "budget 'gone' does not exist" in show_alert(watched.url, "a").last_error


@pytest.mark.parametrize(("failed", "fires"), [(2, False), (3, True)])
def test_a_share_of_errors_fires_above_its_percentage(
    watched: Watched, failed: int, *, fires: bool
) -> None:
    # 2 of 40 are 5 percent, 3 of 40 are 7.5 percent.
    set_alert(watched.url, "errors", on="errors", above="5%", to=[watched.webhook])
    watched.spend("1", calls=40, failed=failed)
    assert watched.check().fired == fires
    if fires:
        watched.send()
        assert watched.titles() == ["7.5% failed calls, above 5%"]
        watched.spend("1", calls=60)
        assert watched.check().over == 1


def test_few_calls_have_no_share(watched: Watched) -> None:
    set_alert(watched.url, "errors", on="errors", above="5%", to=[watched.webhook])
    watched.spend("1", calls=19, failed=19)
    assert watched.check().fired == 0


def test_calls_without_a_price_fire(watched: Watched) -> None:
    set_alert(watched.url, "prices", on="unpriced", above="1", to=[watched.webhook])
    watched.spend("1", calls=49)
    with psycopg.connect(watched.url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_events (provider, model, timestamp) VALUES ('p', 'm', %s)",
            (NOON,),
        )
    # 1 of 50 is 2 percent.
    assert watched.check().fired == 1
    [incident] = alert_history(watched.url, "prices")
    assert incident.observed == Decimal(2)


def test_two_keepers_fire_once(watched: Watched) -> None:
    set_spend(watched, by="user")
    for user in ("a", "b", "c"):
        watched.spend("101", team="ml", user_id=user)
    start = threading.Barrier(4)
    results: list[Checked] = []

    def keep() -> None:
        with psycopg.connect(watched.url, autocommit=True) as connection:
            start.wait()
            results.append(check_alerts(connection, NOON))

    threads = [threading.Thread(target=keep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result.fired for result in results) == 3
    assert ask(watched.url, "SELECT count(*) FROM token_ledger_alert_deliveries") == [(3,)]


def test_a_check_is_not_repeated_within_seconds(watched: Watched) -> None:
    set_spend(watched)
    with psycopg.connect(watched.url, autocommit=True) as connection:
        assert check_alerts(connection).alerts == 1
        assert check_alerts(connection).alerts == 0


def test_a_changed_definition_fires_again_and_other_targets_do_not(watched: Watched) -> None:
    set_spend(watched)
    watched.spend("101", team="ml")
    watched.spend("101", team="other")
    assert watched.check().fired == 1
    set_alert(watched.url, "ml", to=[watched.webhook, "env:OTHER"])
    assert watched.check().fired == 0
    set_alert(watched.url, "ml", where={"team": "other"})
    assert watched.check().fired == 1
    assert [each.over_reason for each in alert_history(watched.url)] == ["", "changed"]


def test_a_paused_alert_is_not_checked_and_a_deleted_one_keeps_its_history(
    watched: Watched,
) -> None:
    set_spend(watched)
    watched.spend("101", team="ml")
    pause_alert(watched.url, "ml")
    assert watched.check().alerts == 0
    pause_alert(watched.url, "ml", is_paused=False)
    assert watched.check().fired == 1
    delete_alert(watched.url, "ml")
    assert watched.send().delivered == 0
    assert [each.over_reason for each in alert_history(watched.url, "ml")] == ["deleted"]
