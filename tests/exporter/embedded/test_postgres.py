"""The embedded Postgres starts, is shared, recovers after a kill, and stops with its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

import psycopg
import pytest

from tokenledger_exporter.embedded import postgres
from tokenledger_exporter.embedded.postgres import EmbeddedPostgres, temporary_postgres
from tokenledger_exporter.errors import EmbeddedPostgresError

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.integration

HOLD = """
import pathlib, sys
from tokenledger_exporter.embedded.postgres import EmbeddedPostgres
with EmbeddedPostgres(pathlib.Path(sys.argv[1])) as server:
    print(server.database_url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home() -> Generator[Path]:
    """A folder with a space in its name that the server's user can access, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="embedded postgres ") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "server"


def hold(home: Path) -> subprocess.Popen[str]:
    """Another process that uses the server until its standard input is closed."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def first_line(stream: IO[str] | None) -> str:
    """The next line of another process; "" once it has ended."""
    assert stream is not None
    return stream.readline().strip()


def answer(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM persistent").fetchone()
    assert row
    return int(row[0])


def test_data_password_and_address_stay_over_a_restart(home: Path) -> None:
    with EmbeddedPostgres(home) as server:
        first = server.database_url
        with psycopg.connect(first) as connection:
            connection.execute("CREATE TABLE persistent AS SELECT 1 AS x")
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


def test_the_owner_of_the_server_waits_for_its_other_users(home: Path) -> None:
    owner = hold(home)
    url = first_line(owner.stdout)
    with EmbeddedPostgres(home) as guest:
        assert owner.stdin is not None
        owner.stdin.close()
        assert "waiting for them" in first_line(owner.stderr)
        assert guest.database_url == url
        psycopg.connect(url).close()
    assert owner.wait(30) == 0
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    for stream in (owner.stdout, owner.stderr):
        assert stream is not None
        stream.close()


def test_the_wait_for_other_users_ends(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_USERS_SECONDS", 0.0)
    owner, guest = EmbeddedPostgres(home), EmbeddedPostgres(home)
    owner.start()
    guest.start()
    owner.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(guest.database_url)
    guest.stop()
    with owner:
        psycopg.connect(owner.database_url).close()


def test_two_processes_that_start_at_the_same_time_share_one_server(home: Path) -> None:
    both = [hold(home), hold(home)]
    urls = [first_line(process.stdout) for process in both]
    assert urls[0] == urls[1] != ""
    # End both before waiting for either, because the owner waits for the other.
    for process in both:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    ended = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_the_server_ends_with_a_killed_owner_and_the_next_start_works(home: Path) -> None:
    owner = hold(home)
    url = first_line(owner.stdout)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE persistent AS SELECT 1 AS x")
    os.kill(owner.pid, signal.SIGKILL)
    owner.communicate()
    with EmbeddedPostgres(home) as server:
        assert answer(server.database_url) == 1


def test_a_temporary_server_leaves_no_files(tmp_path: Path) -> None:
    with temporary_postgres() as url:
        psycopg.connect(url).close()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another user")
def test_a_folder_that_the_servers_user_cannot_access_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(EmbeddedPostgresError, match=r"choose a folder.*chmod o\+x"):
        EmbeddedPostgres(tmp_path / "closed" / "server").start()
