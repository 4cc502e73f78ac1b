"""The page that says why a cost changed: its causes add up to the difference, to the last digit."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from support.page_reader import read

if TYPE_CHECKING:
    from support.dashboard import Dashboard

CALLS = """
INSERT INTO token_ledger_events
    (timestamp, provider, model, feature, cost_status, cost_usd, input_tokens, output_tokens)
SELECT now() - days * interval '1 day', 'openai', 'gpt-4o', feature, 'priced', cost, 100, 10
FROM (VALUES (1, 'chat', 0.3), (2, 'chat', 0.3), (3, '<i>new</i>', 0.07), (9, 'chat', 0.1),
    (10, 'old', 0.013)) AS calls (days, feature, cost)
"""
"""$0.67 this week and $0.113 in the one before: $0.557 more."""


@pytest.fixture
def changed(dashboard: Dashboard, filled_url: str) -> Dashboard:
    with psycopg.connect(filled_url) as connection:
        connection.execute("DELETE FROM token_ledger_events")
        connection.execute(CALLS.encode())
    return dashboard


def test_the_causes_add_up_to_the_difference(changed: Dashboard) -> None:
    document = changed.json("/why?since=7d")
    assert document["change_usd"] == "0.557"
    assert sum(Decimal(cause["change_usd"]) for cause in document["causes"]) == Decimal("0.557")
    page = read(changed, "/why?since=7d")
    assert page.values[:3] == ["0.67", "0.113", "0.557"]
    assert {cause["change_usd"] for cause in document["causes"]} <= set(page.values)


def test_the_overview_loads_the_largest_causes(changed: Dashboard) -> None:
    page = read(changed, "/?since=7d")
    [path] = [tag["hx-get"] for _, tag in page.tags if (tag.get("hx-get") or "").startswith("/why")]
    assert path == "/why/panel?since=7d"
    panel = read(changed, path)
    assert panel.rows[-1][2].value == "0.557"


def test_a_cause_leads_to_its_calls_and_its_name_is_inert(changed: Dashboard) -> None:
    response = changed.get("/why?since=7d").body.decode()
    assert "<i>new" not in response
    assert "&lt;i&gt;new" in response
    page = read(changed, "/why?since=7d")
    links = [link for row in page.rows for cell in row for link in cell.links]
    assert "/calls?since=7d&where=feature%3Dold" in links


def test_without_a_known_cost_nothing_is_compared(changed: Dashboard, filled_url: str) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute(
            "UPDATE token_ledger_events SET cost_usd = NULL, cost_status = 'unpriced'"
            " WHERE timestamp < now() - interval '7 days'"
        )
    page = read(changed, "/why?since=7d")
    assert "The periods cannot be compared" in page.text
    assert page.values[:2] == ["0.67", ""]


def test_every_call_is_read_if_the_address_says_so(changed: Dashboard) -> None:
    assert changed.json("/why?detail=true")["is_detailed"]
    summed = changed.json("/why?detail=false")
    assert not summed["is_detailed"]
    assert any("the option 'detail' does" in note for note in summed["notes"])
    links = [each.get("href") or "" for _, each in read(changed, "/why?detail=true").tags]
    assert any(link.startswith("/why?") and "detail=true" in link for link in links)


def test_csv_has_every_driver(changed: Dashboard) -> None:
    lines = changed.get("/why.csv?since=7d").body.decode().splitlines()
    assert lines[0].startswith("cause,feature,")
    assert len(lines) > 2


@pytest.mark.parametrize(
    ("query", "text"),
    [("by=day", "day"), ("by=mood", "unknown dimension"), ("since=2d&until=3d", "before until")],
)
def test_what_cannot_be_compared_is_an_error(changed: Dashboard, query: str, text: str) -> None:
    response = changed.get(f"/api/v1/why?{query}")
    assert response.status == 400
    assert text in response.json()["detail"]
