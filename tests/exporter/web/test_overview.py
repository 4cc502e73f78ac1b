"""The overview: every figure is that of the ledger, and leads to what it is made of."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg

from support.ledger_rows import ask
from support.page_reader import read

if TYPE_CHECKING:
    from support.dashboard import Dashboard
    from support.page_reader import Cell, PageReader

DAY = re.compile(r"\d{4}-\d\d-\d\d")
DAY_COLUMNS = 4
"""Day, total, and a series for each of two models."""


def costs_by(page: PageReader, columns: int) -> dict[str, list[Cell]]:
    """The rows of this many cells by their first text."""
    return {row[0].text.strip(): row for row in page.rows if len(row) == columns}


def test_cost_and_coverage_are_those_of_the_ledger(dashboard: Dashboard, filled_url: str) -> None:
    page = read(dashboard, "/?since=7d")
    [(total,)] = ask(filled_url, "SELECT sum(cost_usd) FROM token_ledger_events")
    assert page.values[0] == str(total) == "0.35"
    assert "coverage: 2 of 3 calls priced (66.6%), 1 unpriced" in page.text


def test_a_cost_that_is_higher_has_a_plus(dashboard: Dashboard) -> None:
    assert "$0.3500+" in read(dashboard, "/?since=7d").text
    page = read(dashboard, "/tops?since=7d")
    costs = {row[0].text.strip(): row[2].text.strip() for row in page.rows if len(row) == 4}
    assert (costs["web"], costs["ml"]) == ("$0.2500+", "$0.1000")


def test_each_day_has_its_cost_and_the_parts_sum_to_it(
    dashboard: Dashboard, filled_url: str
) -> None:
    """Eight days: seven times 24 hours touch eight of them. One model has no known cost."""
    page = read(dashboard, "/?since=7d&where=model=gpt-4o&where=model=claude-opus-5")
    days = {day: row for day, row in costs_by(page, DAY_COLUMNS).items() if DAY.fullmatch(day)}
    stored = ask(
        filled_url,
        "SELECT timestamp::date::text, sum(cost_usd) FROM token_ledger_events"
        " WHERE cost_usd IS NOT NULL GROUP BY 1",
    )
    assert len(days) == 8
    for day, cost in stored:
        assert days[day][1].value == str(cost)
    for _, total, *parts in days.values():
        assert Decimal(total.value or 0) == sum(Decimal(part.value or 0) for part in parts)


def test_a_day_without_a_known_cost_is_unknown_and_not_0(dashboard: Dashboard) -> None:
    page = read(dashboard, "/?since=7d&where=team=web&where=user=ann")
    days = [row for row in page.rows if len(row) == 3 and row[0].text.startswith("2")]
    assert [row[1].text for row in days].count("unknown") == 1
    assert [row[1].value for row in days].count("0") == 7


def test_the_highest_of_each_dimension_narrows_the_page(dashboard: Dashboard) -> None:
    page = read(dashboard, "/tops?since=7d")
    rows = costs_by(page, 4)
    assert rows["claude-opus-5"][2].value == "0.25"
    assert rows["acme-7b"][2].text == "unknown"
    assert rows["bob"][0].links == ["/?since=7d&where=user%3Dbob"]
    narrowed = read(dashboard, rows["bob"][0].links[0])
    assert narrowed.values[0] == "0.25"


def test_a_panel_that_reads_every_call_comes_after_the_page(dashboard: Dashboard) -> None:
    """Sums are kept by one dimension at a time: those of a team by feature are not."""
    page = read(dashboard, "/tops?since=7d&where=team=ml")
    panels = [tag["hx-get"] for _, tag in page.tags if "hx-get" in tag]
    assert "/top?since=7d&where=team%3Dml&dimension=user" in panels
    alone = read(dashboard, "/top?since=7d&where=team%3Dml&dimension=user")
    [row] = [row for row in alone.rows if len(row) == 4]
    assert (row[0].text, row[2].value) == ("ann", "0.1")


def test_the_sql_of_the_page_runs_and_gives_its_total(
    dashboard: Dashboard, filled_url: str
) -> None:
    text = dashboard.get("/overview.sql?since=7d").body.decode()
    statements = [each for each in text.split(";\n") if each.strip()]
    with psycopg.connect(filled_url) as connection:
        rows = connection.execute(statements[0].encode()).fetchall()
    assert any(Decimal("0.35") in row for row in rows)


def test_this_month_is_compared_with_the_month_before_up_to_the_same_time(
    dashboard: Dashboard, filled_url: str
) -> None:
    """The whole month before would make every month look cheap until its end."""
    with psycopg.connect(filled_url) as connection:
        connection.execute("DELETE FROM token_ledger_events")
        connection.execute(
            "SELECT token_ledger_add_partitions((now() - interval '3 months')::date, now()::date)"
        )
        connection.execute(
            "INSERT INTO token_ledger_events (timestamp, provider, model, cost_status, cost_usd)"
            " SELECT start - months * interval '1 month' + share * (now() - start) - apart,"
            " 'openai', 'gpt-4o', 'priced', cost"
            " FROM date_trunc('month', now(), 'UTC') AS start,"
            " (VALUES (0, 0.5, interval '0', 3), (1, 0.5, '0', 2), (1, 0, '5 minutes', 100))"
            " AS calls (months, share, apart, cost)"
        )
    page = read(dashboard, "/?month=this")
    assert page.values[:2] == ["3", "2"]
    assert "+50%" in page.text
    report = dashboard.json("/report?month=this&compare=true&by=")
    assert report["totals"]["previous_cost_usd"] == "2"
    assert dashboard.json("/why?month=this")["previous_cost_usd"] == "2"
    assert "against $2.0000 at this time last month" in read(dashboard, "/month").text
    [user] = dashboard.json("/users?month=this")["rows"]
    assert user["previous_cost_usd"] == "2"


def test_the_month_is_projected_from_its_cost_and_the_last_seven_days(
    dashboard: Dashboard, filled_url: str
) -> None:
    """7 dollars in 7 days are 1 a day; 14 days before the end of the month that is 14 more."""
    with psycopg.connect(filled_url) as connection:
        connection.execute("DELETE FROM token_ledger_events")
        connection.execute(
            "INSERT INTO token_ledger_events (timestamp, provider, model, cost_status, cost_usd)"
            " VALUES (now(), 'openai', 'gpt-4o', 'priced', 7)"
        )
        [(days,)] = connection.execute(
            "SELECT extract(epoch FROM date_trunc('month', now(), 'UTC') + interval '1 month'"
            " - now()) / 86400"
        ).fetchall()
    page = read(dashboard, "/month")
    assert "Projected for the whole month" in page.text
    in_text = page.text.partition("Projected for the whole month: about ")[2].partition(" ")[0]
    assert abs(Decimal(in_text.strip("$\n")) - (7 + days)) < Decimal("0.02")
