"""Checks of the database: connection, engine, schema, prices, losses, maintenance."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

from psycopg import errors as pg_errors
from psycopg.conninfo import conninfo_to_dict

from tokenledger_exporter.db import migrations
from tokenledger_exporter.db.connection import describe
from tokenledger_exporter.db.database_url import libpq_url
from tokenledger_exporter.doctor import database_setup
from tokenledger_exporter.doctor.check import FAIL, OK, WARN, Check
from tokenledger_exporter.plain_text import counted
from tokenledger_exporter.queries.live import ledger_state
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from tokenledger_exporter.queries.live.ledger_state import Finding


_SQL: Final = statements("doctor")
_QUERIES: Final = statements("queries")
_WEEK: Final = timedelta(days=7)
_LOCAL_HOSTS: Final = ("", "localhost", "127.0.0.1", "::1")
_EXTENSIONS: Final = {"citus": "Citus", "timescaledb": "TimescaleDB"}

# Engines that speak Postgres' protocol, by a part of what their version() returns.
_COMPATIBLE_ENGINES: Final = {"-YB-": "YugabyteDB", "CockroachDB": "CockroachDB"}


def check_ledger(connection: psycopg.Connection[Any], database_url: str) -> Iterator[Check]:
    """Run the checks that need a connection; without the schema, only the first few."""
    yield _tls(connection, database_url)
    yield pooler(connection)
    yield _engine(connection)
    status = migrations.read_status(connection)
    if not status.is_current or status.older_table:
        detail, _, remedy = status.sentence.partition(": ")
        yield Check("schema", FAIL, detail, remedy)
        return
    yield Check("schema", OK, status.sentence)
    yield from database_setup.check_database(connection)
    yield _as_check("prices", ledger_state.check_prices(connection))
    for name, check in (
        ("losses", _losses),
        ("deduplication", _deduplication),
        ("roll-ups", _rollups),
    ):
        yield _if_allowed(connection, name, check)


def _if_allowed(
    connection: psycopg.Connection[Any],
    name: str,
    check: Callable[[psycopg.Connection[Any]], Check],
) -> Check:
    """A check that may read what only the owner or a keeper may."""
    try:
        with connection.transaction():
            return check(connection)
    except pg_errors.InsufficientPrivilege as error:
        reason = error.diag.message_primary
        return Check(name, OK, f"not checked ({reason}): run doctor as the tables' owner")


def _tls(connection: psycopg.Connection[Any], database_url: str) -> Check:
    host = str(conninfo_to_dict(libpq_url(database_url)).get("host") or "")
    if host in _LOCAL_HOSTS or host.startswith("/"):
        return Check("tls", OK, "the database is on this machine")
    if connection.pgconn.ssl_in_use:
        return Check("tls", OK, "the connection is encrypted")
    return Check(
        "tls",
        WARN,
        f"the connection to {describe(database_url)} is not encrypted",
        "add sslmode=require (or verify-full) to the database URL",
    )


def pooler(connection: psycopg.Connection[Any]) -> Check:
    """Detect a pooler: the process id it reports differs from the server's."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    if row and row[0] != connection.info.backend_pid:
        detail = "a pooler is in front of the database, which is supported"
        return Check("pooler", OK, detail)
    return Check("pooler", OK, "none, connected directly to the server")


def _engine(connection: psycopg.Connection[Any]) -> Check:
    """Warn about engines other than plain Postgres; the tests run on plain Postgres only."""
    rows = connection.execute(_SQL["engine"]).fetchall()
    version_text = str(rows[0][0])
    others = [_EXTENSIONS[name] for _, name in rows if name]
    others += [name for mark, name in _COMPATIBLE_ENGINES.items() if mark in version_text]
    if not others:
        return Check("engine", OK, version_text.partition(" on ")[0])
    return Check(
        "engine",
        WARN,
        f"{' and '.join(others)}: not tested; the schema follows its documented rules",
        "see docs/operations/scale.md and let us know how it works",
    )


def _as_check(name: str, finding: Finding) -> Check:
    return Check(name, finding.state, finding.detail, finding.remedy)


def _losses(connection: psycopg.Connection[Any]) -> Check:
    period = {
        "since": datetime(2015, 1, 1, tzinfo=timezone.utc),
        "until": datetime.now(timezone.utc) + timedelta(days=1),
    }
    losses = connection.execute(_QUERIES["losses"], period).fetchone()
    lost = int(losses[0]) if losses else 0
    tenants = connection.execute(_SQL["lost_of_tenants"]).fetchone()
    lost_of_tenants = int(tenants[0]) if tenants else 0
    rejected = connection.execute(_SQL["rejected"]).fetchone()
    rows = int(rejected[0]) if rejected else 0
    verb = "was" if rows == 1 else "were"
    quarantined = f", {counted(rows, 'row')} {verb} quarantined" if rows else ""
    if not lost and not lost_of_tenants and not quarantined:
        return Check("losses", OK, "no records were lost")
    remedy = (
        "see the reasons in token_ledger_losses; give the spool a writable disk with free space"
    )
    if not lost:
        table = "token_ledger_organization_losses" if lost_of_tenants else "token_ledger_rejected"
        remedy = f"see {table}"
    parts = [_were_lost(lost, "record")] if lost or not lost_of_tenants else []
    parts += [_were_lost(lost_of_tenants, "record of a tenant", "records of tenants")] * (
        lost_of_tenants > 0
    )
    return Check("losses", WARN, ", ".join(parts) + quarantined, remedy)


def _were_lost(number: int, noun: str, plural: str = "") -> str:
    if not number:
        return "no records were lost"
    return f"{counted(number, noun, plural)} {'was' if number == 1 else 'were'} lost"


def _deduplication(connection: psycopg.Connection[Any]) -> Check:
    waiting = ledger_state.check_duplicates(connection)
    if waiting.state != OK:
        return _as_check("deduplication", waiting)
    now = datetime.now(timezone.utc)
    suspects = ledger_state.check_suspects(connection, now - _WEEK, now)
    see = f"; see {suspects.remedy.removeprefix('see ')}" if suspects.remedy else ""
    return Check("deduplication", OK, f"up to date; {suspects.detail}{see}")


def _rollups(connection: psycopg.Connection[Any]) -> Check:
    return _as_check("roll-ups", ledger_state.check_sums(connection))
