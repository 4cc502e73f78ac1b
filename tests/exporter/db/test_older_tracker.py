"""A database of TokenLedger 0.1.1 is migrated whole or not at all, and none of its rows is lost."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from support.ledger_rows import ask
from tokenledger_exporter.db import migrations
from tokenledger_exporter.errors import SchemaError
from tokenledger_exporter.importers.tokenledger_v0 import (
    ImportResult,
    import_notice,
    import_older_rows,
)
from tokenledger_exporter.maintenance.install import install_script, migrate

if TYPE_CHECKING:
    from collections.abc import Callable

# The columns and views of 0.1.1's own migrations (tokenledger 0.1.1 on PyPI, read 2026-11-28).
# Its text defaults contain the quotes.
_TABLE = """
CREATE TABLE {schema}.token_ledger_events (
    event_id uuid PRIMARY KEY, trace_id uuid, span_id uuid, parent_span_id uuid,
    timestamp timestamptz NOT NULL DEFAULT now(), duration_ms float,
    provider varchar(50) NOT NULL, model varchar(100) NOT NULL,
    input_tokens integer NOT NULL DEFAULT 0, output_tokens integer NOT NULL DEFAULT 0,
    total_tokens integer NOT NULL DEFAULT 0, cached_tokens integer DEFAULT 0,
    cost_usd numeric(12, 8), endpoint varchar(255), request_type varchar(50) DEFAULT '''chat''',
    user_id varchar(255), session_id varchar(255), organization_id varchar(255),
    app_name varchar(100), environment varchar(50), status varchar(20) DEFAULT '''success''',
    error_type varchar(100), error_message text, metadata jsonb,
    request_preview text, response_preview text,
    feature varchar(100), page varchar(255), component varchar(100), team varchar(100),
    project varchar(100), cost_center varchar(100), metadata_extra jsonb
);
INSERT INTO {schema}.token_ledger_events (
    event_id, timestamp, provider, model, input_tokens, output_tokens, total_tokens, cost_usd,
    endpoint, request_type, user_id, status, error_type, metadata, feature, page, component,
    metadata_extra
) VALUES (
    '00000000-0000-4000-8000-000000000001', '2026-03-01 12:00+00', 'openai', 'gpt-4o', 1000, 100,
    1100, 0.0035, '/chat', 'chat', 'ann', 'success', NULL, '{{"plan": "pro"}}', 'search',
    '/checkout', 'box', '{{"region": "eu", "plan": "old"}}'
), (
    '00000000-0000-4000-8000-000000000002', '2026-03-02 12:00+00', 'openai',
    'text-embedding-3-small', 5000, 0, 5000, 0.0001, NULL, 'embedding', NULL, 'error',
    'RateLimitError', NULL, NULL, NULL, NULL, NULL
);
INSERT INTO {schema}.token_ledger_events (event_id, timestamp, provider, model)
VALUES ('00000000-0000-4000-8000-000000000003', '2026-03-03 12:00+00', 'openai', 'gpt-4o');
"""
_VIEWS = """
CREATE VIEW token_ledger_daily_costs AS
SELECT date(timestamp) AS date, provider, count(*) AS request_count, sum(cost_usd) AS total_cost
FROM {schema}.token_ledger_events GROUP BY date(timestamp), provider;
CREATE VIEW token_ledger_user_costs AS
SELECT user_id, count(*) AS request_count FROM {schema}.token_ledger_events GROUP BY user_id;
"""
_SUMS = "SELECT sum(request_count)::int, sum(total_cost) FROM token_ledger_daily_costs_v0"
_RELATIONS = """
SELECT relnamespace::regnamespace::text, relname, relkind FROM pg_class
WHERE relname LIKE 'token\\_ledger%' ORDER BY 1, 2
"""


def _run(database_url: str, *statements: str) -> None:
    with psycopg.connect(database_url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def _older_tracker(database_url: str, schema: str) -> None:
    _run(
        database_url,
        f"CREATE SCHEMA IF NOT EXISTS {schema}",
        _TABLE.format(schema=schema),
        _VIEWS.format(schema=schema),
    )


def _notice(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        return import_notice(connection)


def _install_by_script(database_url: str) -> None:
    _run(database_url, install_script())


@pytest.mark.parametrize("install", [migrate, _install_by_script])
@pytest.mark.parametrize("schema", ["public", "token_ledger"])
def test_a_database_of_tokenledger_0_1_1_is_migrated_and_its_rows_are_imported_whole(
    empty_database_url: str, schema: str, install: Callable[[str], object]
) -> None:
    _older_tracker(empty_database_url, schema)
    install(empty_database_url)
    assert migrations.status(empty_database_url).is_current
    assert migrations.status(empty_database_url).older_renamed
    # Saved queries on the old views need a new name, and give what they gave.
    assert ask(empty_database_url, _SUMS) == [(3, Decimal("0.00360000"))]
    notice = _notice(empty_database_url)
    assert notice.endswith("copy its rows into the ledger with 'tokenledger db import-v0'")
    assert ("was renamed" in notice) == (schema == "public")
    assert ("is not changed; the view" in notice) == (schema == "token_ledger")
    assert import_older_rows(empty_database_url) == ImportResult(copied=3, rejected=0)
    assert not _notice(empty_database_url)
    assert import_older_rows(empty_database_url) == ImportResult(copied=0, rejected=0)
    assert ask(
        empty_database_url,
        "SELECT operation, endpoint, status, error_type, metadata, cost_usd, cost_status, user_id,"
        " feature FROM token_ledger_events ORDER BY timestamp",
    ) == [
        (
            *("chat", "/chat", "success", ""),
            {"page": "/checkout", "component": "box", "region": "eu", "plan": "pro"},
            *(Decimal("0.0035"), "priced", "ann", "search"),
        ),
        ("embeddings", "", "error", "RateLimitError", {}, Decimal("0.0001"), "priced", "", ""),
        ("chat", "", "success", "", {}, None, "unpriced", "", ""),
    ]


def test_an_older_app_in_its_own_schema_goes_on_and_its_new_rows_can_be_imported(
    empty_database_url: str,
) -> None:
    _older_tracker(empty_database_url, "token_ledger")
    migrate(empty_database_url)
    import_older_rows(empty_database_url)
    _run(
        empty_database_url,
        "INSERT INTO token_ledger.token_ledger_events (event_id, timestamp, provider, model)"
        " VALUES ('00000000-0000-4000-8000-000000000004', '2026-03-04', 'openai', 'gpt-4o')",
    )
    assert import_older_rows(empty_database_url) == ImportResult(copied=1, rejected=0)


def test_a_migration_that_cannot_end_changes_nothing(empty_database_url: str) -> None:
    _older_tracker(empty_database_url, "public")
    # The last migration but one creates this table.
    _run(empty_database_url, "CREATE TABLE token_ledger_rollup_hours (mine integer)")
    before = ask(empty_database_url, _RELATIONS)
    with pytest.raises(SchemaError, match=r"already exists.*nothing was changed"):
        migrate(empty_database_url)
    assert ask(empty_database_url, _RELATIONS) == before
    _run(empty_database_url, "DROP TABLE token_ledger_rollup_hours")
    assert migrate(empty_database_url).is_current


def test_the_script_runs_twice_and_fits_a_sql_editor(empty_database_url: str) -> None:
    script = install_script()
    # Supabase's editor takes 0.98 MB at most (supabase/supabase#29173, read 2026-11-28).
    assert len(script.encode()) < 980_000
    _run(empty_database_url, script)
    prices = ask(empty_database_url, "SELECT count(*) FROM token_ledger_prices")
    before = ask(empty_database_url, _RELATIONS)
    _run(empty_database_url, script)
    assert ask(empty_database_url, _RELATIONS) == before
    assert ask(empty_database_url, "SELECT count(*) FROM token_ledger_prices") == prices
    assert migrate(empty_database_url).is_current
