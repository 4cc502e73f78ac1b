"""What a disk does to a spool: fills up, is read-only, tears a tail, flips a bit."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import psycopg

from faults.proxy import Fault
from faults.registry import SkippedError, case

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from faults.world import World


@case("client disk full, with a short write")
def client_full(world: World) -> None:
    """A disk of 64 KiB: what does not fit waits in memory, and nothing is torn."""
    with _small_disk(world.spool, "64k"):
        world.proxy.prove(Fault.REFUSE)
        world.proxy.become(Fault.REFUSE)
        calls = min(world.calls * 3, 5_000)
        child = world.start("spans", calls=calls, ending="wait")
        world.expect(child, "made")
        world.proxy.become(Fault.NONE)
        # Memory is written before the exit, whose two seconds a busy machine may need for less.
        world.until(lambda: world.rows() >= calls, "the calls are written")
        child.communicate(timeout=60)
        world.recover()


@case("read-only spool folder")
def read_only(world: World) -> None:
    with _small_disk(world.spool, "64k", "ro"):
        world.run("spans", calls=min(world.calls, 5_000), flush=30.0)


@contextlib.contextmanager
def _small_disk(folder: Path, size: str, *options: str) -> Generator[None]:
    if os.geteuid():
        raise SkippedError("only root can mount a small disk")
    folder.mkdir(parents=True)
    mount_options = ",".join((f"size={size}", *options))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", mount_options, "faults", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        raise SkippedError("this machine mounts no tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _left_by_a_kill(world: World) -> Path:
    """The segment of a process that was killed with everything still on disk."""
    world.proxy.become(Fault.REFUSE)
    world.run("spans", calls=world.calls, ending="kill")
    world.proxy.become(Fault.NONE)
    [segment] = world.spool.glob("*/*.seg")
    return segment


@case("torn tail")
def torn(world: World) -> None:
    """A write a power loss cut in half: what is before it is whole, and the tear is counted."""
    segment = _left_by_a_kill(world)
    with segment.open("ab") as file:
        file.write(b"\xff\x00\x00\x00half")
    world.recover()
    _assert_counted(world, 1)


@case("bit flip")
def flipped(world: World) -> None:
    """One flipped bit costs one record, which is counted: here a record that belongs to no call."""
    segment = _left_by_a_kill(world)
    with segment.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        frame = (4).to_bytes(4, "little") + (0).to_bytes(4, "little") + b"flip"
        file.write(frame)
    world.recover()
    _assert_counted(world, 1)


@case("segment of an unknown version")
def unknown(world: World) -> None:
    """It is renamed, and does not block what follows it."""
    segment = _left_by_a_kill(world)
    (segment.parent / "0-0.seg").write_bytes(b"from the future")
    world.recover()
    assert [path.name for path in segment.parent.glob("*.bad")] == ["0-0.seg.bad"]


def _assert_counted(world: World, records: int) -> None:
    with psycopg.connect(world.url) as connection:
        found = connection.execute("SELECT sum(records) FROM token_ledger_losses").fetchone()
    assert found == (records,), f"{found} in token_ledger_losses"


@case("two processes recover one segment")
def two_recover(world: World) -> None:
    _left_by_a_kill(world)
    children = [world.start("spans", calls=5, flush=30.0) for _ in range(2)]
    for child in children:
        world.end(child)
    assert not list(world.spool.glob("*/*.seg"))


@case("two apps with two ledgers")
def two_ledgers(world: World) -> None:
    """A process that writes to another ledger leaves ours alone."""
    _left_by_a_kill(world)
    before = sorted(world.spool.glob("*/*.seg"))
    elsewhere = world.url.rpartition("/")[0] + "/postgres"
    counts = world.folder / "others"
    counts.mkdir()
    environment = {"TOKENLEDGER_DATABASE_URL": elsewhere, "FAULTS_COUNTS": str(counts)}
    world.run("spans", environment, calls=5, flush=5.0)
    assert set(before) <= set(world.spool.glob("*/*.seg"))
