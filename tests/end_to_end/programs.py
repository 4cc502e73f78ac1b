"""Runs small apps as processes of their own, bare or under OpenTelemetry's launcher."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from support.ledger_rows import ask
from tokenledger_exporter.recorder.ledger import PostgresLedger
from tokenledger_semconv.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

_BIN: Final = Path(sys.executable).parent
_SECONDS: Final = 60.0

# The distribution's defaults would look for a collector on this machine; the README's line needs no
# such variable.
_QUIET: Final[dict[str, str]] = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}

LEDGER: Final = (
    *("--traces_exporter", "tokenledger"),
    *("--metrics_exporter", "none"),
    *("--logs_exporter", "none"),
)
"""The launcher's arguments of the README."""


@dataclass(frozen=True)
class Ended:
    """A program that ran to its end."""

    code: int
    output: str
    errors: str


def run(app: Path, **variables: str) -> Ended:
    """Run an app as it is."""
    return _run((sys.executable, str(app)), variables)


def launch(app: Path, arguments: Sequence[str] = LEDGER, **variables: str) -> Ended:
    """Run an app under `opentelemetry-instrument`, nothing else changed."""
    launcher = (str(_BIN / "opentelemetry-instrument"), *arguments)
    quiet: dict[str, str] = {} if arguments[: len(LEDGER)] == LEDGER else _QUIET
    return _run((*launcher, sys.executable, str(app)), {**quiet, **variables})


def tokenledger(*arguments: str, **variables: str) -> Ended:
    """Run the `tokenledger` command."""
    return _run((str(_BIN / "tokenledger"), *arguments), variables)


def written(database_url: str, question: str) -> list[tuple[Any, ...]]:
    """What the ledger answers once everything is in it.

    A program's exit waits two seconds at most for its last rows; on a busy machine the spool has
    them then.
    """
    ledger = PostgresLedger(read_settings({"database_url": database_url}))
    ledger.flush(timeout=30.0)
    assert ledger.health()["last_error"] is None
    ledger.shutdown(timeout=5.0)
    return ask(database_url, question)


def _run(command: Sequence[str], variables: dict[str, str]) -> Ended:
    """Run a command in this environment, which the fixtures have cleaned, plus some variables."""
    ended = subprocess.run(
        command,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=_SECONDS,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)
