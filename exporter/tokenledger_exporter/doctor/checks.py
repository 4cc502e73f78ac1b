"""Checks that a call would reach the ledger, each with its remedy.

Checks are plain functions that return `Check`s; a check never raises. The last one sends a span of
its own all the way to a row and removes it again.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import SpanKind
from psycopg.conninfo import conninfo_to_dict

from tokenledger_exporter.db import migrations
from tokenledger_exporter.db.connection import describe, fingerprint, session
from tokenledger_exporter.doctor import database_setup
from tokenledger_exporter.doctor.check import FAIL, OK, WARN, Check
from tokenledger_exporter.errors import LedgerError
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.queries.report import OLD_PRICES
from tokenledger_exporter.recorder import greenlets
from tokenledger_exporter.recorder.ledger import PostgresLedger
from tokenledger_exporter.rollups.verify import days_of, rebuild, verify, weeks_of
from tokenledger_exporter.spool import access
from tokenledger_exporter.spool.access import file_fault
from tokenledger_exporter.spool.segment import SUFFIX
from tokenledger_exporter.sql import statements
from tokenledger_semconv import attributes
from tokenledger_semconv.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import EntryPoint

    import psycopg

_SQL: Final = statements("read")
_ROLLUPS: Final = statements("rollups")

_SETTLED_WITHIN: Final = timedelta(minutes=5)
_MOST_NAMED: Final = 20
_LOCAL_HOSTS: Final = ("", "localhost", "127.0.0.1", "::1")
# SDK -> our instrumentor's entry point, and a method that must be wrapped afterwards.
_SDKS: Final = {"openai": "tokenledger_openai", "anthropic": "tokenledger_anthropic"}
_RIVALS: Final = ("openai", "anthropic")
_EXTENSIONS: Final = {"citus": "Citus", "timescaledb": "TimescaleDB"}
# What speaks Postgres' protocol and says in version() that it is something else.
_RELATIVES: Final = {"-YB-": "YugabyteDB", "CockroachDB": "CockroachDB"}
_PROBE: Final = "synthetic span"
_PROBE_MODEL: Final = "gpt-4o"


def examine(database_url: str) -> list[Check]:
    """Every check, in the order a call travels."""
    checks = [*_sdks(), *_rivals(), *_celery(), _provider()]
    checks += [_exporter(), _sampler(), *_spool(database_url)]
    try:
        with session(database_url) as connection:
            checks.append(Check("database", OK, f"connected to {describe(database_url)}"))
            checks += _inside(connection, database_url)
    except LedgerError as error:
        checks.append(Check("database", FAIL, str(error), "start Postgres or correct the URL"))
        return checks
    if not any(check.state == FAIL for check in checks if check.name == "schema"):
        checks.append(_synthetic_span(database_url))
    return checks


def compare_rollups(database_url: str, *, repair: bool = False) -> list[Check]:
    """Every sum that is not what its calls are; built anew where that is asked for.

    Raises:
        LedgerError: whatever the database says.
    """
    found = verify(database_url)
    if not found:
        return [Check("roll-ups", OK, "every sum is that of its calls")]
    remedy = "run 'tokenledger doctor --verify-rollups --repair' as a user who may keep them"
    if repair:
        rebuild(database_url, days_of(found), weeks_of(found))
        remedy = "built anew"
    checks = [Check("roll-ups", FAIL, told.sentence, remedy) for told in found[:_MOST_NAMED]]
    if more := len(found) - len(checks):
        checks.append(Check("roll-ups", FAIL, f"and {more} more", remedy))
    return checks


def _inside(connection: psycopg.Connection[Any], database_url: str) -> Iterator[Check]:
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
        "see docs/scale.md, and tell us how it goes",
    )


def _prices(connection: psycopg.Connection[Any]) -> Check:
    found = connection.execute(_SQL["price_age"]).fetchone()
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
    found = connection.execute(_SQL["losses"], span).fetchone()
    lost = int(found[0]) if found else 0
    aside = connection.execute(_SQL["aside"]).fetchone()
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


def _sdks() -> Iterator[Check]:
    for sdk, name in _SDKS.items():
        try:
            found = version(sdk)
        except PackageNotFoundError:
            yield Check(sdk, OK, "not installed, nothing to patch")
            continue
        yield _patched(sdk, found, name)


def _patched(sdk: str, found: str, name: str) -> Check:
    """Instrument for real, look, and undo: a version check alone proves nothing."""
    remedy = f"install a supported {sdk} release (see README, 'Supported versions')"
    try:
        point = next(iter(entry_points(group="opentelemetry_instrumentor", name=name)))
        instrumentor = point.load()()
        was_on = instrumentor.is_instrumented_by_opentelemetry
        instrumentor.instrument()
        patched = instrumentor.is_instrumented_by_opentelemetry
        if not was_on:
            instrumentor.uninstrument()
    except Exception as error:  # noqa: BLE001 - whatever breaks is the finding
        return Check(sdk, FAIL, f"{sdk} {found} cannot be patched: {type(error).__name__}", remedy)
    if not patched:
        return Check(sdk, FAIL, f"{sdk} {found} is not patched", remedy)
    return Check(sdk, OK, f"{sdk} {found} is patched")


def _rivals() -> Iterator[Check]:
    """Other instrumentors of the same SDKs: a broken one is silent, a working one doubles spans."""
    ours = set(_SDKS.values())
    for point in entry_points(group="opentelemetry_instrumentor"):
        if point.name in ours or not point.name.startswith(_RIVALS):
            continue
        package = point.dist.name if point.dist else point.value
        yield _rival(point, package)


def _rival(point: EntryPoint, package: str) -> Check:
    name = f"instrumentor {point.name}"
    try:
        point.load()
    except Exception as error:  # noqa: BLE001 - whatever breaks is the finding
        return Check(
            name,
            WARN,
            f"{package} cannot be loaded with these SDKs ({type(error).__name__})",
            f"pip uninstall {package}",
        )
    return Check(
        name,
        WARN,
        f"{package} instruments the same SDK: every call would make two spans",
        f"set OTEL_PYTHON_DISABLED_INSTRUMENTATIONS={point.name} or pip uninstall {package}",
    )


def _celery() -> Iterator[Check]:
    """Whether attribution reaches Celery's workers, where there are any."""
    try:
        version("celery")
    except PackageNotFoundError:
        return
    carrier = "opentelemetry-instrumentation-celery"
    try:
        found = version(carrier)
    except PackageNotFoundError:
        yield Check(
            "celery",
            WARN,
            f"{carrier} is not installed: calls made by tasks are attributed to nobody",
            f"pip install {carrier}, instrument producer and worker, and name the keys to trust in "
            "the worker's TOKENLEDGER_TRUST_BAGGAGE",
        )
        return
    yield Check("celery", OK, f"{carrier} {found} carries attribution to the workers")


