"""Prints what we add to a call next to its target: `make bench`.

Bytecodes are exact. Times are CPU times, the quickest tenth of turns taken one after the other in
one process; what counts is their ratio to one bare span, since a busy machine slows both.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import tokenledger
from benchmarks.durable import added_to_a_call
from benchmarks.first_chunk import first_chunk_delay
from benchmarks.imports import FIRST_USE, import_cost
from benchmarks.measures import bytecodes, bytecodes_a_chunk, cpu_microseconds
from benchmarks.stub_calls import StubCalls
from benchmarks.variants import variants

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.measures import Stream
    from benchmarks.variants import Variants

OWN_CODE: Final = str(Path(tokenledger.__file__).parent)
"""Folder of what runs in the app, without the SDK's code that it makes run."""

_AT_ONCE: Final = 50


def main() -> None:
    """Measure and print every figure."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    stubs = StubCalls()
    calls = {"chat": stubs.chat, "responses": stubs.response, "anthropic": stubs.message}
    with variants() as compared:
        _print_bytecodes(compared, calls)
        _print_chunks(compared, stubs)
        for name, call in calls.items():
            _print_times(name, compared, call, rounds)
        loop = asyncio.new_event_loop()
        _print_async(compared, stubs, loop, rounds)
        loop.close()
        delay = first_chunk_delay(compared, stubs, rounds)
        print(f"first chunk delayed by {delay:.1f} us (aim: <= 50)")
    added = added_to_a_call()
    print(
        f"START and END on disk: median {added.median_us:.1f} us (aim: <= 8),"
        f" p99 {added.p99_us:.1f} us (aim: <= 100)"
    )
    for what, used in (("alone", ""), ("and its first use", FIRST_USE)):
        cost = import_cost(used)
        print(
            f"import tokenledger {what}: {cost.cpu_ms:.1f} ms CPU (aim: <= 15),"
            f" {cost.megabytes:.1f} MB (aim: <= 15), heavy modules: {cost.heavy or 'none'}"
        )


def _print_bytecodes(compared: Variants, calls: dict[str, Callable[[], None]]) -> None:
    print("bytecodes added to a call (aim: <= 3,600 on CPython 3.11)")
    for name, call in calls.items():
        bare = bytecodes(compared.bare(call))
        floor = bytecodes(compared.floor(call)) - bare
        full = bytecodes(compared.full_floor(call)) - bare
        ours = bytecodes(compared.ours(call)) - bare
        booked = bytecodes(compared.booked(call)) - bare
        print(
            f"  {name:10} floor {floor:6,}  with 18 attributes, no baggage {full:6,}"
            f"  ours {ours:6,}  with spool {booked:6,}  (bare call {bare:,})"
        )


def _print_chunks(compared: Variants, stubs: StubCalls) -> None:
    print("bytecodes added to a streamed chunk (aim: <= 30)")
    asked = functools.partial(stubs.chat_stream, asked=True)
    streams: dict[str, Stream] = {
        "openai, usage asked for by the app": asked,
        "openai, by us (the SDK reads one field more)": stubs.chat_stream,
        "anthropic": stubs.message_stream,
    }
    for name, stream in streams.items():
        added, own = chunk_bytecodes(compared, stream), chunk_bytecodes(compared, stream, OWN_CODE)
        print(f"  {name:45} {added:5.1f}  of them in our code {own:5.1f}")


def chunk_bytecodes(compared: Variants, stream: Stream, below: str = "") -> float:
    """Bytecodes we add to each chunk of text in a stream, in code below one folder if given."""
    ours, bare = (
        bytecodes_a_chunk(variant, stream, below) for variant in (compared.ours, compared.bare)
    )
    return ours - bare


def _print_times(name: str, compared: Variants, call: Callable[[], None], rounds: int) -> None:
    turns = {
        "bare": compared.bare(call),
        "floor": compared.floor(call),
        "full": compared.full_floor(call),
        "ours": compared.ours(call),
        "booked": compared.booked(call),
    }
    _print_ratios(name, cpu_microseconds(turns, rounds, 40))


def _print_async(
    compared: Variants, stubs: StubCalls, loop: asyncio.AbstractEventLoop, rounds: int
) -> None:
    async def fifty() -> None:
        await asyncio.gather(*(stubs.async_chat() for _ in range(_AT_ONCE)))

    def run() -> None:
        loop.run_until_complete(fifty())

    turns = {
        "bare": compared.bare(run),
        "floor": compared.async_floor(stubs.async_chat, loop, _AT_ONCE),
        "ours": compared.ours(run),
        "booked": compared.booked(run),
    }
    bare, floor, ours, booked = (bytecodes(turn) / _AT_ONCE for turn in turns.values())
    print(
        f"bytecodes added, async x{_AT_ONCE}: floor {floor - bare:,.0f}  ours {ours - bare:,.0f}"
        f" = {(ours - bare) / (floor - bare):4.2f} x  with spool {booked - bare:,.0f}"
    )
    # One turn's call is fifty calls at once.
    times = cpu_microseconds(turns, max(4, rounds // 4), 2, time.process_time_ns, after_switch=1)
    _print_ratios("async x50", {name: taken / _AT_ONCE for name, taken in times.items()})


def _print_ratios(name: str, times: dict[str, float]) -> None:
    floor, ours, booked = (times[key] - times["bare"] for key in ("floor", "ours", "booked"))
    full = f"  (18 attributes {times['full'] - times['bare']:6.1f} us)" if "full" in times else ""
    print(
        f"CPU added, {name:10} floor {floor:6.1f} us{full}"
        f"  ours {ours:6.1f} us = {ours / floor:4.2f} x"
        f" (aim: <= 1.6)  with spool {booked:6.1f} us = ours + {booked - ours:5.1f} us"
        f" (aim: <= 12)  (bare {times['bare']:.0f} us)"
    )


if __name__ == "__main__":
    main()
