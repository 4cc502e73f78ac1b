"""The spool keeps every record until it is committed, no matter what happens to the process."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

from support.spools import HEADER, recovered, waiting
from tokenledger_exporter.domain.span_record import SpoolHeader
from tokenledger_exporter.spool.codec import FORMAT_VERSION
from tokenledger_exporter.spool.segment import Segment
from tokenledger_exporter.spool.spool import MAX_MEMORY_RECORDS, Spool
from tokenledger_exporter.spool.waiting import waiting_calls

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

WRITER = """
import os, sys
from pathlib import Path
from tokenledger_exporter.domain.span_record import SpoolHeader
from tokenledger_exporter.spool.codec import FORMAT_VERSION
from tokenledger_exporter.spool.spool import Spool
from tokenledger_exporter.spool.waiting import waiting_calls
spool = Spool(Path(sys.argv[1]), SpoolHeader(format_version=FORMAT_VERSION, ledger="test"))
for number in range(100):
    spool.append(b"record %d" % number)
print("written", flush=True)
sys.stdin.read()
"""


def killed_writer(folder: Path) -> None:
    """A process that writes 100 records and dies by kill -9."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_records_come_back_in_order_and_in_bounded_batches(tmp_path: Path) -> None:
    spool = Spool(tmp_path, HEADER)
    records = [b"%d" % number for number in range(25)]
    for payload in records:
        spool.append(payload)
    assert spool.waiting == 25
    assert waiting(spool) == records
    assert spool.waiting == 0


def test_a_record_is_handed_out_again_until_it_is_forgotten(tmp_path: Path) -> None:
    spool = Spool(tmp_path, HEADER)
    spool.append(b"one")
    assert next(spool.own_batches(10)).payloads == [b"one"]
    assert next(spool.own_batches(10)).payloads == [b"one"]
    assert spool.waiting == 1


def test_a_committed_segment_leaves_nothing_on_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path, HEADER)
    spool.append(b"one")
    waiting(spool)
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_records_appended_while_a_batch_is_written_are_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path, HEADER)
    spool.append(b"one")
    batch = next(spool.own_batches(10))
    spool.append(b"two")
    batch.forget()
    assert waiting(spool) == [b"two"]


def test_a_process_that_is_never_idle_still_frees_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenledger_exporter.spool.spool.MAX_SEGMENT_BYTES", 1_000)
    spool = Spool(tmp_path, HEADER)
    seen: list[bytes] = []
    spool.append(b"0" * 100)
    for number in range(1, 200):
        batch = next(spool.own_batches(10))
        spool.append(b"%d" % number * 50)
        seen += batch.payloads
        batch.forget()
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3_000
    assert len(seen + waiting(spool)) == 200
    assert spool.waiting == 0


def test_a_record_made_by_garbage_collection_inside_the_lock_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dropped stream ends its call wherever collection happens to run, even in `append`."""
    spool = Spool(tmp_path, HEADER)

    class Dropped:
        def __del__(self) -> None:
            spool.append(b"dropped")

    def drops_the_stream(segment: Segment, payload: bytes) -> None:
        dropped.clear()
        really(segment, payload)

    dropped = [Dropped()]
    really = Segment.append
    monkeypatch.setattr(Segment, "append", drops_the_stream)
    spool.append(b"first")
    monkeypatch.undo()
    assert waiting(spool) == [b"first", b"dropped"]


def test_a_killed_process_loses_nothing_and_is_recovered_once(tmp_path: Path) -> None:
    killed_writer(tmp_path)
    heir = Spool(tmp_path, HEADER)
    assert recovered(heir) == [b"record %d" % number for number in range(100)]
    assert recovered(heir) == []
    assert list(tmp_path.iterdir()) == []


def test_a_living_process_keeps_its_segment(tmp_path: Path) -> None:
    living = Spool(tmp_path, HEADER)
    living.append(b"mine")
    assert recovered(Spool(tmp_path, HEADER)) == []
    assert waiting(living) == [b"mine"]


def test_a_recovery_that_fails_midway_leaves_the_segment(tmp_path: Path) -> None:
    killed_writer(tmp_path)
    batches = Spool(tmp_path, HEADER).recovered_batches(10)
    next(batches)
    batches.close()
    assert len(recovered(Spool(tmp_path, HEADER))) == 100


def test_a_torn_tail_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    killed_writer(tmp_path)
    segment = next(tmp_path.iterdir())
    os.truncate(segment, segment.stat().st_size - 3)
    heir = Spool(tmp_path, HEADER)
    assert len(recovered(heir)) == 99
    assert heir.state.torn == 1


def test_a_flipped_bit_costs_one_record_and_is_counted(tmp_path: Path) -> None:
    killed_writer(tmp_path)
    segment = next(tmp_path.iterdir())
    content = bytearray(segment.read_bytes())
    content[content.index(b"record 50")] ^= 1
    segment.write_bytes(content)
    heir = Spool(tmp_path, HEADER)
    assert recovered(heir) == [b"record %d" % number for number in range(100) if number != 50]
    assert heir.state.damaged == 1


def test_a_segment_cut_under_a_living_process_does_not_stop_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path, HEADER)
    for number in range(3):
        spool.append(b"record %d" % number)
    [segment] = tmp_path.iterdir()
    os.truncate(segment, segment.stat().st_size - 3)
    assert waiting(spool) == [b"record 0", b"record 1"]
    spool.append(b"later")
    assert waiting(spool) == [b"later"]
    assert spool.state.torn + spool.state.damaged == 1


def test_a_segment_of_an_unknown_format_is_renamed(tmp_path: Path) -> None:
    newer = Spool(tmp_path, SpoolHeader(format_version=FORMAT_VERSION + 1, ledger="test"))
    newer.append(b"from the future")
    newer.close()
    heir = Spool(tmp_path, HEADER)
    assert recovered(heir) == []
    assert [path.suffix for path in tmp_path.iterdir()] == [".bad"]
    assert len(heir.state.unreadable) == 1


def test_only_the_owner_may_read_the_spool(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    spool = Spool(folder, HEADER)
    spool.append(b"one")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_folder_that_takes_no_file_falls_back_to_bounded_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    spool = Spool(blocked / "spool", HEADER)
    for number in range(MAX_MEMORY_RECORDS + 5):
        spool.append(b"%d" % number)
    assert spool.state.refused == 5
    assert len(waiting(spool, 1_000)) == MAX_MEMORY_RECORDS
    assert [line.levelname for line in caplog.records] == ["WARNING", "ERROR"]


def test_a_forked_child_leaves_the_parents_records_to_the_parent(tmp_path: Path) -> None:
    spool = Spool(tmp_path, HEADER)
    spool.append(b"parent")
    child = os.fork()
    if not child:
        spool.after_fork()
        spool.append(b"child")
        os._exit(0 if waiting(spool) == [b"child"] and spool.waiting == 0 else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert waiting(spool) == [b"parent"]


def test_calls_that_finished_processes_left_are_counted_and_stay(tmp_path: Path) -> None:
    assert waiting_calls(tmp_path / "none") == 0
    living = Spool(tmp_path, HEADER)
    living.append(b"written within seconds")
    assert waiting_calls(tmp_path) == 0
    killed_writer(tmp_path)
    assert waiting_calls(tmp_path) == 100
    assert waiting_calls(tmp_path) == 100
    assert len(recovered(living)) == 100
    assert waiting_calls(tmp_path) == 0
