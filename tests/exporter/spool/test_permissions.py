"""A spool in a folder that others share takes no call of theirs and gives away none of ours."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from support.ledger_rows import HEADER, ask
from tokenledger_exporter.cli import main
from tokenledger_exporter.db.connection import fingerprint
from tokenledger_exporter.spool import permissions
from tokenledger_exporter.spool.codec import encode_header
from tokenledger_exporter.spool.segment import Segment
from tokenledger_exporter.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

LEDGER = "0123456789abcdef"
NOBODY = 65_534

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no owners")
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away"
)


@pytest.fixture(autouse=True)
def forgotten() -> Generator[None]:
    """Each finding is logged once a process: here, once a test."""
    permissions.warn_once.cache_clear()
    yield
    permissions.warn_once.cache_clear()


def forged(folder: Path, ledger: str = LEDGER, name: str = "1-dead-000001.seg") -> Path:
    """A segment of a dead writer with one call."""
    folder.mkdir(mode=0o700, exist_ok=True)
    segment = Segment(folder / name, encode_header(replace(HEADER, ledger=ledger)))
    segment.append(b"forged")
    segment.close(delete=False)
    return folder / name


def recovered(folder: Path) -> int:
    """How many calls a writer of that folder takes over."""
    spool = Spool(folder, replace(HEADER, ledger=folder.name))
    try:
        return sum(len(batch.payloads) for batch in spool.recovered_batches(100))
    finally:
        spool.close()


def loose(path: Path) -> None:
    path.chmod(0o660)


def foreign(path: Path) -> None:
    os.chown(path, NOBODY, -1)


def linked(path: Path) -> None:
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def named_twice(path: Path) -> None:
    os.link(path, path.with_name("elsewhere"))


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def test_a_segment_of_ones_own_is_recovered(tmp_path: Path) -> None:
    forged(tmp_path / LEDGER)
    assert recovered(tmp_path / LEDGER) == 1


@pytest.mark.parametrize(
    "change", [loose, pytest.param(foreign, marks=as_root), linked, named_twice, a_pipe]
)
def test_a_file_that_is_not_ones_own_is_left_alone_and_named(
    tmp_path: Path, change: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = forged(tmp_path / LEDGER)
    change(path)
    with caplog.at_level(logging.WARNING):
        assert recovered(tmp_path / LEDGER) == 0
        assert recovered(tmp_path / LEDGER) == 0
    assert os.path.lexists(path)
    assert [vars(r).get("event") for r in caplog.records] == ["spool_file_refused"]
    assert permissions.file_fault(path)


def test_a_segment_of_another_ledger_is_renamed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = forged(tmp_path / LEDGER, ledger="fedcba9876543210")
    assert recovered(tmp_path / LEDGER) == 0
    assert path.with_name(path.name + ".bad").exists()
    assert "a spool file is of another ledger; it was renamed to" in caplog.text


def open_to_all(folder: Path) -> None:
    folder.chmod(0o777)


def open_to_a_group(folder: Path) -> None:
    folder.chmod(0o770)


def a_link(folder: Path) -> None:
    folder.rename(folder.with_name("real"))
    folder.symlink_to(folder.with_name("real"))


@pytest.mark.parametrize(
    "change", [open_to_all, open_to_a_group, a_link, pytest.param(foreign, marks=as_root)]
)
def test_a_folder_of_another_user_is_neither_written_nor_read(
    tmp_path: Path, change: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / LEDGER
    path = forged(folder)
    change(folder)
    assert recovered(folder) == 0
    spool = Spool(folder, replace(HEADER, ledger=LEDGER))
    spool.append(b"ours")
    # It waits in memory, as where no file can be made.
    assert not spool.state.on_disk
    assert next(spool.own_batches(100)).payloads == [b"ours"]
    spool.close()
    assert "is ignored" in caplog.text
    assert list(folder.iterdir()) == [folder / path.name]


def test_a_file_system_that_names_another_owner_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As network file systems do: what this user creates belongs to another user at once."""
    forged(tmp_path / LEDGER)
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    assert recovered(tmp_path / LEDGER) == 1


def test_draining_and_doctor_name_what_they_leave_alone(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    monkeypatch.setenv("TOKENLEDGER_SPOOL_DIR", str(tmp_path))
    folder = tmp_path / fingerprint(database_url)
    loose(forged(folder, ledger=folder.name))
    done = CliRunner().invoke(main, ["spool", "drain"])
    assert "0 calls written" in done.stdout
    told = CliRunner().invoke(main, ["doctor"]).stdout
    assert "1-dead-000001.seg: other users may write to it" in told
    folder.chmod(0o777)
    done = CliRunner().invoke(main, ["spool", "drain"])
    assert done.exit_code == 1
    assert "other users may write to it" in done.stderr
    assert f"{folder} is not used: other users may write to it" in (
        CliRunner().invoke(main, ["doctor"]).stdout
    )
    assert ask(database_url, "SELECT count(*) FROM token_ledger_events") == [(0,)]
