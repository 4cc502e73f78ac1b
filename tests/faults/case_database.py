"""What a database does to its clients: refuses, hangs, restarts, fails over, is full or crowded."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from faults.proxy import Fault
from faults.registry import SkippedError, case
from support.ports import free_port
from tokenledger_exporter.db.connection import session
from tokenledger_exporter.doctor.database import pooler
from tokenledger_exporter.maintenance.install import migrate

if TYPE_CHECKING:
    from collections.abc import Generator

    from faults.world import World

# The writer gives up an answer that does not come; the rig does not wait as long as an app would.
_ANSWER_SECONDS = 1.0


def _rate(world: World) -> float:
    """Calls a second, so that the fault comes in the middle of them."""
    return max(200.0, world.calls / 10)


def _outage(world: World, fault: Fault, seconds: float, per_second: float = 100.0) -> None:
    """Calls go on at a steady rate, before, during and after."""
    world.proxy.prove(fault)
    calls = max(min(world.calls, 1_000), round(per_second * (seconds + (5 if world.whole else 1))))
    child = world.start(
        "spans",
        {"TOKENLEDGER_CIRCUIT_BREAKER_TIMEOUT": "1"},
        calls=calls,
        per_second=per_second,
        flush=30.0,
        answer_seconds=_ANSWER_SECONDS,
    )
    world.until(lambda: world.rows() > 0 or world.made() > 50, "the first rows arrive")
    world.proxy.become(fault)
    before = _resident_kib(child.pid)
    time.sleep(seconds)
    grown = _resident_kib(child.pid) - before
    world.notes.append(f"memory grew {grown / 1024:.1f} MiB")
    assert grown < 32 * 1024
    world.proxy.become(Fault.NONE)
    world.end(child)


def _resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


@case("database refuses 30 s (short: 1 s)")
def refuses(world: World) -> None:
    _outage(world, Fault.REFUSE, 30 if world.whole else 1)


@case("database refuses 5 min at 100/s", whole_only=True)
def refuses_long(world: World) -> None:
    _outage(world, Fault.REFUSE, 300)


@case("database hangs 30 s (short: 1 s)")
def hangs(world: World) -> None:
    _outage(world, Fault.HANG, 30 if world.whole else 1)


@case("database blackholed 30 s (short: 1 s)")
def blackholed(world: World) -> None:
    _outage(world, Fault.BLACKHOLE, 30 if world.whole else 1)


@case("database answers very slowly")
def drips(world: World) -> None:
    _outage(world, Fault.DRIP, 10 if world.whole else 1)


def _cut(world: World, fault: Fault) -> None:
    world.proxy.prove(fault)
    environment = {"TOKENLEDGER_RETRY_BACKOFF_BASE": "0.1"}
    child = world.start("until_killed", environment, threads=1)
    for _ in range(3):
        before = world.proxy.times_cut
        world.proxy.become(fault)
        world.until(partial(_is_cut_since, world, before), "a commit is cut")
        world.proxy.become(Fault.NONE)
        time.sleep(0.1)
    world.until(lambda: world.made() >= world.calls, "the calls are made")
    child.terminate()
    world.end(child)


def _is_cut_since(world: World, before: int) -> bool:
    return world.proxy.times_cut > before


@case("connection cut before COMMIT")
def cut_before(world: World) -> None:
    _cut(world, Fault.CUT_BEFORE_COMMIT)


@case("connection cut during COMMIT")
def cut_during(world: World) -> None:
    _cut(world, Fault.CUT_DURING_COMMIT)


@case("connection cut after COMMIT")
def cut_after(world: World) -> None:
    _cut(world, Fault.CUT_AFTER_COMMIT)


@case("crash and recovery of the database during COMMIT")
def crash(world: World) -> None:
    """A killed session makes Postgres end all others and recover from its log."""
    child = world.start("spans", calls=world.calls, per_second=_rate(world), flush=30.0)
    world.until(lambda: world.rows() > 0, "the first rows arrive")
    with psycopg.connect(world.url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'tokenledger'"
        ).fetchone()
    assert found is not None
    os.kill(int(found[0]), signal.SIGKILL)
    world.until(lambda: _connects(world.url), "the database is back")
    world.end(child)


@case("sessions ended by the database during COMMIT")
def restart(world: World) -> None:
    """Every session of the ledger is ended by the server, as a restart does, again and again."""
    child = world.start("spans", calls=world.calls, per_second=_rate(world), flush=30.0)
    for _ in range(5):
        with psycopg.connect(world.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'tokenledger'"
            )
        time.sleep(0.2)
    world.end(child)


@case("failover to a server that is read-only at first")
def failover(world: World) -> None:
    child = world.start("spans", calls=world.calls, per_second=_rate(world), flush=30.0)
    world.until(lambda: world.made() > 20, "calls are made")
    _set(world, "default_transaction_read_only", "on")
    world.proxy.cut()
    time.sleep(1.0)
    _set(world, "default_transaction_read_only", "off")
    world.end(child)


def _set(world: World, name: str, value: str) -> None:
    database = sql.Identifier(str(conninfo_to_dict(world.url)["dbname"]))
    alter_database = sql.SQL("ALTER DATABASE {} SET {} = {}")
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(
            alter_database.format(database, sql.Identifier(name), sql.Literal(value))
        )


@case("too many connections")
def crowded(world: World) -> None:
    database = sql.Identifier(str(conninfo_to_dict(world.url)["dbname"]))
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 0").format(database))
        # Only a user who is no superuser is held to it, so sessions are taken for real as well.
        with contextlib.ExitStack() as crowd:
            with contextlib.suppress(psycopg.OperationalError):
                for _ in range(100):
                    crowd.enter_context(psycopg.connect(world.url))
            child = world.start("spans", calls=world.calls, per_second=_rate(world), flush=30.0)
            time.sleep(1.0)
        connection.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT -1").format(database))
    world.end(child)


@case("deadlock with another writer")
def deadlock(world: World) -> None:
    """Another session locks what the writer locks, in the other order."""
    child = world.start("spans", calls=world.calls, per_second=_rate(world), flush=30.0)
    stop = threading.Event()
    seen = 0

    def rival() -> None:
        nonlocal seen
        while not stop.is_set():
            with contextlib.suppress(psycopg.Error), psycopg.connect(world.url) as connection:
                try:
                    connection.execute("LOCK TABLE token_ledger_dirty_minutes IN EXCLUSIVE MODE")
                    time.sleep(0.05)
                    connection.execute("LOCK TABLE token_ledger_events IN EXCLUSIVE MODE")
                except psycopg.errors.DeadlockDetected:
                    seen += 1

    thread = threading.Thread(target=rival)
    thread.start()
    time.sleep(1.0)
    stop.set()
    thread.join()
    world.end(child)


@case("a migration meanwhile")
def migration(world: World) -> None:
    """The ledger is made only after the calls were, and while more are."""
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    child = world.start("spans", calls=world.calls, per_second=_rate(world), flush=30.0)
    world.until(lambda: world.made() > 20, "calls are made")
    migrate(world.url)
    world.end(child)


@case("database disk full")
def database_full(world: World) -> None:
    """What Postgres does when its disk is full, raised where it would be, for a second."""
    with psycopg.connect(world.url, autocommit=True) as connection:
        # Where the writer's locks and these cross, the writer gives way: it tries again.
        connection.execute("SET deadlock_timeout = '1min'")
        connection.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
        )
        connection.execute(
            "CREATE TRIGGER full_disk BEFORE INSERT ON token_ledger_events"
            " FOR EACH ROW EXECUTE FUNCTION full_disk()"
        )
        child = world.start("spans", calls=world.calls, per_second=_rate(world), flush=30.0)
        time.sleep(1.0)
        assert world.rows() == 0
        connection.execute("DROP TRIGGER full_disk ON token_ledger_events")
    world.end(child)


@case("pgbouncer in transaction mode, and its restart")
def pooled(world: World) -> None:
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        raise SkippedError("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    with _pgbouncer(world, program) as (url, restart_it):
        environment = {"TOKENLEDGER_DATABASE_URL": url}
        children = [
            world.start(
                "spans", environment, calls=world.calls // 3, per_second=_rate(world), flush=30.0
            )
            for _ in range(3)
        ]
        world.until(lambda: world.made() > 50, "calls are made")
        with session(url) as connection:
            assert "in front of the database" in pooler(connection).detail
        restart_it()
        for child in children:
            world.end(child)
        # A pooler is another address, and so another ledger to the spool.
        world.recover(url)


@contextmanager
def _pgbouncer(world: World, program: str) -> Generator[tuple[str, Any]]:
    parameters = {key: str(value) for key, value in conninfo_to_dict(world.proxy.url).items()}
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="faults-pgbouncer-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        users = folder / "users.txt"
        users.write_text(f'"{parameters["user"]}" "{parameters.get("password", "")}"\n')
        config = folder / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n* = host=127.0.0.1 port={parameters['port']}\n[pgbouncer]\n"
            f"listen_addr=127.0.0.1\nlisten_port={port}\nauth_type=plain\nauth_file={users}\n"
            "pool_mode=transaction\ndefault_pool_size=2\nunix_socket_dir=\n"
            "ignore_startup_parameters=extra_float_digits,options\n"
        )
        command = [program, "-q", "-u", "nobody", str(config)]
        running = [subprocess.Popen(command)]
        url = make_conninfo(world.url, host="127.0.0.1", port=port, sslmode="disable")

        def restart_it() -> None:
            running[0].kill()
            running[0].wait()
            time.sleep(0.5)
            running[0] = subprocess.Popen(command)

        try:
            world.until(lambda: _connects(url), "pgbouncer answers")
            yield url, restart_it
        finally:
            running[0].kill()
            running[0].wait()


def _connects(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
