"""The embedded Postgres of this process, for a script or notebook without a database.

It ends with the process. The command line uses the same data, so `tokenledger report` in a terminal
shows what a notebook recorded. A web server or a worker must not start a database: its other
processes would depend on the one that did.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from tokenledger_exporter.embedded.postgres import EmbeddedPostgres, default_home
from tokenledger_exporter.installed import PROCESS
from tokenledger_exporter.maintenance.install import migrate
from tokenledger_semconv.settings import SettingsError

_SERVERS: Final = frozenset(
    {"celery", "daphne", "dramatiq", "granian", "gunicorn", "hypercorn", "rq", "uvicorn", "uwsgi"}
)


def embedded_database_url() -> str:
    """Start the server, create the ledger's tables, and return its URL; once per process.

    Raises:
        SettingsError: this is a web server or a worker.
        EmbeddedPostgresError: the extra `embedded` is missing, or the server does not start.
    """
    program = os.path.basename(sys.argv[0]) if sys.argv else ""  # noqa: PTH119 - may be any text
    if program in _SERVERS:
        raise SettingsError(
            f"embedded is for scripts and notebooks, not for {program}: set database_url"
        )
    server = PROCESS.embedded
    if not isinstance(server, EmbeddedPostgres):
        server = EmbeddedPostgres(default_home())
        server.start()
        PROCESS.embedded = server
        migrate(server.database_url)
        where = server.database_url.rpartition("@")[2]
        sys.stderr.write(
            f"tokenledger: using the embedded Postgres at {where} (user postgres, password in "
            f"{server.password_file}); it stops with this process\n"
        )
    return server.database_url


def stop_embedded() -> None:
    """Stop the server if this process started one."""
    server, PROCESS.embedded = PROCESS.embedded, None
    if isinstance(server, EmbeddedPostgres):
        server.stop()
