"""Shown SQL runs in psql unchanged and gives the figures of the report."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
from decimal import Decimal
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.rows import dict_row

from support.ledger_rows import ask
from tokenledger_exporter.cli.main import main
from tokenledger_exporter.embedded.binaries import reachable_programs
from tokenledger_exporter.queries import AsyncTokenLedgerQueries, TokenLedgerQueries
from tokenledger_exporter.rollups import refresh

# Some calls are rolled up, some are not. Values contain a percent sign and a quote.
CALLS = """
INSERT INTO token_ledger_events (
    timestamp, provider, model, user_id, team, session_id, input_tokens, cost_usd, cost_status,
    metadata
)
SELECT
    now() - number * interval '%s minutes', 'openai', 'm' || number %% 2, 'u' || number %% 5,
    'it''s 100%%' || number %% 3, 's' || number %% 7, number, number * 0.01, 'priced',
    jsonb_build_object('tier', 't' || number %% 2)
FROM generate_series(0, %s) AS number
"""


@pytest.fixture
def ledger(database_url: str) -> str:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute((CALLS % (61, 200)).encode())
        refresh.refresh(connection)
        connection.execute((CALLS % (7, 20)).encode())
    return database_url


def run(ledger: str, *words: str) -> str:
    done = CliRunner().invoke(main, [*words, "--database-url", ledger])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def rows_of_psql(ledger: str, statement: str) -> list[dict[str, str]]:
    program = reachable_programs(Path(mkdtemp())) / "psql"
    done = subprocess.run(
        [program, "-X", "--csv", "-v", "ON_ERROR_STOP=1", ledger],
        input=statement,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


@pytest.mark.parametrize(
    "words",
    [
        ("--by", "team"),
        ("--by", "provider,model"),
        ("--by", "user", "--limit", "3"),
        ("--by", "user,team"),
        ("--by", "session", "--where", "team=it's 100%1"),
        ("--by", "metadata.tier"),
        ("--by", "day", "--timezone", "Europe/Berlin"),
        ("--by", "team", "--as-of", "now"),
    ],
    ids=" ".join,
)
def test_a_reports_sql_gives_its_figures_in_psql(ledger: str, words: tuple[str, ...]) -> None:
    report = json.loads(run(ledger, "report", *words, "--format", "json"))
    first, *_ = run(ledger, "report", *words, "--show-sql").split(";\n")
    rows = [row for row in rows_of_psql(ledger, f"{first};") if row.get("is_total") != "t"]
    shown = [(row["label_0"], Decimal(row["cost_usd"]), int(row["calls"])) for row in rows]
    by = words[1].split(",")
    reported = [(row[by[0]], Decimal(row["cost_usd"]), row["calls"]) for row in report["rows"]]
    assert shown == reported
    assert shown


def test_every_shown_statement_runs_without_parameters(ledger: str) -> None:
    [(event_id,)] = ask(ledger, "SELECT event_id FROM token_ledger_events LIMIT 1")
    for words in (
        ("report", "--by", "team", "--compare"),
        ("report", "--by", "team", "--as-if", "openai/gpt-4o"),
        ("explain", str(event_id)),
    ):
        shown = run(ledger, *words, "--show-sql")
        assert shown.endswith(";\n")
        with psycopg.connect(ledger) as connection:
            connection.execute(shown.encode())


def test_both_clients_show_the_sql_of_their_queries(ledger: str) -> None:
    def figures(statements: list[str]) -> list[dict[str, Any]]:
        with psycopg.connect(ledger) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            return cursor.execute(statements[0].encode()).fetchall()

    async def costs() -> tuple[list[str], Decimal]:
        queries = AsyncTokenLedgerQueries(ledger)
        with queries.show_sql() as statements:
            report = await queries.get_costs_by("team")
        await queries.get_costs_by("model")
        return statements, report.rows[0].cost_usd

    queries = TokenLedgerQueries(ledger)
    with queries.show_sql() as statements:
        report = queries.get_costs_by("team")
    queries.get_costs_by("model")
    assert len(statements) == 1, "only those of the block"
    assert figures(statements)[0]["cost_usd"] == report.rows[0].cost_usd
    statements, cost_usd = asyncio.run(costs())
    assert figures(statements)[0]["cost_usd"] == cost_usd
    assert "FROM token_ledger_sums('team', 'week'," in statements[0]
