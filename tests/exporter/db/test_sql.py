"""Every statement has a comment, Postgres prepares it, and hot ones equal their snapshots."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta, timezone
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from psycopg import sql

from tokenledger_exporter.queries import paging, report, summaries
from tokenledger_exporter.queries.over_time import trends
from tokenledger_exporter.queries.report import ReportRequest
from tokenledger_exporter.rollups import columns
from tokenledger_exporter.sql import fragment, migration_files, statements
from tokenledger_exporter.store import duplicates
from tokenledger_semconv.dimensions import ROLLUP_DIMENSIONS

if TYPE_CHECKING:
    from tokenledger_exporter.db.steps import Steps

FILES: Final = sorted(
    entry.name.removesuffix(".sql")
    for entry in files("tokenledger_exporter.sql").iterdir()
    if entry.name.endswith(".sql")
)
STATEMENTS: Final = [(file, name) for file in FILES for name in statements(file)]
SNAPSHOTS: Final = Path(__file__).with_name("sql_snapshots")
UPDATE: Final = "TOKENLEDGER_TEST_UPDATE_SNAPSHOTS"

# First words of a complete statement. Any other text is a part of statements.
WHOLE: Final = (
    *("SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "COPY", "SET", "LOCK", "DO", "GRANT"),
    *("CREATE", "ALTER", "DROP"),
)


def part(file: str, name: str) -> str:
    PARTS_USED.add((file, name))
    return fragment(statements(file)[name])


PARTS_USED: Final[set[tuple[str, str]]] = set()
SUMS: Final[dict[str, str]] = {
    **columns.SUM_EXPRESSIONS,
    **columns.over_calls(),
    "subtracted": columns.listed("{name} = stored.{name} - removed.{name}"),
    "level": "token_ledger_rollup_hours",
    "where": "AND hours.dimension = 'team'",
    "other_level": part("rollups_refresh", "add_to_slices")
    + ",\n"
    + part("rollups_refresh", "add_to_weeks"),
    "dimension": "'team'",
    "value": "team",
    "sets": "(bucket, team, provider, model)",
}
ROLES: Final = {
    **{role: f"tokenledger_{role}" for role in ("writer", "keeper", "reader")},
    **{f"{role}_name": f"'tokenledger_{role}'" for role in ("writer", "keeper", "reader")},
    "name": "'tokenledger_x'",
    "role": "tokenledger_x",
    "schema": "public",
    "schema_name": "'public'",
}


def query_braces(of: str) -> dict[str, str]:
    """Braces of the queries' statements, for rows or for sums."""
    having = part("queries", "having_of_sums") if of == "sums" else ""
    calls = "calls_of_rows" if of == "rows" else "calls_of_sums"
    return {
        "calls": part("queries", calls),
        **{
            name: part("queries", f"{name}_of_{of}")
            for name in ("figures", "states", "failures", "call_count")
        },
        "having": having,
        "dimension": "'team'",
        "largest_bucket": "'day'",
        "column": "team",
        "columns": "provider, model",
        "labels": "provider AS label_0,",
        "groups": "provider",
        "where": "AND team = ANY('{}'::text[])",
        "order": "cost_usd",
        "limit": "1",
        "context": part("queries", "context"),
        "metrics": part("queries", "metrics"),
        "grouping": part("queries", "grouping"),
        "bounds": " ".join(
            part("queries", name) for name in ("page_since", "page_until", "page_after")
        ),
    }


def measure_braces(of: str) -> dict[str, str]:
    """Braces of the measures' statements, for rows or for sums."""
    return {
        **query_braces(of),
        "level": "GROUPING(provider)",
        "order": "count(*) DESC",
        "milliseconds": "duration_ms",
        "grouping": part("measures", "grouping"),
    }


def list_braces(of: str, position: str, rank: str = "cost_rank") -> dict[str, str]:
    """Braces of the lists' statements, for rows or for sums."""
    rank = part("lists", rank)
    return {
        **query_braces(of),
        "position": part("lists", position),
        "errors": part("lists", f"errors_of_{of}"),
        "sums": part("queries", "figures_of_sums"),
        "states_of_sums": part("queries", "states_of_sums"),
        "column": "team",
        "direction": "DESC",
        "rank": rank,
        "ranking": f"{rank} DESC," if "{rank}" in part("lists", position) else "",
    }


