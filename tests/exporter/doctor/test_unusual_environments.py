"""Unusual database settings and time zones, passwords on a command line, shared folders."""

from __future__ import annotations

import asyncio
import gzip
import importlib.util
import os
import socket
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from psycopg import sql

from support.ledger_rows import ask, chat_attributes, row
from tokenledger_exporter.cli import main
from tokenledger_exporter.cli.group import without_password
from tokenledger_exporter.db.connection import areading, connect
from tokenledger_exporter.maintenance.maintaining_writer import MaintainingWriter
from tokenledger_exporter.maintenance.purge import purge
from tokenledger_exporter.maintenance.retention import run_retention, set_retention, show_retention
from tokenledger_exporter.queries import TokenLedgerQueries
from tokenledger_semconv import attributes

UNUSUAL_SETTINGS = (
    {"DateStyle": "German"},
    {"IntervalStyle": "iso_8601"},
    {"TimeZone": "Asia/Kathmandu"},
    {"bytea_output": "escape"},
    {"standard_conforming_strings": "off"},
    {"default_transaction_isolation": "serializable"},
    {"DateStyle": "German", "IntervalStyle": "postgres_verbose", "TimeZone": "America/St_Johns"},
)


@pytest.mark.parametrize("settings", UNUSUAL_SETTINGS, ids=str)
def test_every_command_works_on_a_database_with_unusual_settings(
    empty_database_url: str, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", empty_database_url)
    name = empty_database_url.rpartition("/")[2]
    with psycopg.connect(empty_database_url) as connection:
        for setting, value in settings.items():
            change = sql.SQL("ALTER DATABASE {} SET {} = {}")
            names = (sql.Identifier(name), sql.Identifier(setting), sql.Literal(value))
            connection.execute(change.format(*names))
    assert CliRunner().invoke(main, ["db", "migrate"]).exit_code == 0
    writer = MaintainingWriter(empty_database_url)
    one = row(chat_attributes() | {attributes.USER_ID: "it's ann \\ \u00e9"})
    writer.write([one])
    writer.refresh_rollups()
    writer.close()
    for words in (
        ["db", "status"],
        ["prices", "show", "openai", "gpt-4o"],
        ["prices", "list", "--provider", "openai", "--format", "json"],
        ["report", "--by", "day,user", "--timezone", "Europe/Berlin"],
        ["explain", str(one.event_id)],
        ["retention", "set", "--keep", "13mo"],
        ["retention", "run"],
        ["keep"],
        ["reprice", "--since", "7d"],
        ["doctor", "--verify-rollups"],
    ):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, (words, result.output, result.exception)
    doctor = CliRunner().invoke(main, ["doctor"])
    assert "fail" not in {line.split(" ")[0] for line in doctor.stdout.splitlines()}, doctor.output
    retention = show_retention(empty_database_url)
    assert retention is not None
    assert retention.keep == "13 months"
    style, interval, zone = asyncio.run(_settings(empty_database_url))
    assert (style, interval, zone in {"UTC", "Etc/UTC"}) == ("ISO", "postgres", True)
    [event] = TokenLedgerQueries(empty_database_url).fetch_raw().events
    assert (event.user_id, event.timestamp) == ("it's ann \\ \u00e9", one.timestamp)
    assert purge(empty_database_url, user="it's ann \\ \u00e9").events == 1


async def _settings(url: str) -> tuple[str, str, str]:
    async with areading(url) as connection:
        style, interval, zone = (
            (connection.pgconn.parameter_status(name) or b"").decode()
            for name in (b"DateStyle", b"IntervalStyle", b"TimeZone")
        )
        return style.partition(",")[0], interval, zone


def test_a_connection_with_usual_settings_costs_no_round_trip(database_url: str) -> None:
    """The connection's last query is empty, so nothing was sent on it."""
    name = database_url.rpartition("/")[2]
    with psycopg.connect(database_url) as connection:
        connection.execute(f"ALTER DATABASE \"{name}\" SET TimeZone = 'UTC'".encode())
    with connect(database_url) as connection, psycopg.connect(database_url) as other:
        last = "SELECT query FROM pg_stat_activity WHERE pid = %s"
        pid = connection.info.backend_pid
        assert other.execute(last, (pid,)).fetchall() == [("",)]
        level = connection.execute("SELECT current_setting('transaction_isolation')").fetchall()
        assert level == [("read committed",)]


@pytest.mark.parametrize(
    "zone", ["posix/UTC", "right/UTC", "posixrules", "Factory", "Nowhere/At_all"]
)
def test_a_zone_unknown_to_python_or_postgres_is_named(database_url: str, zone: str) -> None:
    words = ["report", "--by", "day", "--timezone", zone, "--database-url", database_url]
    result = CliRunner().invoke(main, words)
    assert result.exit_code in {0, 2}, result.output
    assert result.exit_code == 0 or zone in result.stderr


def test_a_password_is_removed_from_the_command_line() -> None:
    url = "postgresql://me:canary@db/ledger"
    for option in (["--database-url", url], [f"--database-url={url}"]):
        words = ["python", "tokenledger", "report", *option, "--by", "user"]
        assert without_password(words) == (url, ["python", "tokenledger", "report", "--by", "user"])
    for url in ("postgresql://me@db/ledger", "host=db user=me", "not a url"):
        words = ["tokenledger", "--database-url", url, "--database-url"]
        assert without_password(words) == ("", words)
    conninfo = "host=db password=canary"
    assert without_password(["x", "--database-url", conninfo]) == (conninfo, ["x"])


@pytest.mark.skipif(
    not Path("/proc/self/cmdline").exists(), reason="reads the kernel's list of processes"
)
def test_the_process_list_does_not_contain_a_password() -> None:
    """The database does not answer, so the process runs long enough to be inspected."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        url = f"postgresql://me:canary@127.0.0.1:{port}/db"
        code = "from tokenledger_exporter.cli import start; start()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, "report", "--database-url", url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            server.settimeout(30)
            connection, _ = server.accept()
            command_line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            connection.close()
            assert b"report" in command_line
            assert b"canary" not in command_line
        finally:
            process.kill()
            process.communicate()


def _missing(_name: str) -> None:
    """Stands in for `find_spec` where no optional package is installed."""


def test_only_the_owner_can_read_an_archive_from_its_first_byte(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", _missing)
    old = datetime.now(timezone.utc) - timedelta(days=200)
    writer = MaintainingWriter(database_url)
    writer.write([replace(row(), timestamp=old)])
    writer.close()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    leaf = f"token_ledger_events_{old:%Y_%m}"
    # The archive's final path, and the path of its temporary file.
    (folder / f"{leaf}.csv.gz").symlink_to(victim)
    (folder / f".{leaf}.csv.gz.{os.getpid()}").symlink_to(victim)
    modes: list[int] = []
    encode = gzip.GzipFile.write

    def write_and_record_modes(file: gzip.GzipFile, data: bytes) -> int:
        modes.extend(
            path.stat().st_mode & 0o777 for path in folder.iterdir() if not path.is_symlink()
        )
        return encode(file, data)

    monkeypatch.setattr(gzip.GzipFile, "write", write_and_record_modes)
    umask = os.umask(0)
    try:
        set_retention(database_url, "2mo", str(folder))
        [month] = run_retention(database_url)
    finally:
        os.umask(umask)
    assert set(modes) == {0o600}
    assert month.archived_to is not None
    assert month.archived_to == folder / f"{leaf}-2.csv.gz"
    assert month.archived_to.stat().st_mode & 0o777 == 0o600
    assert victim.read_text() == "mine"
    assert ask(database_url, "SELECT count(*) FROM token_ledger_events") == [(0,)]
