"""An app on gevent that starts processes: its greenlets run in the app and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from end_to_end.programs import tokenledger

if TYPE_CHECKING:
    from pathlib import Path

gevent = pytest.importorskip("gevent", reason="gevent has no release for this interpreter")
# Starting programs takes longer than the quick suite has.
pytestmark = pytest.mark.integration

UNREACHABLE = "postgresql://u:p@127.0.0.1:1/ledger"
TASKS = f"""
import os
import subprocess

import gevent
import tokenledger

APP = os.getpid()


def task():
    os.write(1, b"app\\n" if os.getpid() == APP else b"child\\n")


tokenledger.configure(database_url="{UNREACHABLE}")
%s
tasks = [gevent.spawn(task) for _ in range(3)]
subprocess.run(["true"], check=True)
if os.fork() == 0:
    os._exit(0)
gevent.joinall(tasks)
"""
OWN_PROVIDER = """
from opentelemetry.sdk.trace import TracerProvider
from tokenledger_exporter.recorder.ledger import installed_ledger
provider = TracerProvider()
installed_ledger().attach(provider)
"""
ASKS_DOCTOR = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from tokenledger_exporter.doctor import checks
trace.set_tracer_provider(TracerProvider())
for check in checks.examine("postgresql://u:p@127.0.0.1:1/ledger"):
    if check.name == "tracer provider":
        print(check.state, check.detail, check.remedy)
"""


def run(folder: Path, program: str, *launcher: str) -> tuple[str, str]:
    path = folder / "app.py"
    path.write_text(program, encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, *launcher, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return ended.stdout, ended.stderr


@pytest.mark.parametrize("when", ["before configure()", "after configure()"])
def test_a_forked_child_does_not_run_the_apps_greenlets(when: str, tmp_path: Path) -> None:
    if when == "before configure()":
        said, _ = run(tmp_path, TASKS % "", "-m", "gevent.monkey")
    else:
        said, _ = run(tmp_path, TASKS % "import gevent.monkey; gevent.monkey.patch_all()")
    assert said == "app\n" * 3


def test_a_provider_of_the_apps_own_that_runs_greenlets_in_children_is_named_once(
    tmp_path: Path,
) -> None:
    """It does so without us too; the log names the cause."""
    said, errors = run(tmp_path, TASKS % OWN_PROVIDER, "-m", "gevent.monkey")
    assert "child\n" in said
    assert errors.count("tokenledger: forking makes the app's TracerProvider run") == 1
    _, errors = run(tmp_path, TASKS % OWN_PROVIDER)
    assert "TracerProvider run" not in errors


def test_the_doctor_names_such_a_provider(tmp_path: Path) -> None:
    said, _ = run(tmp_path, ASKS_DOCTOR, "-m", "gevent.monkey")
    assert said.startswith("warn forking makes the app's TracerProvider run the app's greenlets")
    assert "below 1.44" in said
    said, _ = run(tmp_path, ASKS_DOCTOR)
    assert said.startswith("ok ")


def test_the_doctor_names_a_tracer_provider_that_cannot_be_loaded(database_url: str) -> None:
    ended = tokenledger(
        "doctor", "--database-url", database_url, OTEL_PYTHON_TRACER_PROVIDER="not-installed"
    )
    assert "the provider that OTEL_PYTHON_TRACER_PROVIDER names cannot be loaded" in ended.output