# Values for the braces of each file's statements, in all variants.
BRACES: Final[dict[str, list[dict[str, str]]]] = {
    "queries": [query_braces("rows"), query_braces("sums")],
    "queries.report_of_top_users": [query_braces("sums")],
    "queries.aggregate": [
        {**query_braces(source), "grouping": part("queries", "aggregate_grouping")}
        for source in ("rows", "sums")
    ],
    "queries.cached_by_sheet": [{**query_braces("rows"), "groups": "provider,"}],
    "measures": [measure_braces("rows")],
    "measures.errors": [measure_braces("rows"), measure_braces("sums")],
    "why": [query_braces("rows"), query_braces("sums")],
    "live": [{**query_braces("rows"), "column": "session_id"}],
    "lists": [list_braces("rows", "older_than"), list_braces("sums", "newer_than")],
    "lists.calls_page": [
        list_braces("rows", "older_than"),
        list_braces("rows", "newer_than"),
        *(
            list_braces("rows", f"ranked_{side}", f"{order}_rank")
            for side in ("after", "before")
            for order in ("cost", "duration")
        ),
    ],
    "rollups_refresh": [SUMS],
    "rollups_verify": [{**SUMS, "both_sides": part("rollups_verify", "both_sides")}],
    "roles": [ROLES],
    "readers": [ROLES],
    "store": [{"leaf": "token_ledger_events", "columns": "event_id, user_id"}],
    "retention": [{"leaf": "token_ledger_events", "columns": "event_id, user_id"}],
    "reprice": [{"columns": "provider, model"}],
    "deduplicate": [
        {
            "columns": "event_id",
            "events_columns": "events.event_id",
            "assignments": "team = merged.team",
            "arrays": "NULL::text[]",
            "names": "team",
        }
    ],
    "budgets": [
        {"value": "user_id", "has_value": "true", "where": "", "moment": "%(since)s::timestamptz"}
    ],
    "prices": [
        {
            "sheets": "(0, 'id', 'p', 'm', 'm', 1, 't', NULL, NULL, NULL, NULL, '', NULL)",
            "rates": "(0, 'input', 0, 1, 1)",
            "where": "AND team = ANY('{}'::text[])",
        }
    ],
    "purge": [
        {
            "events": part("purge", "events_condition"),
            "event": part("purge", "event_condition"),
            "where": "",
            "table": "token_ledger_rejected",
            "columns": part("purge", "remains_in_column"),
            "column": "team",
            "place": "team",
        }
    ],
}
# Parts that are not a brace by themselves.
OTHER_PARTS: Final = {
    ("queries", "calls_of_all_sums"),
    ("queries", "order_by_tokens"),
    ("rollups_refresh", "figures_of_calls"),
    ("rollups_refresh", "summed_calls"),
}
# Tables that other statements create.
TABLES: Final = """
CREATE TABLE token_ledger_events_v0 (LIKE token_ledger_events);
CREATE TEMPORARY TABLE token_ledger_prices_staged (LIKE token_ledger_prices);
"""


def is_whole(file: str, name: str) -> bool:
    is_part = (file, name) in PARTS_USED | OTHER_PARTS
    return not is_part and fragment(statements(file)[name]).startswith(WHOLE)


def variants(file: str, name: str) -> list[dict[str, str]]:
    known = BRACES.get(f"{file}.{name}") or BRACES.get(file, [{}])
    # A statement that names its table only reads rows.
    every = f"{file}.{name}" in BRACES or "{calls}" in statements(file)[name]
    return known if every else known[:1]


def filled(text: str, braces: dict[str, str]) -> str:
    while brace := re.search(r"\{([a-z_]+)\}", text):
        text = text.replace(brace[0], braces[brace[1]])
    return text