def _provider() -> Check:
    detail, remedy = greenlets.examine_app_provider()
    return Check("tracer provider", WARN if remedy else OK, detail, remedy)


def _exporter() -> Check:
    remedy = "install tokenledger-otel into the environment the app runs in"
    found = entry_points(group="opentelemetry_traces_exporter", name="tokenledger")
    if not found:
        return Check("exporter", FAIL, "OpenTelemetry does not find the exporter", remedy)
    named = os.environ.get("OTEL_TRACES_EXPORTER", "")
    return Check("exporter", OK, f"found; OTEL_TRACES_EXPORTER is {named or 'not set'}")


def _sampler() -> Check:
    named = os.environ.get("OTEL_TRACES_SAMPLER", "") or "the default"
    return Check("sampler", OK, f"{named}; the ledger is complete whatever it samples")


def _spool(database_url: str) -> Iterator[Check]:
    folder = access.spool_folder(read_settings().spool_dir, fingerprint(database_url))
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        detail = f"{folder} takes no file ({error.strerror})"
        yield Check("spool", FAIL, detail, "point TOKENLEDGER_SPOOL_DIR at a writable folder")
        return
    if fault := access.folder_fault(folder):
        remedy = "point TOKENLEDGER_SPOOL_DIR at a folder that is yours alone"
        yield Check("spool", FAIL, f"{folder} is not used: {fault}", remedy)
        return
    waiting = sum(path.lstat().st_size for path in folder.glob(f"*{SUFFIX}"))
    yield Check("spool", OK, f"{folder} is writable, {waiting} bytes in segments")
    faults = [f"{p.name}: {why}" for p in folder.glob(f"*{SUFFIX}") if (why := file_fault(p))]
    if faults:
        yield Check(
            "spool files",
            WARN,
            f"{len(faults)} segments in {folder} are left alone "
            f"({'; '.join(faults[:_MOST_NAMED])})",
            "drain them as the user they belong to, or delete them",
        )
    if aside := list(folder.glob("*.bad")):
        yield Check(
            "spool files",
            WARN,
            f"{len(aside)} segments of another format or ledger were kept aside in {folder}",
            "start the release that wrote them once, or delete them",
        )


