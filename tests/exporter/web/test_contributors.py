"""Whose cost changed: users, sessions and days behind a difference, and the calls behind each."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from support.page_reader import read
from tokenledger_exporter.queries import TokenLedgerQueries
from tokenledger_exporter.queries.why.contributors import contributors

if TYPE_CHECKING:
    from support.dashboard import Dashboard
    from support.page_reader import PageReader

CALLS = """
INSERT INTO token_ledger_events
    (timestamp, provider, model, user_id, session_id, cost_status, cost_usd, input_tokens)
SELECT
    now() - days * interval '1 day', 'openai', model, user_id, session_id, 'priced', cost, 100
FROM (VALUES
    (1, 'm1', 'ann', 'runaway', 0.5), (1, 'm2', 'ann', 'runaway', 0.3),
    (2, 'm3', 'bob', '<i>talk</i>', 0.2), (3, 'm4', 'cem', 's-3', 0.01),
    (9, 'm5', 'bob', 'talk-0', 0.15), (10, 'm6', 'dee', 'ended', 0.04)
) AS calls (days, model, user_id, session_id, cost)
"""
"""$1.01 this week and $0.19 in the one before: $0.82 more, of which one session is $0.80."""


@pytest.fixture
def changed(dashboard: Dashboard, filled_url: str) -> Dashboard:
    with psycopg.connect(filled_url) as connection:
        connection.execute("DELETE FROM token_ledger_events")
        connection.execute(CALLS.encode())
    return dashboard


def changes_of(page: PageReader) -> dict[str, str | None]:
    """The name in each row -> its change."""
    return {row[0].text.strip(): row[1].value for row in page.rows if row and row[1].value}


def models_of(page: PageReader) -> list[str]:
    return [row[1].text.strip() for row in page.rows if len(row) == 9]


def test_one_session_behind_a_rise_is_two_clicks_away(changed: Dashboard) -> None:
    panels = [tag.get("hx-get") or "" for _, tag in read(changed, "/why?since=7d").tags]
    [path] = [panel for panel in panels if panel.startswith("/contributors") and "session" in panel]
    panel = read(changed, path)
    # 0.5 + 0.3; 0.2; 0.01; the session of the week before that has no calls now: -0.04, -0.15.
    assert list(changes_of(panel).items())[:3] == [
        ("runaway", "0.8"),
        ("<i>talk</i>", "0.2"),
        ("s-3", "0.01"),
    ]
    assert changes_of(panel)["Difference"] == "0.82"
    [link] = next(row[0].links for row in panel.rows if row and row[0].links)
    assert models_of(read(changed, link)) == ["m1", "m2"]


def test_users_are_compared_and_one_who_left_leads_to_earlier_calls(changed: Dashboard) -> None:
    panel = read(changed, "/contributors?since=7d&by=user")
    # 0.8; 0.2 - 0.15; 0.01; -0.04.
    assert changes_of(panel) == {
        "ann": "0.8",
        "bob": "0.05",
        "cem": "0.01",
        "dee": "-0.04",
        "Difference": "0.82",
    }
    [link] = next(row[0].links for row in panel.rows if row and "dee" in row[0].text)
    assert models_of(read(changed, link)) == ["m6"]
    assert "<i>" not in changed.get("/contributors?since=7d&by=session").body.decode()


def test_the_days_with_the_highest_cost_lead_to_their_calls(changed: Dashboard) -> None:
    panel = read(changed, "/contributors?since=7d&by=day")
    assert [row[1].value for row in panel.rows if row and row[1].value] == ["0.8", "0.2", "0.01"]
    [link] = next(row[0].links for row in panel.rows if row and row[0].links)
    assert models_of(read(changed, link)) == ["m1", "m2"]


@pytest.mark.parametrize("by", ["user", "session", "model"])
def test_all_contributors_make_up_the_difference(
    changed: Dashboard, filled_url: str, by: str
) -> None:
    del changed
    report = TokenLedgerQueries(filled_url).why(by, days=7)
    parts = contributors(report)
    assert sum(part.change_usd for part in parts) == report.change_usd == Decimal("0.82")
    assert [part.change_usd for part in parts] == sorted(
        (part.change_usd for part in parts), reverse=True
    )


def test_a_filter_stays_and_an_unknown_cost_is_not_compared(
    changed: Dashboard, filled_url: str
) -> None:
    panel = read(changed, "/contributors?since=7d&by=session&where=user=bob")
    assert changes_of(panel)["Difference"] == "0.05"
    with psycopg.connect(filled_url) as connection:
        connection.execute(
            "UPDATE token_ledger_events SET cost_usd = NULL, cost_status = 'unpriced'"
            " WHERE timestamp < now() - interval '7 days'"
        )
    assert "cannot be compared" in read(changed, "/contributors?since=7d").text
    assert changed.get("/contributors?by=model").status == 400
