"""`tokenledger doctor` finds what is wrong, says the remedy, and leaves nothing behind."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import psycopg
from click.testing import CliRunner

from tokenledger_exporter import doctor
from tokenledger_exporter.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def states(database_url: str) -> dict[str, str]:
    return {check.name: check.state for check in doctor.examine(database_url)}


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
    found = {check.name: check for check in doctor.examine(empty_database_url)}
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


def test_an_old_price_book_is_a_warning(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE token_ledger_prices SET checked_on = '2025-01-01'")
    assert states(database_url)["prices"] == "warn"


def test_an_empty_price_book_fails(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM token_ledger_prices")
    assert states(database_url)["prices"] == "fail"
    assert states(database_url)["synthetic span"] == "fail"


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
    found = {check.name: check for check in doctor.examine("postgresql://127.0.0.1:1/x")}
    broken, works = found["instrumentor openai_broken"], found["instrumentor openai_works"]
    assert (broken.state, broken.remedy) == ("warn", "pip uninstall broken-rival")
    assert "cannot be loaded" in broken.detail
    assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=openai_works" in works.remedy
