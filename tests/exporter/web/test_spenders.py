"""Users and tenants: who spends most, and the page of one of them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest

from support.ledger_rows import ask
from support.page_reader import read
from support.page_sql import page_with_answers

if TYPE_CHECKING:
    from support.dashboard import Dashboard
    from support.page_reader import PageReader

NAMES = ("a/b c?d#e", "محمد علي", "🦊", "x" * 255, "%2F", "<b>", "")


def figures_of(page: PageReader) -> dict[str, list[str | None]]:
    """The name of each row -> its exact cost, and its exact cost before."""
    return {
        row[0].text.strip(): [row[2].value, row[3].value] for row in page.rows if len(row) == 10
    }


def test_the_list_has_what_its_sql_gives(dashboard: Dashboard, filled_url: str) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_events"
            " (timestamp, provider, model, user_id, cost_status, cost_usd)"
            " VALUES (now() - interval '10 days', 'openai', 'gpt-4o', 'bob', 'priced', 0.5)"
        )
    page, (rows, before, seen) = page_with_answers(dashboard, "/users?since=7d", filled_url)
    # bob: 0.25 after 0.5, which is half. ann: 0.1, and a call without a known cost.
    assert figures_of(page) == {
        "bob": ["0.25", "0.5"],
        "ann": ["0.1", "0"],
        "2 users": ["0.35", None],
    }
    assert [(row["name"], row["cost_usd"], row["calls"]) for row in rows] == [
        ("bob", Decimal("0.25"), 1),
        ("ann", Decimal("0.1"), 2),
        ("", Decimal("0.35"), 3),
    ]
    assert [(row["name"], row["cost_usd"]) for row in before] == [("bob", Decimal("0.5"))]
    assert "-50%" in page.text
    last = {row["name"]: f"{row['last_at']:%Y-%m-%d %H:%M:%S}" for row in seen}
    shown = {row[0].text.strip(): row[9].text for row in page.rows if len(row) == 10}
    assert {name: shown[name] for name in last} == last


def test_the_search_the_order_and_the_page_are_in_the_address(dashboard: Dashboard) -> None:
    assert list(figures_of(read(dashboard, "/users?search=an"))) == ["ann", "1 user"]
    assert "No user begins with this text" in read(dashboard, "/users?search=zed").text
    assert list(figures_of(read(dashboard, "/users?sort=calls"))) == ["ann", "bob", "2 users"]
    second = read(dashboard, "/users?limit=1&page=2")
    assert list(figures_of(second)) == ["ann", "2 users"]
    hrefs = [attributes.get("href") for tag, attributes in second.tags if tag == "a"]
    assert "/users?limit=1" in hrefs


def test_tenants_are_the_organizations(dashboard: Dashboard) -> None:
    # Rows are read for two dimensions, so there is no look-up of the first and last call.
    page = read(dashboard, "/tenants?where=team=web")
    costs = {row[0].text.strip(): row[2].value for row in page.rows if len(row) == 9}
    assert costs == {"globex": "0.25", "acme": "", "2 tenants": "0.25"}
    assert "coverage: 1 of 2 calls priced (50.0%), 1 unpriced" in page.text


def test_one_user_has_a_page_with_days_models_and_calls(
    dashboard: Dashboard, filled_url: str
) -> None:
    page, answers = page_with_answers(dashboard, "/users/ann?since=7d", filled_url)
    assert page.values[0] == "0.1"
    assert answers[0][0]["cost_usd"] == Decimal("0.1")
    costs = [(row[0].text.strip(), row[2].value) for row in page.rows if len(row) == 4]
    assert [cost for _, cost in costs[:2]] == ["0.1", ""]
    assert ("gpt-4o", "0.1") in costs
    assert ("acme-7b", "") in costs
    assert "timeout" in page.text
    hrefs = [attributes.get("href") for tag, attributes in page.tags if tag == "a"]
    assert "/calls?since=7d&where=user%3Dann" in hrefs
    assert "/explore.csv?since=7d&where=user%3Dann&by=day" in hrefs


@pytest.mark.parametrize("name", NAMES)
def test_any_name_has_a_page(dashboard: Dashboard, filled_url: str, name: str) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute("UPDATE token_ledger_events SET user_id = %s", [name])
    listed = read(dashboard, "/users?since=7d")
    [link] = next(row[0].links for row in listed.rows if row and row[0].links)
    assert link == f"/users/{quote(name, safe='')}?since=7d"
    page = read(dashboard, link)
    assert page.values[0] == "0.35"
    assert not any(tag == "b" for tag, _ in page.tags)


def test_files_have_the_figures_of_the_page(dashboard: Dashboard) -> None:
    lines = dashboard.get("/users.csv?since=7d").body.decode().splitlines()
    assert lines[0].startswith("name,cost_usd,previous_cost_usd,calls,errors,")
    assert [line.split(",")[:2] for line in lines[1:]] == [['"bob"', '"0.25"'], ['"ann"', '"0.1"']]
    document = dashboard.json("/users?since=7d")
    assert [row["cost_usd"] for row in document["rows"]] == ["0.25", "0.1"]
    assert document["total"]["cost_usd"] == "0.35"
    tenants = dashboard.json("/tenants?since=7d")
    assert {row["name"]: row["cost_usd"] for row in tenants["rows"]} == {
        "acme": "0.1",
        "globex": "0.25",
    }


def test_a_user_without_calls_has_a_page_that_says_so(dashboard: Dashboard) -> None:
    page = read(dashboard, "/users/nobody")
    assert "No calls in this period." in page.text
    assert dashboard.get("/users?search=%00").status == 400


def test_who_looks_at_one_user_is_logged(dashboard: Dashboard, filled_url: str) -> None:
    read(dashboard, "/users/ann")
    rows = ask(filled_url, "SELECT page, dimension, value FROM token_ledger_person_views")
    assert rows == [("/users/{user_id:path}", "user", "ann")]
