"""Calls: pages in both directions, filters, files, and all that is known of one call."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from support.ledger_rows import ask
from support.page_reader import PageReader, read
from support.page_sql import page_with_answers
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.web.options import DashboardOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.dashboard import Dashboard

MORE = """
INSERT INTO token_ledger_events (timestamp, provider, model, trace_id, cost_status, cost_usd)
SELECT
    now() - interval '1 minute' * number, 'openai', 'm' || number, repeat('a', 32), 'priced', 0.01
FROM generate_series(1, 4) AS number
"""


def models_of(page: PageReader) -> list[str]:
    return [row[1].text.strip() for row in page.rows if len(row) == 9]


def link_named(page: PageReader, relation: str) -> str | None:
    """The link of a page to the one before or after it."""
    hrefs = [
        each.get("href") for tag, each in page.tags if tag == "a" and each.get("rel") == relation
    ]
    return hrefs[0] if hrefs else None


def test_pages_lead_to_older_calls_and_back(dashboard: Dashboard, filled_url: str) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute(MORE.encode())
    first = read(dashboard, "/calls?limit=2")
    assert models_of(first) == ["gpt-4o", "m1"]
    assert link_named(first, "prev") is None
    older = str(link_named(first, "next"))
    assert older.startswith("/calls?limit=2&older=")
    second = read(dashboard, older)
    assert models_of(second) == ["m2", "m3"]
    third = read(dashboard, str(link_named(second, "next")))
    assert models_of(third) == ["m4", "claude-opus-5"]
    last = read(dashboard, str(link_named(third, "next")))
    assert models_of(last) == ["acme-7b"]
    assert link_named(last, "next") is None
    back = read(dashboard, str(link_named(third, "prev")))
    assert models_of(back) == ["m2", "m3"]
    again = read(dashboard, str(link_named(back, "prev")))
    assert models_of(again) == ["gpt-4o", "m1"]
    assert link_named(again, "prev") is None


def test_a_new_call_does_not_shift_an_older_page(dashboard: Dashboard, filled_url: str) -> None:
    older = str(link_named(read(dashboard, "/calls?limit=1"), "next"))
    with psycopg.connect(filled_url) as connection:
        connection.execute(MORE.encode())
    assert models_of(read(dashboard, older)) == ["m1"]
    assert link_named(read(dashboard, older), "prev") is not None


RANKED = """
INSERT INTO token_ledger_events
    (timestamp, provider, model, cost_status, cost_usd, duration_ms)
SELECT
    now() - interval '1 minute' * (number % 3), 'openai', 'm' || number,
    CASE WHEN number % 4 = 0 THEN 'unpriced' ELSE 'priced' END,
    CASE WHEN number % 4 = 0 THEN NULL ELSE 0.000000000000000001 * (number % 3) END,
    CASE WHEN number % 5 = 0 THEN NULL ELSE 0.1::double precision * (number % 3) END
