"""More calls than the database takes, calls reported twice, and calls with odd values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from faults.counts import CallCounter
from faults.proxy import Fault
from faults.registry import case
from tokenledger_exporter.spool.codec import decode_record
from tokenledger_exporter.spool.segment import read_frames

if TYPE_CHECKING:
    from faults.world import World


@case("10,000 spans/s for 5 s (short: 0.2 s)")
def burst(world: World) -> None:
    calls = 50_000 if world.whole else 2_000
    world.run("spans", calls=calls, per_second=10_000.0, flush=60.0)


@case("10,000 spans/s against 200 ms a batch")
def slow_burst(world: World) -> None:
    world.proxy.prove(Fault.SLOW_COMMIT)
    world.proxy.become(Fault.SLOW_COMMIT)
    calls = 20_000 if world.whole else 1_000
    environment = {"TOKENLEDGER_BATCH_SIZE": "1000"}
    world.run("spans", environment, calls=calls, per_second=10_000.0, flush=60.0)
    world.proxy.become(Fault.NONE)


def _crowd(world: World, ending: str) -> None:
    calls = 10_000 if world.whole else 1_000
    world.run("crowd", calls=calls, ending=ending)


@case("10,000 calls open at once, half of them ended, then kill -9 (short: 1,000)")
def killed_crowd(world: World) -> None:
    _crowd(world, "kill")


@case("10,000 calls open at once, half of them ended, then exit (short: 1,000)")
def leaving_crowd(world: World) -> None:
    _crowd(world, "exit")


@case("10,000 calls open at once without a database (short: 1,000)")
def crowd_of_an_outage(world: World) -> None:
    world.proxy.become(Fault.REFUSE)
    _crowd(world, "exit")
    world.proxy.become(Fault.NONE)


@case("four processes replay the same 300 spans")
def replayed(world: World) -> None:
    """Each process hands in the very same records; 300 rows come of 1,200."""
    world.proxy.become(Fault.REFUSE)
    world.run("spans", calls=300, ending="kill")
    world.proxy.become(Fault.NONE)
    [segment] = world.spool.glob("*/*.seg")
    with segment.open("rb") as file:
        found = read_frames(file.fileno(), 0, segment.stat().st_size, 100_000)
    records = world.folder / "records"
    records.write_text("\n".join(payload.hex() for payload in found.payloads[1:]))
    assert decode_record(found.payloads[-1]).scope == "tokenledger.openai"
    children = [world.start("replay", records=str(records)) for _ in range(4)]
    for child in children:
        world.end(child)


@case("seeded equal span ids in two processes")
def seeded(world: World) -> None:
    """Both processes draw the same ids; both processes' calls are kept."""
    children = [world.start("seeded", calls=world.calls // 2) for _ in range(2)]
    for child in children:
        world.end(child)


@case("clock stepping back")
def backwards(world: World) -> None:
    world.run("backwards", calls=min(world.calls, 1_000))


@case("a poison row in every batch")
def poisoned(world: World) -> None:
    environment = {"TOKENLEDGER_BATCH_SIZE": "10"}
    world.run("poisoned", environment, calls=min(world.calls, 1_000), flush=60.0)
    world.recover()
    with psycopg.connect(world.url) as connection:
        [(refused,)] = connection.execute("SELECT count(*) FROM token_ledger_rejected").fetchall()
    assert refused == min(world.calls, 1_000) // 10
    # Calls that were not counted must not hide calls that were.
    assert CallCounter(world.counts).next_call()
