"""A temporary home is deleted at its end, or by the next process if its own was killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tokenledger_exporter.embedded.homes import temporary_home

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")

_HOLD = """
import sys
from tokenledger_exporter.embedded.homes import temporary_home
with temporary_home() as home:
    (home / "server").mkdir()
    print(home, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, of this process too."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@contextmanager
def held() -> Generator[tuple[subprocess.Popen[str], Path]]:
    """A process with a temporary home, and the home."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        home = Path(process.stdout.readline().strip())
        try:
            yield process, home
        finally:
            process.kill()


def test_a_home_is_deleted_at_its_end(folder: Path) -> None:
    with temporary_home() as home:
        assert list(folder.iterdir()) == [home]
    assert list(folder.iterdir()) == []


def test_the_next_start_deletes_the_home_of_a_killed_process_and_no_other(folder: Path) -> None:
    with held() as (killed, abandoned), held() as (_, used):
        killed.kill()
        killed.wait()
        assert abandoned.is_dir()
        with temporary_home() as home:
            assert set(folder.iterdir()) == {used, home}


def test_a_folder_that_no_process_of_ours_made_stays(folder: Path) -> None:
    other = folder / "tokenledger-postgres-other"
    other.mkdir()
    (folder / "tokenledger-postgres-link").symlink_to(other)
    target = folder / "target"
    target.mkdir()
    unowned = folder / "tokenledger-postgres-unowned"
    unowned.mkdir()
    (unowned / "owner").symlink_to(target)
    with temporary_home():
        pass
    assert {path.name for path in folder.iterdir()} == {
        "tokenledger-postgres-other",
        "tokenledger-postgres-link",
        "tokenledger-postgres-unowned",
        "target",
    }
