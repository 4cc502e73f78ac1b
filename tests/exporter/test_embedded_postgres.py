"""The bundled Postgres starts, is shared, comes back after a kill, and stops with its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from tokenledger_exporter.embedded_postgres import EmbeddedPostgres, temporary_postgres
from tokenledger_exporter.errors import EmbeddedPostgresError

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.integration

HOLD = """
import pathlib, sys
from tokenledger_exporter.embedded_postgres import EmbeddedPostgres
with EmbeddedPostgres(pathlib.Path(sys.argv[1])) as server:
    print(server.database_url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home() -> Generator[Path]:
    """A folder with a blank in its name that the server's user can reach; pytest's are closed."""
    with tempfile.TemporaryDirectory(prefix="embedded postgres ") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "server"


def answer(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert row
    return int(row[0])


def test_data_password_and_address_stay_over_a_restart(home: Path) -> None:
    with EmbeddedPostgres(home) as server:
        first = server.database_url
        with psycopg.connect(first) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS x")
    with EmbeddedPostgres(home) as server:
        assert server.database_url == first
        assert answer(server.database_url) == 1
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(first)


def test_a_running_server_is_shared_and_left_running(home: Path) -> None:
    with EmbeddedPostgres(home) as owner:
        with EmbeddedPostgres(home) as guest:
            assert guest.database_url == owner.database_url
        psycopg.connect(owner.database_url).close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_killed_owner_takes_its_server_along_and_the_next_start_works(home: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    url = owner.stdout.readline().decode().strip()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS x")
    os.kill(owner.pid, signal.SIGKILL)
    owner.communicate()
    with EmbeddedPostgres(home) as server:
        assert answer(server.database_url) == 1


def test_a_throw_away_server_leaves_nothing(tmp_path: Path) -> None:
    with temporary_postgres() as url:
        psycopg.connect(url).close()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another user")
def test_a_folder_the_servers_user_cannot_reach_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(EmbeddedPostgresError, match=r"choose a folder.*chmod o\+x"):
        EmbeddedPostgres(tmp_path / "closed" / "server").start()