def numbered(text: str) -> bytes:
    """The statement with numbered parameters, as the server expects them."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
    for number, name in enumerate(names, 1):
        text = text.replace(f"%({name})s", f"${number}")
    return text.replace("%%", "%").encode()


@pytest.mark.parametrize(("file", "name"), STATEMENTS, ids=str)
def test_a_statement_starts_with_a_comment(file: str, name: str) -> None:
    assert re.match(r"-- [A-Z].*[.:]\n|-- [A-Z]", statements(file)[name])


def test_postgres_prepares_every_statement(database_url: str) -> None:
    prepared = 0
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(TABLES)
        for file, name in STATEMENTS:
            if not is_whole(file, name):
                assert (file, name) in PARTS_USED | OTHER_PARTS, "no statement uses this part"
                continue
            for braces in variants(file, name):
                text = filled(statements(file)[name], braces)
                result = connection.pgconn.prepare(b"", numbered(text))
                status = psycopg.pq.ExecStatus(result.status)
                assert status == psycopg.pq.ExecStatus.COMMAND_OK, (
                    f"{file}.{name}: {result.error_message.decode()}\n{text}"
                )
                prepared += 1
    assert prepared > len(STATEMENTS) / 2


def test_the_braces_and_parts_of_this_file_are_up_to_date() -> None:
    for key, variants in BRACES.items():
        file, _, name = key.partition(".")
        assert name in {"", *statements(file)}
        used = {
            brace
            for text in statements(file).values()
            for brace in re.findall(r"\{([a-z_]+)\}", text)
        }
        for braces in variants:
            assert not used - braces.keys(), key
    for file, name in PARTS_USED | OTHER_PARTS:
        assert name in statements(file)


def test_every_view_can_be_read(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        views = connection.execute("SELECT viewname FROM pg_views WHERE schemaname = 'public'")
        names = [name for (name,) in views]
        assert len(names) == 16
        for name in names:
            connection.execute(f"SELECT * FROM {name}".encode())


def test_migrations_run_in_the_order_of_their_names() -> None:
    assert list(migration_files()) == sorted(migration_files())
    assert all(re.match(r"\d{4}_[a-z_]+$", name) for name in migration_files())


def test_the_sums_of_calls_include_every_rolled_up_dimension(database_url: str) -> None:
    """The function lists the columns itself; a new dimension needs a migration."""
    with psycopg.connect(database_url) as connection:
        for dimension in ROLLUP_DIMENSIONS:
            connection.execute("DELETE FROM token_ledger_events")
            insert = sql.SQL(
                "INSERT INTO token_ledger_events (provider, model, {}) VALUES ('p', 'm', 'this')"
            )
            connection.execute(insert.format(sql.Identifier(dimension.column)))
            values = connection.execute(
                sql.SQL(
                    "SELECT value, sum(calls) FROM token_ledger_sums({}, 'day', '-infinity', "
                    "'infinity') GROUP BY value HAVING sum(calls) <> 0"
                ).format(sql.Literal(dimension.name))
            ).fetchall()
            assert values == [("this", 1)], dimension.name


NOW: Final = datetime.now(timezone.utc)


def report_request(*by: str, **more: Any) -> ReportRequest:  # noqa: ANN401 - fields of ReportRequest
    return ReportRequest(by, NOW - timedelta(days=30), NOW, **more)


def first(plan: Steps[Any]) -> str:
    """The first statement of a query, with the names of its parameters."""
    statement = next(plan).statement
    return statement.decode() if isinstance(statement, bytes) else statement.as_string(None)


HOT: Final = {
    "report_by_team": lambda: first(report.report_steps(report_request("team"))),
    "report_by_day_and_model": lambda: first(report.report_steps(report_request("day", "model"))),
    "report_of_top_users": lambda: first(report.report_steps(report_request("user", limit=100))),
    "report_by_session_of_a_team": lambda: first(
        report.report_steps(report_request("session", where={"team": "ml"}))
    ),
    "report_as_of": lambda: first(report.report_steps(report_request("team", as_of=NOW))),
    "daily_trend": lambda: first(trends.daily_steps(30, "UTC", None)),
    "error_rate": lambda: first(summaries.errors_steps(report_request())),
    "page_of_calls": lambda: first(paging.page_steps(paging.CallFilter(NOW), 100, None)),
    "refresh_slices": lambda: columns.recompute_statement("slices").as_string(None),
    "find_duplicates": lambda: duplicates.rows_statement(
        statements("deduplicate")["related"]
    ).as_string(None),
}


@pytest.mark.parametrize("name", HOT)
def test_a_hot_statement_equals_its_snapshot(name: str) -> None:
    """TOKENLEDGER_TEST_UPDATE_SNAPSHOTS=1 rewrites the snapshots."""
    statement = HOT[name]().rstrip() + "\n"
    file = SNAPSHOTS / f"{name}.sql"
    if os.environ.get(UPDATE):
        file.write_text(statement, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == statement, f"run again with {UPDATE}=1 and review"


def test_every_snapshot_belongs_to_a_statement() -> None:
    assert {file.stem for file in SNAPSHOTS.iterdir()} == HOT.keys()
