"""`tokenledger doctor` finds what is wrong, says the remedy, and leaves nothing behind."""

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


def test_a_healthy_set_up_is_ok_throughout(database_url: str) -> None:
    done = CliRunner().invoke(main, ["doctor", "--format", "json", "--database-url", database_url])
    document = json.loads(done.stdout)
    assert document["schema_version"] == 1
    assert {check["state"] for check in document["checks"]} == {"ok"}
    assert done.exit_code == 0
    with psycopg.connect(database_url) as connection:
        left = connection.execute("SELECT count(*) FROM token_ledger_events").fetchone()
    assert left == (0,)


def test_missing_tables_fail_with_their_remedy(empty_database_url: str) -> None:
    found = {check.name: check for check in checks.examine(empty_database_url)}
    assert found["schema"].state == "fail"
    assert found["schema"].remedy == "run 'tokenledger db migrate'"
    assert "synthetic span" not in found


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


def test_an_engine_nobody_ran_the_ledger_on_is_named(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        # The wheel has no Citus: a name in the catalogue is all that doctor looks at.
        connection.execute("SET allow_system_table_mods = on")
        connection.execute(
            "INSERT INTO pg_extension SELECT 99999, 'citus', extowner, extnamespace,"
            " extrelocatable, extversion FROM pg_extension LIMIT 1"
        )
    found = {check.name: check for check in checks.examine(database_url)}["engine"]
    assert found.state == "warn"
    assert found.detail.startswith("Citus: untested")


def test_rows_nobody_settles_are_a_warning(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_dirty_minutes VALUES (now(), now() - interval '6 minutes')"
        )
    assert states(database_url)["settling"] == "warn"
    with psycopg.connect(database_url) as connection:
        deduplicate_marked(connection)
    assert states(database_url)["settling"] == "ok"


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
    ("rights", "detail", "remedy"),
    [
        ("SELECT", "may only read", "use the writer's database user"),
        ("SELECT, INSERT", "may not remove its row", "as a user who may DELETE"),
    ],
    ids=["reader", "writer"],
)
def test_a_user_who_could_not_remove_the_probe_sends_none(
    database_url: str, rights: str, detail: str, remedy: str
) -> None:
    """Roles belong to the whole server, so this one is made and dropped here."""
    user = f"{conninfo_to_dict(database_url)['dbname']}_app"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'canary'".encode())
        grant = f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO {user}"
        connection.execute(grant.encode())
        try:
            found = checks.examine(make_conninfo(database_url, user=user, password="canary"))
            left = connection.execute("SELECT count(*) FROM token_ledger_events").fetchone()
        finally:
            connection.execute(f"DROP OWNED BY {user}; DROP ROLE {user}".encode())
    probe = found[-1]
    assert (probe.name, probe.state) == ("synthetic span", "warn")
    assert detail in probe.detail
    assert remedy in probe.remedy
    assert left == (0,)


@pytest.mark.parametrize(
    ("missing", "state"),
    [
        ((), "ok"),
        (("opentelemetry-instrumentation-celery",), "warn"),
        (("celery", "opentelemetry-instrumentation-celery"), None),
    ],
    ids=["carried", "not-carried", "no-celery"],
)
def test_celery_without_what_carries_attribution_is_named(
    monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], state: str | None
) -> None:
    def version_of(package: str) -> str:
        if package in missing:
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(environment, "version", version_of)
    found = {check.name: check for check in checks.examine("postgresql://127.0.0.1:1/x")}
    check = found.get("celery")
    assert (check.state if check else None) == state
    if state == "warn" and check:
        assert "pip install opentelemetry-instrumentation-celery" in check.remedy
        assert "TOKENLEDGER_TRUST_BAGGAGE" in check.remedy


def test_an_instrumentor_that_cannot_load_or_doubles_spans_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As openai-v2 beside openai 3: the launcher skips it without a word."""
    for name, body in (("broken", "import httpx_that_is_not_there"), ("works", "class I: pass")):
        (tmp_path / f"{name}_rival.py").write_text(body)
        info = tmp_path / f"{name}_rival-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-rival\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            f"[opentelemetry_instrumentor]\nopenai_{name} = {name}_rival:I\n"
        )
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    found = {check.name: check for check in checks.examine("postgresql://127.0.0.1:1/x")}
    broken, works = found["instrumentor openai_broken"], found["instrumentor openai_works"]
    assert (broken.state, broken.remedy) == ("warn", "pip uninstall broken-rival")
    assert "cannot be loaded" in broken.detail
    assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=openai_works" in works.remedy
