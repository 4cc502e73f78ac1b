"""What the ledger's database is like: connection, engine, schema, prices, losses, maintenance."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

from psycopg.conninfo import conninfo_to_dict

from tokenledger_exporter.db import migrations
from tokenledger_exporter.db.connection import describe
from tokenledger_exporter.doctor import database_setup
from tokenledger_exporter.doctor.check import FAIL, OK, WARN, Check
from tokenledger_exporter.queries.report import OLD_PRICES
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg


_SQL: Final = statements("doctor")
_QUERIES: Final = statements("queries")


_ROLLUPS: Final = statements("rollups_refresh")


_SETTLED_WITHIN: Final = timedelta(minutes=5)


_LOCAL_HOSTS: Final = ("", "localhost", "127.0.0.1", "::1")


_EXTENSIONS: Final = {"citus": "Citus", "timescaledb": "TimescaleDB"}


# What speaks Postgres' protocol and says in version() that it is something else.
_RELATIVES: Final = {"-YB-": "YugabyteDB", "CockroachDB": "CockroachDB"}


def check_ledger(connection: psycopg.Connection[Any], database_url: str) -> Iterator[Check]:
    """Every check that needs a connection to the ledger; they end where the schema is missing."""
    yield _tls(connection, database_url)
    yield pooler(connection)
    yield _engine(connection)
    status = migrations.read_status(connection)
    if not status.is_current or status.older_table:
        yield Check("schema", FAIL, status.sentence, "run 'tokenledger db migrate'")
        return
    yield Check("schema", OK, status.sentence)
    yield from database_setup.check_database(connection)
    yield _prices(connection)
    yield _losses(connection)
    yield _settling(connection)
    yield _rolling_up(connection)


def _tls(connection: psycopg.Connection[Any], database_url: str) -> Check:
    host = str(conninfo_to_dict(database_url).get("host") or "")
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
    """A pooler hands out a process id of its own; the session's is the server's."""
    found = connection.execute("SELECT pg_backend_pid()").fetchone()
    if found and found[0] != connection.info.backend_pid:
        detail = "there is one before the database; the ledger keeps nothing in a session"
        return Check("pooler", OK, detail)
    return Check("pooler", OK, "none, connected to the server itself")


def _engine(connection: psycopg.Connection[Any]) -> Check:
    """Plain Postgres is what every test runs on; of what builds upon it, nothing was run."""
    found = connection.execute(_SQL["engine"]).fetchall()
    version_text = str(found[0][0])
    others = [_EXTENSIONS[name] for _, name in found if name]
    others += [name for mark, name in _RELATIVES.items() if mark in version_text]
    if not others:
        return Check("engine", OK, version_text.partition(" on ")[0])
    return Check(
        "engine",
        WARN,
        f"{' and '.join(others)}: untested, the schema follows its written rules only",
        "see docs/operations/scale.md, and tell us how it goes",
    )


def _prices(connection: psycopg.Connection[Any]) -> Check:
    found = connection.execute(_QUERIES["price_age"]).fetchone()
    remedy = "upgrade genai-prices and run 'tokenledger prices update'"
    if not found or found[0] is None:
        return Check("prices", FAIL, "the price book is empty: every call is unpriced", remedy)
    age = datetime.now(timezone.utc).date() - found[0]
    detail = f"price book checked {found[0]}, {age.days} days ago"
    return (
        Check("prices", OK, detail) if age <= OLD_PRICES else Check("prices", WARN, detail, remedy)
    )


def _losses(connection: psycopg.Connection[Any]) -> Check:
    span = {
        "since": datetime(2015, 1, 1, tzinfo=timezone.utc),
        "until": datetime.now(timezone.utc) + timedelta(days=1),
    }
    found = connection.execute(_QUERIES["losses"], span).fetchone()
    lost = int(found[0]) if found else 0
    aside = connection.execute(_SQL["rejected"]).fetchone()
    set_aside = f", {aside[0]} rows were set aside" if aside and aside[0] else ""
    if not lost and not set_aside:
        return Check("losses", OK, "no record was ever lost")
    remedy = "see reasons in token_ledger_losses; give the spool a writable disk with room"
    if not lost:
        remedy = "see reasons in token_ledger_rejected"
    said = f"{lost} records are known to be lost" if lost else "no record was ever lost"
    return Check("losses", WARN, said + set_aside, remedy)


def _settling(connection: psycopg.Connection[Any]) -> Check:
    oldest, suspected = connection.execute(_SQL["settling"]).fetchone() or (None, 0)
    if oldest is not None and oldest > _SETTLED_WITHIN:
        return Check(
            "settling",
            WARN,
            f"rows have waited {oldest} for somebody to look for second tellings of their calls",
            "run 'tokenledger keep' from cron, as a user who may UPDATE and DELETE",
        )
    if suspected:
        return Check(
            "settling",
            OK,
            f"settled; {suspected} response ids of the last week have rows that differ in time or "
            "counts, see token_ledger_suspected_duplicates",
        )
    return Check("settling", OK, "no row waits for a second telling of its call")


def _rolling_up(connection: psycopg.Connection[Any]) -> Check:
    """Answers are exact without a keeper, and slower the more it leaves undone."""
    [(waited,)] = connection.execute(_ROLLUPS["lag"]).fetchall()
    if waited is not None and waited > _SETTLED_WITHIN:
        return Check(
            "roll-ups",
            WARN,
            f"sums have waited {waited} to be brought up to date: answers are exact, and slow",
            "run 'tokenledger keep --every 2', as a user who may keep them",
        )
    return Check("roll-ups", OK, "up to date but for what came within minutes")
