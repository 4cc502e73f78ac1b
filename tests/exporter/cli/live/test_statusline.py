"""`tokenledger statusline` prints one short line, also while the database is away."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import psycopg
import pytest

from support.command_line import fill_ledger, run
from tokenledger_exporter.cli.status_cache import CachedStatus, cache_file, write_status

if TYPE_CHECKING:
    from pathlib import Path

ROWS = """
SELECT token_ledger_add_partitions(
    (date_trunc('month', now(), 'UTC') AT TIME ZONE 'UTC')::date, now()::date
);
INSERT INTO token_ledger_events (timestamp, provider, model, user_id, cost_status, cost_usd)
VALUES
    (now(), 'openai', 'gpt-4o', 'u1', 'priced', 1.234),
    (now(), 'openai', 'gpt-4o', 'u2', 'priced', 0.001),
    (now(), 'openai', 'acme', 'u3', 'unpriced', NULL)
"""
AWAY = "postgresql://u:pw@127.0.0.1:1/x"


@pytest.fixture(autouse=True)
def cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tokenledger"


@pytest.fixture
def ledger_url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    return fill_ledger(database_url, ROWS, monkeypatch)


@pytest.mark.usefixtures("ledger_url")
def test_the_line_has_the_cost_of_today_and_of_the_month() -> None:
    # 1.234 + 0.001 = 1.235: half a cent is rounded to the even digit. One call has no known cost.
    assert run("statusline").stdout == "LLM $1.24+ today, $1.24+ this month\n"
    # A cost below a cent is not 0.
    small = run("statusline", "--where", "user=u2").stdout
    assert small == "LLM <$0.01 today, <$0.01 this month\n"
    assert run("statusline", "--where", "user=u3").stdout == (
        "LLM unknown today, unknown this month\n"
    )
    assert run("statusline", "--where", "user=none").stdout == (
        "LLM $0.00 today, $0.00 this month\n"
    )


def test_the_database_is_asked_again_when_the_line_is_too_old(ledger_url: str) -> None:
    words = ("statusline", "--where", "user=u1")
    first = run(*words).stdout
    assert first == "LLM $1.23 today, $1.23 this month\n"
    with psycopg.connect(ledger_url) as connection:
        connection.execute("UPDATE token_ledger_events SET cost_usd = 5 WHERE user_id = 'u1'")
    assert run(*words).stdout == first
    assert run(*words, "--max-age", "0").stdout == "LLM $5.00 today, $5.00 this month\n"


def test_while_the_database_is_away_the_last_line_says_how_old_it_is() -> None:
    now = time.time()
    today = datetime.fromtimestamp(now, timezone.utc)
    file = cache_file(AWAY, {}, "UTC")
    write_status(file, CachedStatus("$1.00", "$2.00", f"{today:%Y-%m-%d}", now - 60, now - 60))
    for _ in range(2):
        # The second time, the database is not asked again.
        line = run("statusline", "--database-url", AWAY).stdout
        read_at = datetime.fromtimestamp(now - 60, timezone.utc)
        assert line == f"LLM $1.00 today, $2.00 this month (stale, {read_at:%H:%M})\n"
    write_status(file, CachedStatus("$1.00", "$2.00", "2026-01-02", 1767312000.0, 1767312000.0))
    line = run("statusline", "--database-url", AWAY).stdout
    assert line == "LLM $1.00 today, $2.00 this month (stale, 2026-01-02 00:00)\n"


def test_without_a_last_line_the_cost_is_unknown(cache_folder: Path) -> None:
    result = run("statusline", "--database-url", AWAY)
    assert (result.exit_code, result.stdout) == (0, "LLM cost unknown: the database is away\n")
    [file] = cache_folder.iterdir()
    assert file.stat().st_mode & 0o077 == 0
    file.write_text("{broken")
    assert run("statusline", "--database-url", AWAY).exit_code == 0


def test_the_name_of_the_file_does_not_depend_on_a_password() -> None:
    for one, other in (
        ("postgresql://u:one@h/db", "postgresql://u:two@h/db"),
        ("host=h user=u password=one", "host=h user=u password=two"),
        ("postgresql://h/db?user=u&password=one", "postgresql://h/db?user=u&password=two"),
    ):
        assert cache_file(one, {}, "UTC") == cache_file(other, {}, "UTC")
    assert cache_file("postgresql://h/a", {}, "UTC") != cache_file("postgresql://h/b", {}, "UTC")


def test_invalid_arguments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKENLEDGER_DATABASE_URL", raising=False)
    result = run("statusline")
    assert result.exit_code == 2
    assert result.stderr == "tokenledger: no database URL: set TOKENLEDGER_DATABASE_URL\n"


@pytest.mark.usefixtures("ledger_url")
def test_an_unknown_filter_is_refused() -> None:
    assert run("statusline", "--where", "nonsense=1").exit_code == 2
    assert run("statusline", "--timezone", "Mars/Olympus").exit_code == 2
