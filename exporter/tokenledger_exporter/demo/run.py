"""`tokenledger demo`: an ordinary app, a real Postgres, a stand-in for the providers, and the cost.

Everything lives in a temporary folder that is removed at the end, also on Ctrl-C and on failure.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.db.connection import session
from tokenledger_exporter.demo.interruption import unwound_by_signals
from tokenledger_exporter.demo.provider import DemoProvider
from tokenledger_exporter.embedded.postgres import temporary_postgres
from tokenledger_exporter.errors import LedgerError
from tokenledger_exporter.maintenance.install import migrate
from tokenledger_exporter.queries.report import ReportRequest, build_report
from tokenledger_exporter.recorder.ledger import PostgresLedger
from tokenledger_exporter.render.report import legend, table_of
from tokenledger_semconv.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Generator

    import psycopg


APP: Final = Path(__file__).with_name("support_desk.py")
"""The app the demo runs."""

FAILED: Final = 1
INTERRUPTED: Final = 130

_LATENCY_SECONDS: Final = 0.005
_STOP_SECONDS: Final = 5.0
_DRAIN_SECONDS: Final = 30.0
_VIEWS: Final = ("feature", "model", "user")
_PASSED_VARIABLES: Final = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")
_NEXT: Final = """
What to do next, with your own app and your own Postgres:

    export TOKENLEDGER_DATABASE_URL=postgresql://user:password@host:5432/database
    tokenledger db migrate
    opentelemetry-instrument --traces_exporter tokenledger \\
        --metrics_exporter none --logs_exporter none python your_app.py
    tokenledger report --by feature,user --since 7d

The app of this demo is in the package: tokenledger_exporter/demo/support_desk.py."""


def main() -> int:
    """Run the demo; returns the exit code."""
    try:
        with unwound_by_signals():
            _run()
    except KeyboardInterrupt:
        _say("\ntokenledger: interrupted; nothing was left behind")
        return INTERRUPTED
    except LedgerError as error:
        sys.stderr.write(f"tokenledger: {error}\n")
        return FAILED
    return 0


def _run() -> None:
    missing = [sdk for sdk in ("openai", "anthropic") if importlib.util.find_spec(sdk) is None]
    if missing:
        raise LedgerError(
            f"the demo needs {' and '.join(missing)}: pip install 'tokenledger-otel[all]'"
        )
    began = time.monotonic()
    since = datetime.now(timezone.utc) - timedelta(minutes=1)
    with tempfile.TemporaryDirectory(prefix="tokenledger-demo-") as folder:
        _step("starting a temporary Postgres")
        with temporary_postgres() as database_url:
            _step("creating the ledger and its price book")
            migrate(database_url)
            _step("running support_desk.py under opentelemetry-instrument")
            with DemoProvider(_LATENCY_SECONDS) as provider:
                _run_app(_app_environment(provider, database_url, Path(folder)))
            _drain_spool(database_url, Path(folder))
            with session(database_url) as connection:
                _print_reports(connection, since)
    _say(f"\nAll of it took {time.monotonic() - began:.1f} s.\n{_NEXT}")


def _app_environment(provider: DemoProvider, database_url: str, folder: Path) -> dict[str, str]:
    """A clean environment, so that the demo shows the same on every machine."""
    passed = {name: os.environ[name] for name in _PASSED_VARIABLES if name in os.environ}
    return {
        **passed,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
        "HOME": str(folder),
        "PYTHONUNBUFFERED": "1",
        "TOKENLEDGER_DATABASE_URL": database_url,
        "TOKENLEDGER_SPOOL_DIR": str(folder / "spool"),
        "TOKENLEDGER_ENVIRONMENT": "demo",
        "OTEL_SERVICE_NAME": "support-desk",
        # The distribution's defaults would look for a collector on this machine.
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OPENAI_BASE_URL": provider.openai_base_url,
        "OPENAI_API_KEY": "demo",
        "ANTHROPIC_BASE_URL": provider.anthropic_base_url,
        "ANTHROPIC_API_KEY": "demo",
    }


def _run_app(environment: dict[str, str]) -> None:
    launcher = shutil.which("opentelemetry-instrument", path=environment["PATH"])
    if launcher is None:
        raise LedgerError("opentelemetry-instrument is not installed with this Python")
    command = [launcher, "--traces_exporter", "tokenledger", sys.executable, str(APP)]
    with _process(command, environment) as app:
        for line in app.stdout or ():
            _say(f"    {line.rstrip()}")
        if app.wait():
            raise LedgerError(f"the app ended with exit code {app.returncode}, see above")


@contextmanager
def _process(command: list[str], environment: dict[str, str]) -> Generator[subprocess.Popen[str]]:
    """A child that never outlives the block."""
    with subprocess.Popen(  # noqa: S603 - our own launcher and app
        command,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        # We handle Ctrl-C; otherwise the app would print a traceback into the demo.
        start_new_session=True,
    ) as child:
        try:
            yield child
        finally:
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    child.kill()


def _drain_spool(database_url: str, folder: Path) -> None:
    """Commit what the app left in the spool: its exit waits at most two seconds."""
    ledger = PostgresLedger(Settings(database_url=database_url, spool_dir=str(folder / "spool")))
    ledger.flush(_DRAIN_SECONDS)
    reason = ledger.health()["last_error"]
    ledger.shutdown(_STOP_SECONDS)
    if reason:
        raise LedgerError(f"the app's calls could not be written: {reason}")


def _print_reports(connection: psycopg.Connection[Any], since: datetime) -> None:
    until = datetime.now(timezone.utc) + timedelta(minutes=1)
    reports = [build_report(connection, ReportRequest([name], since, until)) for name in _VIEWS]
    for report in reports:
        _say(f"\nCost by {report.by[0]}\n{table_of(report)}".rstrip())
    coverage = reports[0].coverage
    _say("\n" + "\n".join([*legend(reports[0]), coverage.sentence]))
    if coverage.unpriced:
        _say("(unpriced: no price list knows acme-support-7b, so its cost is unknown, not zero)")


def _step(text: str) -> None:
    _say(f"==> {text}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
