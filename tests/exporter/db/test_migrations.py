"""Migrations create the schema, refuse what they cannot update, and never change once released."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from decimal import Decimal
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import psycopg
import pytest
from click.testing import CliRunner

from support.ledger_rows import ask, row
from tokenledger_exporter.cli.main import main
from tokenledger_exporter.db import migrations
from tokenledger_exporter.embedded.binaries import reachable_programs
from tokenledger_exporter.errors import SchemaError
from tokenledger_exporter.importers.tokenledger_v0 import ImportResult, import_older_rows
from tokenledger_exporter.maintenance.install import install_script, migrate
from tokenledger_exporter.pricing.catalog import genai_prices
from tokenledger_exporter.store.writer import BatchWriter

CHECKSUMS: Final = Path(__file__).with_name("migration_checksums.txt")

# The table of TokenLedger 0.1's quick start, with two rows.
OLDER_TABLE = """
CREATE TABLE token_ledger_events (
    event_id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    timestamp TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    provider VARCHAR(50) NOT NULL,
    model VARCHAR(100) NOT NULL,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    total_tokens INTEGER NOT NULL DEFAULT 0,
    cost_usd DECIMAL(12, 8),
    user_id VARCHAR(255),
    metadata JSONB
);
INSERT INTO token_ledger_events (timestamp, provider, model, cost_usd, user_id, metadata) VALUES
    ('2025-03-01', 'openai', 'gpt-4o', 1.25, 'u1', '{"feature": "chat"}'),
    ('2025-04-01', 'anthropic', 'claude-3-opus', -0.5, NULL, NULL);
"""


def run(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(statement.encode())


def test_an_empty_database_is_migrated_once(empty_database_url: str) -> None:
    assert not migrations.status(empty_database_url).is_current
    first = migrate(empty_database_url)
    again = migrate(empty_database_url)
    assert first.is_current
    assert first.applied == again.applied


def test_concurrent_migrations_are_safe(empty_database_url: str) -> None:
    outcomes: list[bool] = []

    def migrate_once() -> None:
        outcomes.append(migrate(empty_database_url).is_current)

    threads = [threading.Thread(target=migrate_once) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [True, True, True]


def test_the_script_for_a_sql_editor_gives_the_same_schema(
    empty_database_url: str, database_url: str
) -> None:
    run(empty_database_url, install_script())
    assert migrations.status(empty_database_url).sentence.startswith("up to date")
    tables = """
        SELECT table_name, column_name, data_type FROM information_schema.columns
        WHERE table_schema = 'public' ORDER BY 1, 2
    """
    assert ask(empty_database_url, tables) == ask(database_url, tables)
    known = "SELECT count(*) FROM token_ledger_prices WHERE provider IN ('openai', 'anthropic')"
    assert ask(empty_database_url, known) == ask(database_url, known)


def test_the_table_of_tokenledger_0_1_is_renamed_and_can_be_imported(
    empty_database_url: str,
) -> None:
    run(empty_database_url, OLDER_TABLE)
    assert "the table of TokenLedger 0.1" in migrations.status(empty_database_url).sentence
    assert migrate(empty_database_url).older_renamed
    assert ask(empty_database_url, "SELECT count(*) FROM token_ledger_events_v0") == [(2,)]
    assert ask(empty_database_url, "SELECT count(*) FROM token_ledger_events") == [(0,)]
    assert import_older_rows(empty_database_url) == ImportResult(copied=2, rejected=0)
    assert import_older_rows(empty_database_url) == ImportResult(copied=0, rejected=0)
    rows = ask(
        empty_database_url,
        "SELECT provider, cost_usd, cost_status, user_id, feature FROM token_ledger_events "
        "ORDER BY timestamp",
    )
    assert rows == [
        ("openai", Decimal("1.25"), "priced", "u1", "chat"),
        ("anthropic", None, "unpriced", "", ""),
    ]


# Values that TokenLedger 0.1 could store and the ledger cannot.
BAD_ROWS = """
ALTER TABLE token_ledger_events_v0 ALTER COLUMN cost_usd TYPE numeric;
INSERT INTO token_ledger_events_v0 (timestamp, provider, model, cost_usd, input_tokens) VALUES
    ('2025-05-01', 'openai', 'not a number', 'NaN', 1),
    ('2025-05-02', 'openai', 'infinite', 'Infinity', 1),
    ('2025-05-03', 'openai', 'negative count', 1, -7),
    ('2025-07-31 23:30:00-05', 'openai', 'August in UTC', 1, 1),
    ('infinity', 'openai', 'never', 1, 1),
    ('-infinity', 'openai', 'never', 1, 1),
    ('0044-03-15 BC', 'openai', 'Ides', 1, 1),
    ('1970-01-01', 'openai', 'epoch', 1, 1),
    ('20251-01-01', 'openai', 'a typo', 1, 1),
    (now() + interval '3 days', 'openai', 'tomorrow', 1, 1);
