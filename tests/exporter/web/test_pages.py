"""The pages: figures equal the SQL, names of senders are inert, nothing comes from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import pytest

from support.page_reader import PageReader, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.dashboard import Dashboard

PAGES = ("/", "/?since=7d", "/explore", "/explore?by=team,model&compare=true", "/calls")
HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m"


def test_explore_shows_what_its_own_sql_gives(dashboard: Dashboard, filled_url: str) -> None:
    page = read(dashboard, "/explore?by=team")
    costs = {row[0].text.strip(): row[2].value for row in page.rows if len(row) > 4}
    [statement] = dashboard.json("/report/sql?by=team")["statements"]
    assert statement.split("\n")[0] in page.text
    with psycopg.connect(filled_url) as connection:
        cursor = connection.execute(statement.encode())
        names = [column.name for column in cursor.description or ()]
        rows: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in cursor]
    assert {row["label_0"]: str(row["cost_usd"]) for row in rows}.items() <= costs.items()
    assert costs["Total"] == "0.35"


def test_a_figure_leads_to_its_calls_and_a_call_to_its_arithmetic(dashboard: Dashboard) -> None:
    page = read(dashboard, "/explore?by=team&since=7d")
    [link] = next(row[0].links for row in page.rows if row and row[0].text.strip() == "ml")
    calls = read(dashboard, link)
    [row] = [row for row in calls.rows if row]
    assert (row[1].text, row[7].value) == ("gpt-4o", "0.1")
    call = read(dashboard, row[0].links[0])
    assert "0.1" in call.values


def test_a_figure_of_a_month_leads_to_the_calls_of_that_month(
    dashboard: Dashboard, filled_url: str
) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute("SELECT token_ledger_add_partitions('2026-01-01', '2026-03-01')")
        connection.execute(
            "INSERT INTO token_ledger_events"
            " (timestamp, provider, model, team, cost_status, cost_usd)"
            " VALUES ('2026-02-03Z', 'openai', 'gpt-4o', 'ml', 'priced', 7)"
        )
    page = read(dashboard, "/explore?by=team&month=2026-02")
    [link] = next(row[0].links for row in page.rows if row and row[0].text.strip() == "ml")
    [row] = [row for row in read(dashboard, link).rows if row]
    assert (row[0].text, row[7].value) == ("2026-02-03 00:00:00", "7")


def test_csv_is_the_report_and_json_the_api(dashboard: Dashboard) -> None:
    response = dashboard.get("/explore.csv?by=team")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.body.decode().splitlines()[0].startswith("team,cost_usd,calls,")
    hrefs = [
        tag[1].get("href") for tag in read(dashboard, "/explore?by=team").tags if tag[0] == "a"
    ]
    assert "/explore.csv?by=team&limit=10000" in hrefs
    assert "/api/v1/report?since=30d&by=team&limit=10000" in hrefs


def test_names_of_senders_are_inert_text(dashboard: Dashboard, filled_url: str) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute(
            "UPDATE token_ledger_events SET model = %(name)s, user_id = %(name)s, team = %(name)s,"
            " feature = %(name)s, error_type = %(name)s",
            {"name": HOSTILE},
        )
    for path in PAGES:
        body = dashboard.get(path).body.decode()
        assert "<script>" not in body
        assert "\x1b" not in body
        assert "\u202e" not in body
    [link] = {
        cell.links[0]
        for row in read(dashboard, "/tops?since=7d").rows
        for cell in row[:1]
        if cell.links and "model%3D" in cell.links[0]
    }
    assert "alert" in read(dashboard, link).text


@pytest.mark.parametrize("path", PAGES)
def test_a_page_needs_nothing_from_elsewhere_and_has_no_inline_code(
    dashboard: Dashboard, path: str
) -> None:
    page = read(dashboard, path)
    for tag, attributes in page.tags:
        assert tag not in {"style", "iframe", "object", "base"}
        assert tag != "script" or (attributes["src"] or "").startswith("/static/")
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "/").startswith(("/", "#"))
    assert ("html", {"lang": "en"}) in page.tags
    assert dashboard.get("/static/style.css").headers["content-type"].startswith("text/css")


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/?since=9x", 400, "invalid time"),
        ("/explore?by=colour", 400, "unknown dimension"),
        ("/calls/xyz", 400, "invalid event id"),
        ("/calls/00000000-0000-0000-0000-000000000000", 404, "not found"),
        ("/nothing", 404, "there is no /nothing"),
        ("/static/../app.py", 404, "there is no"),
        ("/static/%2e%2e/app.py", 404, "there is no"),
    ],
)
def test_an_error_is_a_page_that_says_what_to_do(
    dashboard: Dashboard, path: str, status: int, text: str
) -> None:
    response = dashboard.get(path)
    assert response.status == status
    assert text in PageReader(response.body.decode()).text


def test_an_empty_period_says_so(dashboard: Dashboard) -> None:
    assert "No calls match." in read(dashboard, "/explore?month=2019-01").text
    assert "No calls match." in read(dashboard, "/calls?where=user=nobody").text


def test_an_option_of_the_dashboard_is_in_no_link(opened: Callable[..., Dashboard]) -> None:
    """A page answers every link on it: an unknown parameter would be an error."""
    dashboard = opened(trace_url="https://jaeger.example/trace/{trace_id}")
    for path in ("/", "/why", "/explore", "/users", "/runs", "/calls", "/prices/missing"):
        links = [tag.get("href") or "" for name, tag in read(dashboard, path).tags if name == "a"]
        for link in {link for link in links if link.startswith(f"{path}?")}:
            assert dashboard.get(link).status == 200, link


def test_a_form_keeps_a_filter_whose_name_is_shown_with_escapes(
    dashboard: Dashboard, filled_url: str
) -> None:
    name = "a\u202eb"
    with psycopg.connect(filled_url) as connection:
        connection.execute("UPDATE token_ledger_events SET team = %s WHERE user_id = 'bob'", [name])
    page = read(dashboard, f"/?where=team={quote(name)}")
    hidden = [
        tag["value"]
        for tag_name, tag in page.tags
        if tag_name == "input" and tag.get("type") == "hidden" and tag["name"] == "where"
    ]
    assert hidden == [f"team={name}"]
    assert page.values[0] == "0.25"
