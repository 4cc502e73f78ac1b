"""Simulates the crash of a Postgres server: all of its processes are killed."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final

from support.ledger_rows import ask

if TYPE_CHECKING:
    from tokenledger_exporter.embedded.postgres import EmbeddedPostgres

_PROCESSES: Final = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"


def crash(server: EmbeddedPostgres) -> None:
    """Kill the server; changes that were not written to its log are lost, as in a real crash."""
    processes = ask(server.database_url, _PROCESSES)
    postmaster = int((server.home / "data" / "postmaster.pid").read_text().split()[0])
    for pid in (postmaster, *(int(pid) for (pid,) in processes)):
        os.kill(pid, signal.SIGKILL)
    server.stop()
