"""Health: the state of the ledger, each part with what to do, and what a user may not see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from support.ledger_rows import ask
from support.page_reader import PageReader, read
from support.page_sql import page_with_answers
from tokenledger_exporter.db.roles import bind_reader, create_roles

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.dashboard import Dashboard

TROUBLE = """
INSERT INTO token_ledger_rejected (event_id, reason, event)
SELECT gen_random_uuid(), 'a count is negative', '{}' FROM generate_series(1, 3);
INSERT INTO token_ledger_losses (reason, records) VALUES ('the disk is full', 7);
INSERT INTO token_ledger_conflicts (event_id, usage_hash, event)
VALUES (gen_random_uuid(), '', '{}');
INSERT INTO token_ledger_dirty_minutes (minute, recorded_at)
VALUES (now() - interval '1 hour', now() - interval '1 hour');
INSERT INTO token_ledger_rollup_dirty_slices (bucket, recorded_at)
VALUES (token_ledger_slice(now() - interval '2 hours'), now() - interval '2 hours');
INSERT INTO token_ledger_audit_log (action, counts)
VALUES ('purge', '{"token_ledger_events": 12}');
"""


def states_of(dashboard: Dashboard) -> dict[str, tuple[str, str]]:
    """The name of each finding -> its state and its sentence."""
    findings = dashboard.json("/ledger")["findings"]
    return {each["name"]: (each["state"], each["detail"]) for each in findings}


def test_a_ledger_that_is_well_says_so(dashboard: Dashboard) -> None:
    page = read(dashboard, "/ledger")
    assert "Nothing needs your attention." in page.text
    assert "3 months" not in page.text  # A month is made for last month, this one and three ahead.
    states = states_of(dashboard)
    assert {state for state, _ in states.values()} == {"ok"}
    assert states["Partitions"][1].startswith("5 months, up to ")
    assert dashboard.json("/ledger")["state"] == "ok"


def test_what_is_wrong_is_counted_and_has_a_remedy(dashboard: Dashboard, filled_url: str) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute(TROUBLE.encode())
    page, answers = page_with_answers(dashboard, "/ledger", filled_url)
    assert "Some things need your attention." in page.text
    states = states_of(dashboard)
    warned = {name: detail for name, (state, detail) in states.items() if state == "warn"}
    assert warned["Quarantine"] == "3 rows could not be stored: 3 x a count is negative"
    assert warned["Losses"] == "7 records of the last 30 days were lost: 7 x the disk is full"
    assert warned["Conflicting reports"].startswith("1 report of calls that the ledger has with")
    assert "the oldest for 60 minutes" in warned["Duplicates"]
    assert "the oldest for 120 minutes: reports are exact but slow" in warned["Sums"]
    assert all(
        each["remedy"] for each in dashboard.json("/ledger")["findings"] if each["state"] == "warn"
    )
    assert "12 events" in page.text
    assert any(row.get("all_records") == 7 for rows in answers for row in rows)
    lines = dashboard.get("/ledger.csv").body.decode().splitlines()
    assert lines[0] == "name,state,detail,remedy"
    assert len(lines) == 1 + len(states)


def test_the_hours_of_the_last_day_have_their_calls(dashboard: Dashboard, filled_url: str) -> None:
    page = read(dashboard, "/ledger")
    hours = [row for row in page.rows if len(row) == 3]
    assert len(hours) == 24
    [(calls,)] = ask(
        filled_url,
        "SELECT count(*) FROM token_ledger_events"
        " WHERE timestamp >= date_trunc('hour', now()) - interval '23 hours'",
    )
    assert sum(int(row[2].text) for row in hours) == calls == 1
    [link] = hours[0][0].links
    assert "gpt-4o" in read(dashboard, link).text


def test_an_empty_ledger_says_how_to_send_a_call(dashboard: Dashboard, filled_url: str) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute("DELETE FROM token_ledger_events")
    page = read(dashboard, "/ledger")
    assert "none yet" in page.text
    assert "there are no calls yet" in page.text
    assert "run 'tokenledger doctor' in the environment of your app" in page.text


def test_a_ledger_without_a_call_for_a_day_is_pointed_out(
    dashboard: Dashboard, filled_url: str
) -> None:
    with psycopg.connect(filled_url) as connection:
        connection.execute(
            "DELETE FROM token_ledger_events WHERE timestamp > now() - interval '1 day'"
        )
    state, detail = states_of(dashboard)["Newest call"]
    assert state == "warn"
    assert detail.endswith("more than a day ago")


def test_a_reader_sees_what_it_may_and_the_rest_is_not_visible(
    opened: Callable[..., Dashboard], filled_url: str
) -> None:
    _, _, reader = create_roles(filled_url, "health")
    with psycopg.connect(filled_url) as connection:
        connection.execute("DROP ROLE IF EXISTS health_looker")
        connection.execute(
            f"CREATE ROLE health_looker LOGIN PASSWORD 'x' IN ROLE {reader}".encode()
        )
    bind_reader(filled_url, "health_looker", (), to_all=True)
    address = filled_url.partition("@")[2]
    dashboard = opened(database_url=f"postgresql://health_looker:x@{address}")
    page = read(dashboard, "/ledger")
    states = states_of(dashboard)
    unknown = {name for name, (state, _) in states.items() if state == "unknown"}
    assert unknown == {"Duplicates", "Quarantine", "Conflicting reports"}
    assert "this database user may not see it" in page.text
    assert "may not read the audit log" in page.text
    assert states["Newest call"][0] == "ok"


@pytest.mark.parametrize("path", ["/ledger", "/runs", "/users", "/calls", "/prices"])
def test_a_database_without_tables_is_an_error_that_says_what_to_do(
    opened: Callable[..., Dashboard], empty_database_url: str, path: str
) -> None:
    dashboard = opened(database_url=empty_database_url)
    response = dashboard.get(path)
    assert response.status == 503
    assert "run 'tokenledger db migrate'" in PageReader(response.body.decode()).text
