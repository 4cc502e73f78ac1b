"""How much a spool keeps, and how soon that is on the disk itself."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING

from support.ledgers import DOWN, call, opened
from support.spools import HEADER, waiting
from tokenledger_exporter.spool.fsync import FsyncThread
from tokenledger_exporter.spool.spool import Spool

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_limit_is_the_folders_and_dead_processes_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenledger_exporter.spool.spool.MAX_BYTES", 5_000)
    (tmp_path / "1-dead-000000.seg").write_bytes(b"0" * 4_000)
    spool = Spool(tmp_path, HEADER, max_in_memory=2)
    spool.refresh_usage()
    for _ in range(20):
        spool.append(b"0" * 100)
    kept = spool.state
    assert spool.waiting_in_memory == 2
    # 1,000 bytes are left: a header of 50 and 8 records, with one more begun below the limit.
    assert 7 <= spool.waiting - 2 <= 9
    assert kept.refused == 20 - spool.waiting == kept.lost


def test_a_dead_process_that_is_recovered_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenledger_exporter.spool.spool.MAX_BYTES", 5_000)
    dead = tmp_path / "1-dead-000000.seg"
    dead.write_bytes(b"0" * 6_000)
    spool = Spool(tmp_path, HEADER)
    spool.refresh_usage()
    spool.append(b"in memory")
    dead.unlink()
    spool.refresh_usage()
    spool.append(b"on disk")
    assert spool.waiting_in_memory == 1
    assert waiting(spool) == [b"on disk", b"in memory"]


def test_space_used_by_others_counts_from_the_next_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenledger_exporter.spool.spool.MAX_BYTES", 5_000)
    spool = Spool(tmp_path, HEADER)
    for _ in range(2):
        spool.append(b"on disk")
    (tmp_path / "1-dead-000000.seg").write_bytes(b"0" * 6_000)
    spool.refresh_usage()
    spool.append(b"in memory")
    assert (spool.waiting, spool.waiting_in_memory) == (3, 1)


def test_a_disk_that_takes_records_again_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, HEADER)
    for _ in range(2):
        spool.append(b"on disk")
    with monkeypatch.context() as disk:
        disk.setattr("tokenledger_exporter.spool.segment.os.write", _refused)
        assert spool.append(b"in memory") == 3
        assert spool.append(b"sent and gone", ended=False) == 3
    assert not spool.state.on_disk
    assert spool.append(b"on disk again") == 4
    assert spool.state.on_disk
    assert waiting(spool) == [b"on disk", b"on disk", b"on disk again", b"in memory"]


def _refused(_fd: int, _frame: bytes) -> int:
    raise OSError(errno.ENOSPC, "no space left")


def test_what_is_spooled_is_synced_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = threading.Event()

    def note(_fd: int) -> None:
        synced.set()

    monkeypatch.setattr("tokenledger_exporter.spool.spool.sync_data", note)
    with opened(DOWN, spool_dir=str(tmp_path)) as ledger:
        call(ledger)
        assert synced.wait(5.0)


def test_a_sync_takes_only_what_is_new_and_the_folder_of_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("tokenledger_exporter.spool.spool.sync_data", synced.append)
    spool = Spool(tmp_path, HEADER)
    spool.sync()
    assert len(synced) == 0
    for _ in range(10):
        spool.append(b"one")
    spool.sync()
    assert len(synced) == 2
    spool.sync()
    assert len(synced) == 2
    spool.append(b"two")
    spool.sync()
    assert len(synced) == 3


def test_a_disk_that_does_not_sync_costs_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_fd: int) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr("tokenledger_exporter.spool.spool.sync_data", broken)
    spool = Spool(tmp_path, HEADER)
    spool.append(b"one")
    spool.sync()
    assert waiting(spool) == [b"one"]


def test_many_notifications_cause_one_sync() -> None:
    syncs: list[None] = []
    done = threading.Event()

    def sync() -> None:
        syncs.append(None)
        done.set()

    syncer = FsyncThread(sync)
    for _ in range(100):
        if not syncer.due:
            syncer.notice()
    assert done.wait(5.0)
    syncer.stop()
    assert len(syncs) == 2
    assert "tokenledger-sync" not in {thread.name for thread in threading.enumerate()}
