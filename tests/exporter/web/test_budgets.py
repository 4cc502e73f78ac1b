"""Budgets: the page's figures are those of SQL, and a viewer of one organization sees none."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from support.page_reader import PageReader, read
from support.page_sql import page_with_answers
from tokenledger_exporter.access.tokens import new_token, token_line
from tokenledger_exporter.budgets.budgets import delete_budget, pause_budget, set_budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.dashboard import Dashboard

HOSTILE = "<script>alert(1)</script>\u202e"
RESERVE = "SELECT reason FROM token_ledger_reserve(%s, %s::jsonb, %s, app_name => %s)"
ACME, ANY = new_token(), new_token()


@pytest.fixture
def budgets(filled_url: str) -> str:
    """Two budgets over the three calls of a week, $0.04 reserved, and two refusals.

    Team web: $0.25 of $0.30 are spent, and one of its two calls has no known cost.
    """
    set_budget(
        filled_url,
        "web",
        limit="0.30",
        where={"team": "web"},
        per="30d",
        warn="80",
        unpriced="allow",
    )
    set_budget(filled_url, "per-user", limit=1, each="user", per="30d", action="alert")
    with psycopg.connect(filled_url) as connection:
        for number, usd in enumerate(("0.04", "0.02", "0.03")):
            values = (f"call-{number}", '{"team": "web"}', usd, HOSTILE)
            connection.execute(RESERVE.encode(), values)
    return filled_url


def figures_of(page: PageReader) -> dict[str, tuple[Any, ...]]:
    """Name and value of each account -> left, limit, spent, unconfirmed and reserved."""
    return {
        " ".join(row[0].text.split("\n")[0].split()): tuple(cell.value for cell in row[2:7])
        for row in page.rows
        if len(row) == 9
    }


def test_the_figures_are_those_of_the_pages_sql(dashboard: Dashboard, budgets: str) -> None:
    page, answers = page_with_answers(dashboard, "/budgets", budgets)
    figures = list(figures_of(page).values())
    # 0.30 - 0.25 - 0.04, and $1 for each user.
    assert figures == [
        ("0.01", "0.3", "0.25", "0", "0.04"),
        ("0.75", "1", "0.25", "0", "0"),
        ("0.9", "1", "0.1", "0", "0"),
    ]
    [accounts] = [rows for rows in answers if rows and "left_usd" in rows[0]]
    amounts = ("left_usd", "limit_usd", "spent_usd", "unconfirmed_usd", "reserved_usd")
    assert [tuple(row[name] for name in amounts) for row in accounts] == [
        tuple(Decimal(value) for value in row) for row in figures
    ]
    assert "96.7% used" in page.text
    assert "1 without a cost" in page.text
    [refusal] = [row for row in page.rows if len(row) == 8]
    assert (refusal[3].text, refusal[4].text, refusal[5].value) == ("no room", "2", "0.05")


def test_a_name_leads_to_the_calls_of_the_account(dashboard: Dashboard, budgets: str) -> None:
    del budgets
    page = read(dashboard, "/budgets?budget=per-user")
    links = [row[0].links[0] for row in page.rows if len(row) == 9]
    assert [parse_qs(urlsplit(link).query)["where"] for link in links] == [
        ["user=bob"],
        ["user=ann"],
    ]
    explored = read(dashboard, links[0])
    assert "0.25" in explored.values


def test_the_states_say_what_happens(dashboard: Dashboard, budgets: str) -> None:
    assert "near the limit" in read(dashboard, "/budgets?budget=web").text
    set_budget(budgets, "web", limit="0.29")
    text = read(dashboard, "/budgets?budget=web").text
    assert "at the limit" in text
    assert "refuses calls" in text
    pause_budget(budgets, "web")
    assert "paused" in read(dashboard, "/budgets?budget=web").text


def test_a_budget_per_trace_leads_to_the_run(dashboard: Dashboard, filled_url: str) -> None:
    set_budget(filled_url, "run", limit=1, per="run")
    with psycopg.connect(filled_url) as connection:
        connection.execute(RESERVE.encode(), ("call", '{"trace": "ab12"}', "0.04", ""))
    [row] = [row for row in read(dashboard, "/budgets").rows if len(row) == 9]
    assert row[0].links == ["/runs/ab12"]


def test_names_are_inert(dashboard: Dashboard, budgets: str) -> None:
    with psycopg.connect(budgets) as connection:
        connection.execute(
            "UPDATE token_ledger_budget_accounts SET value = %s WHERE value = 'bob'", [HOSTILE]
        )
    body = dashboard.get("/budgets").body.decode()
    assert "<script>alert" not in body
    assert "\u202e" not in body


def test_without_a_budget_the_page_says_how_to_set_one(dashboard: Dashboard) -> None:
    text = read(dashboard, "/budgets").text
    assert "'tokenledger budget set NAME --limit 500 --per month' sets one" in text
    assert "No call was refused." in text


def test_an_unknown_budget_is_404_and_names_the_others(dashboard: Dashboard, budgets: str) -> None:
    del budgets
    for path in ("/budgets?budget=wbe", "/api/v1/budgets?budget=wbe", "/budgets.csv?budget=wbe"):
        response = dashboard.get(path)
        assert response.status == 404
        assert b"use one of per-user, web" in response.body.replace(b"&#39;", b"'")


def test_the_api_has_the_same_rows(dashboard: Dashboard, budgets: str) -> None:
    [account] = dashboard.json("/budgets?budget=web")["budgets"]
    shown = ("filters", "period", "state", "left_usd", "calls", "unpriced_calls")
    assert {name: account[name] for name in shown} == {
        "filters": "team=web",
        "period": "in 30 days",
        "state": "warned",
        "left_usd": "0.01",
        "calls": 2,
        "unpriced_calls": 1,
    }
    [refusal] = dashboard.json("/refusals?budget=web&since=1h")["refusals"]
    assert (refusal["refused_calls"], refusal["needed_usd"]) == (2, "0.05")
    delete_budget(budgets, "web")
    changes = dashboard.json("/budgets/web/history")["changes"]
    assert [change["action"] for change in changes] == ["deleted", "set"]
    assert (
        dashboard.get("/budgets.csv").body.decode().splitlines()[1].startswith('"per-user","bob",')
    )


def test_a_viewer_of_one_organization_gets_an_explanation(
    opened: Callable[..., Dashboard], budgets: str, reader_url: str
) -> None:
    del budgets
    tokens = "\n".join((token_line("acme", ACME), token_line("*", ANY)))
    dashboard = opened(database_url=reader_url, tokens=tokens)
    for token, is_shown in ((ACME, False), (ANY, True)):
        bearer = f"Bearer {token}"
        page = dashboard.get("/budgets", authorization=bearer)
        assert page.status == 200
        text = PageReader(page.body.decode()).text
        assert ("not shown to a reader that is bound to one" in text) is not is_shown
        assert ("per-user" in text) is is_shown
        for path, name in (
            ("/budgets", "budgets"),
            ("/refusals", "refusals"),
            ("/budgets/web/history", "changes"),
        ):
            document = dashboard.get(f"/api/v1{path}", authorization=bearer).json()
            assert bool(document[name]) is is_shown
            assert (document["note"] is None) is is_shown
        csv = dashboard.get("/budgets.csv", authorization=bearer)
        assert (csv.status, csv.body.count(b"\n") > 1) == (200, is_shown)