ALTER TABLE token_ledger_events_v0 ALTER COLUMN user_id TYPE text;
INSERT INTO token_ledger_events_v0 (timestamp, provider, model, user_id)
SELECT '2025-05-04', 'openai', 'no index takes this user', string_agg(md5(n::text), '')
FROM generate_series(1, 500) AS n;
"""


def test_an_invalid_row_does_not_stop_the_import_of_others(empty_database_url: str) -> None:
    run(empty_database_url, OLDER_TABLE)
    migrate(empty_database_url)
    run(empty_database_url, BAD_ROWS)
    assert import_older_rows(empty_database_url) == ImportResult(copied=7, rejected=6)
    assert import_older_rows(empty_database_url) == ImportResult(copied=0, rejected=0)
    rows = ask(
        empty_database_url,
        "SELECT model, cost_usd, cost_status, input_tokens FROM token_ledger_events "
        "WHERE timestamp > '2025-04-15' ORDER BY timestamp",
    )
    assert rows == [
        ("not a number", None, "unpriced", 1),
        ("infinite", None, "unpriced", 1),
        ("negative count", Decimal(1), "priced", None),
        ("no index takes this user", None, "unpriced", 0),
        ("August in UTC", Decimal(1), "priced", 1),
    ]
    rejected = "SELECT event ->> 'model' FROM token_ledger_rejected WHERE reason LIKE '%outside%'"
    names = sorted(name for (name,) in ask(empty_database_url, rejected))
    assert names == ["Ides", "a typo", "epoch", "never", "never", "tomorrow"]


def test_an_import_creates_only_partitions_that_have_rows(empty_database_url: str) -> None:
    run(empty_database_url, OLDER_TABLE)
    migrate(empty_database_url)
    run(empty_database_url, BAD_ROWS)
    import_older_rows(empty_database_url)
    months = """
        SELECT relname FROM pg_class
        WHERE relispartition AND relkind = 'r' AND relname < 'token_ledger_events_2026' ORDER BY 1
    """
    assert [name[-7:] for (name,) in ask(empty_database_url, months)] == [
        "2025_03",
        "2025_04",
        "2025_05",
        "2025_08",
    ]


def test_a_ledger_with_rows_gets_a_later_migration(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(empty_database_url)
    run(
        empty_database_url,
        "INSERT INTO token_ledger_events (provider, model, cost_status, cost_usd) "
        "VALUES ('openai', 'gpt-4o', 'priced', 0.1)",
    )
    later = migrations.Migration(
        "9999_later", "ALTER TABLE token_ledger_events ADD COLUMN later text", "checksum"
    )
    known = (*migrations.known_migrations(), later)
    for module in ("db.migrations", "maintenance.install"):
        monkeypatch.setattr(f"tokenledger_exporter.{module}.known_migrations", lambda: known)
    assert migrations.status(empty_database_url).missing == ("9999_later",)
    assert migrate(empty_database_url).is_current
    rows = ask(empty_database_url, "SELECT cost_usd, later FROM token_ledger_events")
    assert rows == [(Decimal("0.1"), None)]


# A ledger of an unreleased version: other migrations and other table names.
UNRELEASED = """
DELETE FROM token_ledger_migrations;
INSERT INTO token_ledger_migrations VALUES
    ('00.01.00_01_pre_create_ledger', '0123456789abcdef'),
    ('00.01.00_31_pre_lock_rows', '0123456789abcdef');
ALTER TABLE token_ledger_dirty_minutes RENAME TO token_ledger_marks;
ALTER TABLE token_ledger_audit_log RENAME TO token_ledger_acts;
DROP VIEW token_ledger_user_costs;
SELECT token_ledger_add_partitions('2026-02-01', '2026-02-01');
INSERT INTO token_ledger_events (timestamp, provider, model, user_id, cost_status, cost_usd) VALUES
    ('2026-02-03', 'openai', 'gpt-4o', 'ada', 'priced', 0.25);
"""
EVERYTHING = """
SELECT 'relation', relname::text FROM pg_class WHERE relname LIKE 'token\\_ledger\\_%'
UNION ALL SELECT 'function', oid::regprocedure::text FROM pg_proc
    WHERE proname LIKE 'token\\_ledger\\_%'