FROM generate_series(1, 24) AS number
"""
"""Calls of few costs and durations, which differ in the last digit alone, and unknown ones."""

IN_ORDER = """
SELECT model FROM token_ledger_events
ORDER BY {} DESC NULLS LAST, timestamp DESC, event_id DESC
"""


@pytest.mark.parametrize(("sort", "column"), [("cost", "cost_usd"), ("duration", "duration_ms")])
def test_pages_by_cost_or_duration_have_each_call_once_in_both_directions(
    dashboard: Dashboard, filled_url: str, sort: str, column: str
) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute(RANKED.encode())
    expected = [model for (model,) in ask(filled_url, IN_ORDER.format(column))]
    assert len(expected) == 27
    pages, path = list[list[str]](), f"/calls?sort={sort}&limit=5"
    while True:
        document = dashboard.json(path)
        pages.append([call["model"] for call in document["calls"]])
        if document["older"] is None:
            break
        path = f"/calls?sort={sort}&limit=5&older={document['older']}"
    assert [model for page in pages for model in page] == expected
    for page in reversed(pages[:-1]):
        document = dashboard.json(f"/calls?sort={sort}&limit=5&newer={document['newer']}")
        assert [call["model"] for call in document["calls"]] == page
    assert document["newer"] is None


def test_the_slowest_calls_are_shown_first_as_their_sql_says(
    dashboard: Dashboard, filled_url: str
) -> None:
    page, (rows,) = page_with_answers(dashboard, "/calls?sort=duration&limit=2", filled_url)
    # 40 ms, 20 ms; the third call has no duration.
    assert models_of(page) == ["claude-opus-5", "gpt-4o"]
    assert [row["duration_ms"] for row in rows] == [40, 20, None]
    following = str(link_named(page, "next"))
    assert following.startswith("/calls?sort=duration&limit=2&older=")
    last = read(dashboard, following)
    assert models_of(last) == ["acme-7b"]
    assert "Previous" in last.text
    assert models_of(read(dashboard, "/calls?sort=cost&limit=1")) == ["claude-opus-5"]


def test_a_cursor_of_another_order_is_refused(dashboard: Dashboard) -> None:
    for sort, other in (("time", "cost"), ("cost", "duration"), ("duration", "time")):
        cursor = dashboard.json(f"/calls?limit=1&sort={other}")["older"]
        response = dashboard.get(f"/api/v1/calls?sort={sort}&older={cursor}")
        assert response.status == 400
        assert response.json()["parameter"] == "older"
        assert f"not one of calls sorted by {sort}; omit it" in response.json()["detail"]


@pytest.mark.parametrize(
    "place",
    [
        *(["cost", value, "2026-11-01T00:00:00+00:00", "0" * 32] for value in ("", "1e9", "NaN")),
        ["cost", "1", "2026-11-01T00:00:00", "0" * 32],
        ["cost", "1", "2026-11-01T00:00:00+00:00", "x"],
        ["cost", "2026-11-01T00:00:00+00:00", "0" * 32],
        ["cost", "1"],
        [],
        {},
    ],
)
def test_a_cursor_that_was_changed_is_refused(dashboard: Dashboard, place: object) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(place).encode()).decode()
    for sort in ("cost", "time"):
        response = dashboard.get(f"/api/v1/calls?sort={sort}&older={cursor}")
        assert (response.status, response.json()["parameter"]) == (400, "older")


def test_filters_show_errors_and_costs_that_are_not_known(
    dashboard: Dashboard, filled_url: str
) -> None:
    assert models_of(read(dashboard, "/calls?status=error")) == ["acme-7b"]
    assert models_of(read(dashboard, "/calls?status=success")) == ["gpt-4o", "claude-opus-5"]
    assert models_of(read(dashboard, "/calls?cost_status=unpriced")) == ["acme-7b"]
    assert models_of(read(dashboard, "/calls?cost_status=partial")) == []
    page, (rows,) = page_with_answers(dashboard, "/calls?since=7d", filled_url)
    assert [row[7].value for row in page.rows if len(row) == 9] == ["0.1", "0.25", ""]
    assert [row["cost_usd"] for row in rows] == [Decimal("0.1"), Decimal("0.25"), None]


def test_files_have_the_calls_of_the_page(dashboard: Dashboard) -> None:
    lines = dashboard.get("/calls.csv?since=7d&status=error").body.decode().splitlines()
    assert lines[0].startswith("event_id,timestamp,provider,model,")
    assert [line.split(",")[3] for line in lines[1:]] == ['"acme-7b"']
    document = dashboard.json("/calls?limit=2")
    assert [call["cost_usd"] for call in document["calls"]] == ["0.1", "0.25"]
    older = dashboard.json(f"/calls?limit=2&older={document['older']}")
    assert [call["cost_usd"] for call in older["calls"]] == [None]
    assert (document["newer"], older["older"]) == (None, None)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/calls?older=x", "invalid cursor"),
        ("/calls?older=WyIyMDI2LTExLTAxVDAwOjAwOjAwKzAwOjAwIiwgIjAiXQ==", "invalid cursor"),
        ("/calls?older=x&newer=x", "use one cursor"),
        ("/calls?sort=size", "sort must be one of time, cost, duration"),
        ("/calls?status=failed", "status must be one of any, success, error"),
    ],
)
def test_a_wrong_parameter_is_named(dashboard: Dashboard, path: str, text: str) -> None:
    response = dashboard.get(path)
    assert response.status == 400
    assert text in PageReader(response.body.decode()).text


def test_one_call_shows_its_attribution_its_usage_and_its_trace(
    dashboard: Dashboard, filled_url: str
) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute(MORE.encode())
        connection.execute(
            "UPDATE token_ledger_events SET trace_id = repeat('a', 32), user_id = 'a/b',"
            " session_id = 's 1', reasoning_tokens = 7 WHERE model = 'gpt-4o'"
        )
    [(event_id,)] = ask(
        filled_url, "SELECT event_id::text FROM token_ledger_events WHERE model = 'gpt-4o'"
    )
    page, _ = page_with_answers(dashboard, f"/calls/{event_id}?since=7d", filled_url)
    hrefs = [attributes.get("href") or "" for tag, attributes in page.tags if tag == "a"]
    assert "/users/a%2Fb?since=7d" in hrefs
    assert "/tenants/acme?since=7d" in hrefs
    assert "/runs/s%201?since=7d&kind=session" in hrefs
    assert any(href.startswith(f"/runs/{'a' * 32}?since=7d&after=") for href in hrefs)
    assert "of it reasoning" in page.text
    assert "gold" in page.text  # Metadata of the app.
    neighbors = [row[1].text.strip() for row in page.rows if len(row) == 6]
    assert neighbors == ["m4", "m3", "m2", "m1", "gpt-4o"]
    assert not any("jaeger" in href for href in hrefs)
    csv = dashboard.get(f"/csv/calls/{event_id}").body.decode()
    assert csv.splitlines() == ["kind,priced_as,units,price_usd,per,cost_usd"]


def test_a_call_links_to_the_tracing_system_of_the_user(
    opened: Callable[..., Dashboard], filled_url: str
) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute(
            "UPDATE token_ledger_events SET trace_id = CASE model WHEN 'gpt-4o'"
            " THEN repeat('a', 32) ELSE '../x' END"
        )
    dashboard = opened(trace_url="https://jaeger.example/trace/{trace_id}?p=1")
    ids = dict(ask(filled_url, "SELECT model, event_id::text FROM token_ledger_events"))
    page = read(dashboard, f"/calls/{ids['gpt-4o']}")
    hrefs = [attributes.get("href") for tag, attributes in page.tags if tag == "a"]
    assert f"https://jaeger.example/trace/{'a' * 32}?p=1" in hrefs
    # What a sender calls a trace does not change the address.
    other = dashboard.get(f"/calls/{ids['acme-7b']}").body.decode()
    assert "jaeger" not in other


@pytest.mark.parametrize("url", ["javascript:alert({trace_id})", "https://jaeger.example/trace"])
def test_the_address_of_traces_is_checked(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="invalid address of traces"):
        DashboardOptions("postgresql://x", trace_url=url)
