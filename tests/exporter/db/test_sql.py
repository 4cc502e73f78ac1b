"""Every statement is explained in words, and understood by a real Postgres."""

from __future__ import annotations

import re

import psycopg
import pytest

from tokenledger_exporter.sql import migration_files, statements

FILES = (
    "schema",
    "prices",
    "write",
    "read",
    "older_table",
    "repricing",
    "keep",
    "answers",
    "purge",
    "rollups",
    "rolled_up",
    "rollup_check",
    "binding",
    "surroundings",
)
STATEMENTS = [(file, name) for file in FILES for name in statements(file)]
# What the reader and the writer put into a statement's braces, from their fixed lists.
BRACES = {
    "{leaf}": "token_ledger_events",
    "{columns}": "event_id",
    "{labels}": "provider AS label_0,",
    "{grouping}": "GROUP BY provider",
    "{groups}": "provider",
    "{events_columns}": "events.event_id",
    "{assignments}": "team = wanted.team",
    "{arrays}": "NULL::text[]",
    "{names}": "team",
    "{where}": "AND team = ANY('{}'::text[])",
    "{order}": "cost_usd",
    "{states}": "count(*) AS priced",
    "{figures}": "count(*) AS calls",
    "{metrics}": "count(*) AS sum_input",
    "{after}": "",
    "{limit}": "1",
    "{events}": "true",
    "{event}": "true",
    "{table}": "token_ledger_rejected",
    "{calls}": "token_ledger_events WHERE true",
    "{failures}": "count(*) AS calls",
    "{beside}": "0 AS lost",
    "{having}": "HAVING count(*) <> 0",
    "{counted}": "count(*)",
    "{level}": "token_ledger_rollup_hours",
    "{dimension}": "'team'",
    "{value}": "team",
    "{keys}": "provider,",
    "{sets}": "(bucket, team, provider, model)",
    "{sums}": "sum(calls)",
    "{zeros}": "0",
    "{since}": "now()",
    "{until}": "now()",
}
# Fragments of another statement, and what EXPLAIN does not take; other tests run them.
NOT_EXPLAINABLE = (
    *("grouping", "insert_rows", "copy_", "stage", "create_history", "bound_"),
    *("states", "figures", "metrics", "after", "by_groups", "stretch", "event_stretch"),
    *("hold_still", "detach", "remove_month", "copy_month", "close_to_api", "act_as"),
)
# The same, by the whole name; the sums a roll-up is made of are run with every refresh.
FRAGMENTS = {
    *("calls", "failures", "told", "counted", "having"),
    *(
        "told_twice",
        "report_of_most",
        "one_of_chosen",
        "beside",
        "hour_of_a_call",
        "any_hour",
        "errors_of_calls",
        "errors_unasked",
    ),
    *("of_days", "of_hours", "of_calls", "off_slices", "off_hours", "recompute", "compare"),
    *("of_weeks", "beside_weeks", "off_weeks", "add_to_slices", "add_to_weeks"),
    *("close_days", "compare_weeks", "remake_week", "figures_of_calls", "summed_calls"),
    *("page_since", "page_until"),
    *("rename_user", "count_let_go", "forget_let_go", "room", "keep_plans"),
    *("remains", "remains_in_column"),
}
OLDER = "CREATE TABLE token_ledger_events_v0 (LIKE token_ledger_events)"
STAGED = "CREATE TEMPORARY TABLE token_ledger_prices_staged (LIKE token_ledger_prices)"


@pytest.mark.parametrize(("file", "name"), STATEMENTS, ids=str)
def test_a_statement_opens_with_a_line_that_says_what_it_is_for(file: str, name: str) -> None:
    assert statements(file)[name].startswith("-- ")


def test_postgres_understands_every_statement(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(OLDER)
        connection.execute(STAGED)
        for file, name in STATEMENTS:
            if file == "roles":
                continue
            if name in FRAGMENTS:
                continue
            if name.startswith(NOT_EXPLAINABLE) and (file, name) != ("older_table", "copy_rows"):
                continue
            text = re.sub(r"%\(\w+\)s", "NULL", statements(file)[name])
            for brace, column in BRACES.items():
                text = text.replace(brace, column)
            plan = connection.execute(f"EXPLAIN {text}".encode()).fetchall()
            assert plan, (file, name)


def test_every_view_can_be_read(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        views = connection.execute("SELECT viewname FROM pg_views WHERE schemaname = 'public'")
        names = [name for (name,) in views]
        assert len(names) == 14
        for name in names:
            connection.execute(f"SELECT * FROM {name}".encode())


def test_migrations_run_in_the_order_of_their_names() -> None:
    assert list(migration_files()) == sorted(migration_files())
    assert all(
        re.match(r"\d\d\.\d\d\.\d\d_\d\d_(pre|post)_\w+$", name) for name in migration_files()
    )