def _synthetic_span(database_url: str) -> Check:
    """A made-up call through processor, spool, price book and COMMIT; its row is removed."""
    name, remedy = _PROBE, "see the failed checks above; then run doctor again"
    try:
        if refused := _not_permitted(database_url):
            return refused
        with tempfile.TemporaryDirectory(prefix="tokenledger-doctor-") as folder:
            ledger = PostgresLedger(
                replace(Settings(), database_url=database_url, spool_dir=folder)
            )
            trace_id = _emit(ledger)
            ledger.flush(timeout=15.0)
            reason = ledger.health()["last_error"]
            ledger.shutdown(timeout=5.0)
        with session(database_url) as connection:
            found = connection.execute(_SQL["probe_row"], {"trace_id": trace_id}).fetchone()
            connection.execute(_SQL["remove_probe"], {"trace_id": trace_id})
    except LedgerError as error:
        return Check(name, FAIL, str(error), remedy)
    if found is None:
        return Check(name, FAIL, f"no row arrived ({reason})", remedy)
    if found[1] != "priced":
        return Check(name, FAIL, f"the row is {found[1]}", "run 'tokenledger db migrate'")
    return Check(name, OK, f"priced at ${plain_usd(found[0])}, stored, and removed")


def _not_permitted(database_url: str) -> Check | None:
    """The finding if this user cannot write the span, or could not take it away again."""
    with session(database_url) as connection:
        may_insert, may_delete = connection.execute(_SQL["privileges"]).fetchone() or (True, True)
    if not may_insert:
        return Check(
            _PROBE,
            WARN,
            "not sent: this database user may only read",
            "use the writer's database user",
        )
    if not may_delete:
        return Check(
            _PROBE,
            WARN,
            "not sent: this database user may not remove its row afterwards",
            "run doctor once as a user who may DELETE from token_ledger_events; to write, the app "
            "needs no such right",
        )
    return None


def _emit(ledger: PostgresLedger) -> str:
    tracer = ledger.tracer_provider.get_tracer(f"{attributes.SCOPE_PREFIX}doctor")
    told: dict[str, str | int] = {
        attributes.OPERATION_NAME: "chat",
        attributes.PROVIDER_NAME: "openai",
        attributes.REQUEST_MODEL: _PROBE_MODEL,
        attributes.INPUT_TOKENS: 1,
        attributes.OUTPUT_TOKENS: 1,
    }
    span = tracer.start_span("chat doctor", kind=SpanKind.CLIENT, attributes=told)
    span.end()
    return f"{span.get_span_context().trace_id:032x}"