UNION ALL SELECT 'migration', name FROM token_ledger_migrations
UNION ALL SELECT 'call', event_id::text FROM token_ledger_events
UNION ALL SELECT 'price', count(*)::text FROM token_ledger_prices
ORDER BY 1, 2
"""
REFUSAL = "made by an unreleased version.*Export its calls, migrate an empty database, and import"


def test_a_ledger_of_an_unreleased_version_is_refused_and_not_changed(database_url: str) -> None:
    run(database_url, UNRELEASED)
    before = ask(database_url, EVERYTHING)
    assert ("migration", "00.01.00_01_pre_create_ledger") in before
    with pytest.raises(SchemaError, match=REFUSAL):
        migrate(database_url)
    done = CliRunner().invoke(main, ["db", "migrate", "--database-url", database_url])
    assert done.exit_code != 0
    assert re.search(REFUSAL, done.stderr)
    done = CliRunner().invoke(main, ["db", "status", "--database-url", database_url])
    assert done.exit_code != 0
    assert re.search(REFUSAL, done.stderr)
    with pytest.raises(SchemaError, match=REFUSAL):
        BatchWriter(database_url).write([row()])
    with pytest.raises(psycopg.errors.RaiseException, match="already holds a ledger"):
        run(database_url, install_script())
    assert ask(database_url, EVERYTHING) == before


def test_calls_of_an_unreleased_version_are_imported_as_the_docs_say(
    database_url: str, migrated_copy: str
) -> None:
    run(database_url, UNRELEASED)
    page = Path("docs/operations/postgres.md").read_text(encoding="utf-8")
    [script] = re.findall(r"```bash[^\n]*needs two ledgers[^\n]*\n(.*?)```", page, re.DOTALL)
    path = f"{reachable_programs(Path(mkdtemp()))}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", script],
        env={**os.environ, "PATH": path, "OLD": database_url, "NEW": migrated_copy},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    calls = "SELECT user_id, cost_usd FROM token_ledger_user_costs"
    assert ask(migrated_copy, calls) == [("ada", Decimal("0.25"))]


def test_migrations_are_append_only() -> None:
    """A released file never changes; the list has a line for each."""
    lines = CHECKSUMS.read_text(encoding="ascii").splitlines()
    listed = dict(line.split() for line in lines)
    actual = {migration.name: migration.checksum for migration in migrations.known_migrations()}
    for name, checksum in listed.items():
        assert actual.get(name) == checksum, f"{name}: migrations are append-only; add a new file"
    assert list(actual) == list(listed), f"add to {CHECKSUMS.name}: " + ", ".join(
        f"{name} {actual[name]}" for name in actual.keys() - listed.keys()
    )


def test_an_import_without_the_old_table_is_refused(database_url: str) -> None:
    with pytest.raises(SchemaError, match="token_ledger_events_v0 does not exist"):
        import_older_rows(database_url)


def test_a_table_that_was_renamed_before_is_never_overwritten(empty_database_url: str) -> None:
    run(empty_database_url, OLDER_TABLE)
    run(empty_database_url, "CREATE TABLE token_ledger_events_v0 (kept integer)")
    with pytest.raises(SchemaError, match="already taken"):
        migrate(empty_database_url)
    assert ask(empty_database_url, "SELECT count(*) FROM token_ledger_events") == [(2,)]


def test_a_newer_schema_is_refused(database_url: str) -> None:
    run(database_url, "INSERT INTO token_ledger_migrations VALUES ('9999_x', 'y')")
    with pytest.raises(SchemaError, match="newer than this release"):
        migrate(database_url)


def test_a_changed_migration_is_refused(database_url: str) -> None:
    run(database_url, "UPDATE token_ledger_migrations SET checksum = 'other'")
    with pytest.raises(SchemaError, match="applied with different content"):
        migrate(database_url)


def test_every_table_view_and_column_has_a_comment(database_url: str) -> None:
    unexplained = """
        SELECT c.relname, a.attname
        FROM pg_class AS c
        INNER JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum >= 0 AND NOT a.attisdropped
        WHERE c.relname LIKE 'token\\_ledger\\_%' AND c.relkind IN ('p', 'r', 'v')
            AND NOT c.relispartition AND c.relname <> 'token_ledger_migrations'
            AND col_description(c.oid, a.attnum) IS NULL
    """
    assert ask(database_url, unexplained) == []


def test_a_row_inserted_by_hand_needs_only_provider_model_and_tokens(database_url: str) -> None:
    run(
        database_url,
        "INSERT INTO token_ledger_events (provider, model, input_tokens, output_tokens) "
        "VALUES ('openai', 'gpt-4o', 10, 20)",
    )
    assert ask(database_url, "SELECT calls, unpriced FROM token_ledger_coverage") == [(1, 1)]


@pytest.mark.parametrize(
    "values",
    [
        "'priced', NULL",
        "'unpriced', 1",
        "'priced', 'NaN'",
        "'priced', 'Infinity'",
        "'priced', -1",
        "'free', 0",
    ],
)
def test_a_cost_that_contradicts_its_status_is_refused(database_url: str, values: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        run(
            database_url,
            "INSERT INTO token_ledger_events (provider, model, cost_status, cost_usd) "
            f"VALUES ('openai', 'gpt-4o', {values})",
        )


def test_a_view_has_no_figure_where_no_call_has_a_known_cost(database_url: str) -> None:
    run(
        database_url,
        "INSERT INTO token_ledger_events "
        "(provider, model, cost_status, cost_usd, user_id, response_id) VALUES "
        "('openai', 'gpt-4o', 'priced', 0.1, 'u1', 'a'), "
        "('openai', 'acme', 'unpriced', NULL, 'u1', 'b'), "
        "('openai', 'acme', 'unmeasured', NULL, 'u2', 'b'), "
        "('openai', 'free', 'priced', 0, 'u3', 'c')",
    )
    costs = "SELECT user_id, cost_usd, calls_without_cost FROM token_ledger_user_costs ORDER BY 1"
    assert ask(database_url, costs) == [
        ("u1", Decimal("0.1"), 1),
        ("u2", None, 1),
        ("u3", Decimal(0), 0),
    ]
    for name in ("daily", "model"):
        unknown = f"SELECT cost_usd FROM token_ledger_{name}_costs WHERE model = 'acme'"
        assert ask(database_url, unknown) == [(None,)]
    assert ask(database_url, "SELECT cost_usd FROM token_ledger_suspected_duplicates") == [(None,)]
    options = "SELECT DISTINCT reloptions FROM pg_class WHERE relname LIKE 'token_ledger_%_costs'"
    assert ask(database_url, options) == [(["security_invoker=true"],)]


def test_views_of_every_dimension_sum_to_the_ledger(database_url: str) -> None:
    run(
        database_url,
        "INSERT INTO token_ledger_events (provider, model, cost_status, cost_usd, user_id) VALUES "
        "('openai', 'gpt-4o', 'priced', 0.1, 'u1'), ('openai', 'gpt-4o', 'priced', 0.2, 'u2')",
    )
    names = ("daily", "user", "model", "feature", "team", "project", "cost_center", "agent")
    for name in (*names, "endpoint", "organization"):
        view = f"SELECT sum(cost_usd), sum(calls) FROM token_ledger_{name}_costs"
        assert ask(database_url, view) == [(Decimal("0.3"), 2)], name


def test_the_migration_of_reported_costs_keeps_grants_and_counts_earlier_calls(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role may do after it what it might before, and a call that differs is summed again."""
    known = migrations.known_migrations()
    before = tuple(each for each in known if each.name < "0008")
    role = f"reports_{os.getpid()}"
    with monkeypatch.context() as patch:
        for module in ("db.migrations", "maintenance.install"):
            patch.setattr(f"tokenledger_exporter.{module}.known_migrations", lambda: before)
        # This release's prices need a later migration.
        patch.setattr(genai_prices, "import_package_prices", bool)
        migrate(empty_database_url)
    sums = "token_ledger_sums(text, text, timestamptz, timestamptz)"
    run(
        empty_database_url,
        f"CREATE ROLE {role}; REVOKE ALL ON FUNCTION {sums} FROM PUBLIC;"
        f"GRANT EXECUTE ON FUNCTION {sums} TO {role};"
        f"GRANT SELECT ON token_ledger_prices, token_ledger_coverage TO {role};"
        "INSERT INTO token_ledger_events"
        " (timestamp, provider, model, cost_status, cost_usd, reported_cost_usd) VALUES"
        " ('2026-11-01Z', 'openrouter', 'a', 'priced', 0.0002, 0.0161),"
        " ('2026-11-02Z', 'openrouter', 'a', 'priced', 0.0002, 0.0002);"
        "DELETE FROM token_ledger_rollup_dirty_slices",
    )
    migrate(empty_database_url)
    marks = "SELECT bucket = '2026-11-01Z' FROM token_ledger_rollup_dirty_slices"
    assert ask(empty_database_url, marks) == [(True,)]
    run(empty_database_url, "UPDATE token_ledger_events SET settled = true")
    coverage = "SELECT sum(priced), sum(reported), sum(cost_differs) FROM token_ledger_coverage"
    assert ask(empty_database_url, coverage) == [(2, 0, 1)]
    rights = (
        f"SELECT has_function_privilege('{role}', '{sums}', 'EXECUTE'),"
        f" has_function_privilege('public', '{sums}', 'EXECUTE'),"
        f" has_table_privilege('{role}', 'token_ledger_coverage', 'SELECT'),"
        f" has_table_privilege('{role}', 'token_ledger_cost_differences', 'SELECT'),"
        f" has_table_privilege('{role}', 'token_ledger_reported_cost_providers', 'SELECT'),"
        f" has_table_privilege('{role}', 'token_ledger_reported_cost_providers', 'INSERT')"
    )
    answers = ask(empty_database_url, rights)
    run(empty_database_url, f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert answers == [(True, False, True, True, True, False)]
