"""The doctor names an installation that another package overwrote or gutted, and its repair."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tokenledger_exporter.doctor.check import FAIL, OK
from tokenledger_exporter.doctor.installation import check_installation

if TYPE_CHECKING:
    from pathlib import Path


def _installed(folder: Path, name: str, release: str, *files: str) -> None:
    metadata = folder / f"{name.replace('-', '_')}-{release}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n")
    (metadata / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def test_this_installation_is_complete() -> None:
    check = check_installation()
    assert check.state == OK
    assert check.detail.endswith("is complete")


def test_the_older_package_is_named_with_the_command_that_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _installed(tmp_path, "tokenledger", "0.1.1")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    check = check_installation()
    assert check.state == FAIL
    assert check.detail.startswith("the package tokenledger 0.1.1 is installed too")
    assert check.remedy == (
        "pip uninstall -y tokenledger && pip install --force-reinstall --no-deps tokenledger-otel"
    )


def test_files_that_its_removal_took_along_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, lost = "tokenledger/queries.py", ("tokenledger/__init__.py", "tokenledger/server.py")
    (tmp_path / "tokenledger").mkdir()
    (tmp_path / kept).write_text("")
    _installed(tmp_path, "tokenledger-otel", "9.0", kept, *lost)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    check = check_installation()
    assert check.state == FAIL
    assert check.detail == "tokenledger-otel lacks tokenledger/__init__.py and 1 more"
    assert check.remedy == "pip install --force-reinstall --no-deps tokenledger-otel"


@pytest.mark.integration
def test_the_doctor_runs_as_a_module_when_the_script_and_the_instrumentation_are_gone(
    tmp_path: Path, database_url: str
) -> None:
    (tmp_path / "tokenledger").mkdir()
    _installed(tmp_path, "tokenledger-otel", "9.0", "tokenledger/__init__.py")
    done = subprocess.run(
        [sys.executable, "-m", "tokenledger_exporter", "doctor"],
        env={
            **os.environ,
            "PYTHONPATH": str(tmp_path),
            "TOKENLEDGER_DATABASE_URL": database_url,
            "TOKENLEDGER_SPOOL_DIR": str(tmp_path / "spool"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "fail  installation: tokenledger-otel lacks tokenledger/__init__.py" in done.stdout, (
        done.stderr
    )
    assert done.returncode == 1
