"""Runs: what a trace or session cost, in a list and step by step, as the shown SQL says."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from support.page_reader import PageReader, read
from support.page_sql import page_with_answers
from support.run_rows import FAILED, HIGH, LOW, RUN_ROWS
from tokenledger_exporter.db.connection import reading
from tokenledger_exporter.db.steps import run_steps
from tokenledger_exporter.queries.lists.runs import run_page_steps

if TYPE_CHECKING:
    from support.dashboard import Dashboard


@pytest.fixture
def runs_url(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        connection.execute(RUN_ROWS.encode())
    return database_url


@pytest.fixture
def filled_url(runs_url: str) -> str:
    """The dashboard of these tests shows runs."""
    return runs_url


def costs_of(page: PageReader) -> dict[str, str | None]:
    """The name of each row -> its exact cost, which is the last cell."""
    return {row[0].text.strip(): row[5].value for row in page.rows if len(row) == 10}


def test_the_list_has_what_its_sql_gives(dashboard: Dashboard, runs_url: str) -> None:
    page, (cut, rows) = page_with_answers(dashboard, "/runs", runs_url)
    assert cut == []
    # 0.5 + 0.25, and one part without a price; 0.1; a call of which nothing is known.
    assert costs_of(page) == {HIGH: "0.75", LOW: "0.1", FAILED: "", "3 traces": "0.85"}
    figures = {row["run_id"]: (row["cost_usd"], row["steps"], row["calls"]) for row in rows}
    assert figures == {
        HIGH: (Decimal("0.75"), 2, 3),
        LOW: (Decimal("0.1"), 1, 1),
        FAILED: (Decimal(0), 1, 1),
        "": (Decimal("0.85"), 4, 5),
    }
    assert "coverage: 3 of 5 calls priced (60.0%), 1 unpriced, 1 unmeasured" in page.text
    assert [row[3].text.strip() for row in page.rows if len(row) == 10][:1] == ["(none)"]


def test_sessions_hold_traces_and_a_filter_leaves_calls_out(dashboard: Dashboard) -> None:
    page = read(dashboard, "/runs?kind=session")
    assert costs_of(page) == {"talk/1": "0.85", "1 session": "0.85"}
    assert "ann and others" in " ".join(page.text.split())
    filtered = read(dashboard, "/runs?kind=session&where=user=bob")
    assert costs_of(filtered)["talk/1"] == "0.1"


def test_the_order_and_the_page_are_in_the_address(dashboard: Dashboard) -> None:
    latest = read(dashboard, "/runs?sort=time&limit=2")
    assert list(costs_of(latest)) == [FAILED, LOW, "3 traces"]
    hrefs = [attributes.get("href") for tag, attributes in latest.tags if tag == "a"]
    assert "/runs?sort=time&limit=2&page=2" in hrefs
    second = read(dashboard, "/runs?sort=time&limit=2&page=2")
    assert list(costs_of(second)) == [HIGH, "3 traces"]
    assert "There are no more traces." in read(dashboard, "/runs?limit=2&page=9").text


def test_a_list_of_many_calls_reads_the_newest_and_says_from_when(runs_url: str) -> None:
    now = datetime.now(timezone.utc)
    with reading(runs_url) as connection:
        steps = run_page_steps("trace", now - timedelta(days=1), now, {}, max_calls=2)
        page = run_steps(connection, steps)
    assert page.is_cut
    assert [run.run_id for run in page.runs] == [LOW, FAILED]
    assert page.since < now - timedelta(minutes=50)


def test_a_run_is_shown_step_by_step(dashboard: Dashboard, runs_url: str) -> None:
    [link] = next(row[0].links for row in read(dashboard, "/runs").rows if row and row[0].links)
    assert link.startswith(f"/runs/{HIGH}?after=")
    page, (rows,) = page_with_answers(dashboard, link, runs_url)
    steps = [row for row in page.rows if len(row) == 10]
    # Cost, and what the run cost so far: 0.5; 0.5 + 0.25.
    assert [(row[7].value, row[8].value) for row in steps] == [("0.5", "0.5"), ("0.25", "0.75")]
    assert "2 parts" in steps[1][1].text
    assert page.values[0] == str(sum(row["cost_usd"] or 0 for row in rows)) == "0.75"
    assert ("span", {"class": "depth depth-1"}) in page.tags
    call = read(dashboard, steps[0][0].links[0])
    assert "0.5" in call.values


def test_the_name_of_a_session_may_have_slashes(dashboard: Dashboard) -> None:
    [link] = next(
        row[0].links for row in read(dashboard, "/runs?kind=session").rows if row and row[0].links
    )
    assert link.startswith("/runs/talk%2F1?kind=session&after=")
    assert "Session talk/1" in read(dashboard, link).text
    # One of its calls has no known cost.
    assert "$0.8500+" in read(dashboard, link).text
    document = dashboard.json("/runs/talk%2F1?kind=session")
    assert (document["run_id"], document["cost_usd"]) == ("talk/1", "0.85")


def test_files_have_the_figures_of_the_page(dashboard: Dashboard) -> None:
    listed = dashboard.get("/runs.csv").body.decode().splitlines()
    assert listed[0].startswith("run_id,started_at,ended_at,duration_seconds,")
    assert [line.split(",")[8] for line in listed[1:]] == ['"0.75"', '"0.1"', '""']
    one = dashboard.get(f"/csv/runs/{HIGH}").body.decode().splitlines()
    assert [line.split(",")[10:12] for line in one[1:]] == [
        ['"0.5"', '"0.5"'],
        ['"0.25"', '"0.75"'],
    ]
    document = dashboard.json("/runs")
    assert [run["cost_usd"] for run in document["runs"]] == ["0.75", "0.1", None]
    assert (document["count"], document["total"]["cost_usd"]) == (3, "0.85")


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/runs/dddd", 404, "no trace id begins with"),
        ("/runs/%00", 400, "invalid trace id"),
        ("/runs?kind=agent", 400, "kind must be one of trace, session"),
        (f"/runs/{HIGH}?after=now&before=1h", 400, "the start must be before the end"),
        (f"/runs/{HIGH}?after=soon", 400, "invalid time"),
    ],
)
def test_an_error_names_what_is_wrong(
    dashboard: Dashboard, path: str, status: int, text: str
) -> None:
    response = dashboard.get(path)
    assert response.status == status
    assert text in PageReader(response.body.decode()).text


def test_an_empty_period_says_what_a_run_is(dashboard: Dashboard) -> None:
    page = read(dashboard, "/runs?month=2019-01")
    assert "No traces in this period." in page.text
