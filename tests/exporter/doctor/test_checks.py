"""`tokenledger doctor` reports problems with their remedies and leaves no rows behind."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tokenledger_exporter.cli import main
from tokenledger_exporter.doctor import checks, environment
from tokenledger_exporter.maintenance.deduplicate import deduplicate_marked

if TYPE_CHECKING:
    from pathlib import Path


def states(database_url: str) -> dict[str, str]:
    return {check.name: check.state for check in checks.examine(database_url)}


def test_every_check_of_a_healthy_setup_is_ok(database_url: str) -> None:
    result = CliRunner().invoke(
        main, ["doctor", "--format", "json", "--database-url", database_url]
    )
    document = json.loads(result.stdout)
    assert document["schema_version"] == 1
    assert {check["state"] for check in document["checks"]} == {"ok"}
    assert result.exit_code == 0
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT count(*) FROM token_ledger_events").fetchone()
    assert rows == (0,)


def test_missing_tables_fail_with_their_remedy(empty_database_url: str) -> None:
    results = {check.name: check for check in checks.examine(empty_database_url)}
    assert results["schema"].state == "fail"
    assert results["schema"].remedy == "run 'tokenledger db migrate'"
    assert "synthetic span" not in results


def test_a_spool_that_cannot_be_written_fails(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("TOKENLEDGER_SPOOL_DIR", str(blocked))
    assert states(database_url)["spool"] == "fail"


def test_known_losses_are_a_warning(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO token_ledger_losses (reason, records) VALUES ('x', 3)")
    assert states(database_url)["losses"] == "warn"


def test_the_losses_of_tenants_are_counted(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_losses (reason, records, organization_id)"
            " VALUES ('x', 1, 'acme')"
        )
    results = {check.name: check for check in checks.examine(database_url)}
    assert results["losses"].state == "warn"
    assert results["losses"].detail == "1 record of a tenant was lost"


def test_an_untested_engine_is_a_warning(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        # Citus is not in the wheel; doctor only looks at the name in the catalog.
        connection.execute("SET allow_system_table_mods = on")
        connection.execute(
            "INSERT INTO pg_extension SELECT 99999, 'citus', extowner, extnamespace,"
            " extrelocatable, extversion FROM pg_extension LIMIT 1"
        )
    engine = {check.name: check for check in checks.examine(database_url)}["engine"]
    assert engine.state == "warn"
    assert engine.detail.startswith("Citus: not tested")


def test_overdue_deduplication_is_a_warning(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_dirty_minutes VALUES (now(), now() - interval '6 minutes')"
        )
    assert states(database_url)["deduplication"] == "warn"
    with psycopg.connect(database_url) as connection:
        deduplicate_marked(connection)
    assert states(database_url)["deduplication"] == "ok"


def test_an_old_price_book_is_a_warning(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE token_ledger_prices SET checked_on = '2025-01-01'")
    assert states(database_url)["prices"] == "warn"


def test_an_empty_price_book_fails(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM token_ledger_prices")
    assert states(database_url)["prices"] == "fail"
    assert states(database_url)["synthetic span"] == "fail"


@pytest.mark.parametrize(
    ("rights", "state", "detail", "remedy"),
    [
        ("SELECT", "warn", "may not INSERT", "as the app's database user"),
        ("SELECT, INSERT", "ok", "could not delete the test row; run doctor once as", ""),
    ],
    ids=["reader", "writer"],
)
def test_no_test_span_is_sent_as_a_user_who_could_not_delete_its_row(
    database_url: str, rights: str, state: str, detail: str, remedy: str
) -> None:
    """Roles belong to the whole server, so this test creates and drops its own."""
    user = f"{conninfo_to_dict(database_url)['dbname']}_app"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'canary'".encode())
        grant = f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO {user}"
        connection.execute(grant.encode())
        try:
            results = checks.examine(make_conninfo(database_url, user=user, password="canary"))
            rows = connection.execute("SELECT count(*) FROM token_ledger_events").fetchone()
        finally:
            connection.execute(f"DROP OWNED BY {user}; DROP ROLE {user}".encode())
    probe = results[-1]
    assert (probe.name, probe.state) == ("synthetic span", state)
    assert detail in probe.detail
    assert remedy in probe.remedy
    assert rows == (0,)


@pytest.mark.parametrize(
    ("missing", "state"),
    [
        ((), "ok"),
        (("opentelemetry-instrumentation-celery",), "warn"),
        (("celery", "opentelemetry-instrumentation-celery"), None),
    ],
    ids=["instrumented", "not instrumented", "no celery"],
)
def test_celery_without_its_instrumentation_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], state: str | None
) -> None:
    def version_of(package: str) -> str:
        if package in missing:
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(environment, "version", version_of)
    results = {check.name: check for check in checks.examine("postgresql://127.0.0.1:1/x")}
    check = results.get("celery")
    assert (check.state if check else None) == state
    if state == "warn" and check:
        assert "pip install opentelemetry-instrumentation-celery" in check.remedy
        assert "TOKENLEDGER_TRUST_BAGGAGE" in check.remedy


def test_an_instrumentor_that_cannot_load_or_doubles_spans_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like openai-v2 with openai 3: OpenTelemetry's launcher skips it without a message."""
    for name, body in (("broken", "import httpx_that_is_not_there"), ("works", "class I: pass")):
        (tmp_path / f"{name}_other.py").write_text(body)
        info = tmp_path / f"{name}_other-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-other\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            f"[opentelemetry_instrumentor]\nopenai_{name} = {name}_other:I\n"
        )
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    results = {check.name: check for check in checks.examine("postgresql://127.0.0.1:1/x")}
    broken, works = results["instrumentor openai_broken"], results["instrumentor openai_works"]
    assert (broken.state, broken.remedy) == ("warn", "pip uninstall broken-other")
    assert "cannot be loaded" in broken.detail
    assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=openai_works" in works.remedy
