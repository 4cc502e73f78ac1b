"""Runs cases, each in a world of its own, and prints what became of the calls."""

from __future__ import annotations

import random
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from faults import (
    case_database,
    case_disk,
    case_failover,
    case_greenlets,
    case_load,
    case_processes,
    case_random,
    case_servers,
)
from faults.proxy import Fault, Proxy
from faults.registry import CASES, SkippedError
from faults.world import Tally, World
from tokenledger_exporter.embedded.postgres import temporary_postgres
from tokenledger_exporter.maintenance.install import migrate

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "Outcome",
    "case_database",
    "case_disk",
    "case_failover",
    "case_greenlets",
    "case_load",
    "case_processes",
    "case_random",
    "case_servers",
]

_SERVER: Final = {"max_connections": "60", "deadlock_timeout": "200ms"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case ended; `skipped` says why it did not run, `failed` what else went wrong."""

    name: str
    tally: Tally
    seconds: float
    notes: str
    skipped: str = ""
    failed: str = ""

    @property
    def is_good(self) -> bool:
        """Whether every call is there, and once."""
        return not (self.tally.lost or self.tally.twice or self.failed)


@contextmanager
def server() -> Generator[str]:
    """A Postgres of the rig's own, with a migrated template; durable, as a real one is."""
    with temporary_postgres(_SERVER) as url:
        migrate(_create(url, "template_ledger", "template1"))
        yield url


def run_case(url: str, name: str, *, calls: int, seed: int, whole: bool) -> Outcome:
    """Run one case against its own database, and count."""
    begun, failed = time.monotonic(), ""
    # Drawn from name and seed, so that a case alone fails as it failed among the others.
    dice = random.Random(f"{seed} {name}")  # noqa: S311
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        database = _create(url, f"case_{time.monotonic_ns()}", "template_ledger")
        with Proxy(database) as proxy, ExitStack() as outliving:
            world = World(database, proxy, Path(folder), calls, dice, whole, outliving)
            try:
                CASES[name](world)
            except SkippedError as error:
                return Outcome(name, Tally(0, 0, 0, 0), 0.0, "", str(error))
            except Exception as error:  # noqa: BLE001 - its calls are counted all the same
                failed = f"{type(error).__name__}: {error}"
            proxy.become(Fault.NONE)
            world.recover()
            tally = world.tally()
        _run(url, sql.SQL("DROP DATABASE {} WITH (FORCE)"), database.rpartition("/")[2])
    took = time.monotonic() - begun
    return Outcome(name, tally, took, "; ".join(world.notes), failed=failed)


def _create(url: str, name: str, template: str) -> str:
    _run(url, sql.SQL("CREATE DATABASE {} TEMPLATE {}"), name, template)
    return url.rpartition("/")[0] + f"/{name}"


def _run(url: str, statement: sql.SQL, *names: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.format(*map(sql.Identifier, names)))
