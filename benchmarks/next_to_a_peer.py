"""Measures one peer in its own environment: `python -m benchmarks.next_to_a_peer NAME ROUNDS`.

Bare SDK, floor, peer and, where it can be imported there, ours take turns in this one process. The
last line is `Figures` as JSON. `benchmarks.peer_calls` makes the environment and reads the line.
"""

from __future__ import annotations

import asyncio
import functools
import json
import signal
import sys
import time
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from opentelemetry import trace

from benchmarks.bare_span import Floor, Turn, tracing_to_nowhere
from benchmarks.instrumentations import PEERS
from benchmarks.measures import bytecodes, bytecodes_a_chunk, cpu_microseconds
from benchmarks.stub_calls import StubCalls
from benchmarks.switching import Switch

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.instrumentations import Peer
    from benchmarks.measures import Stream, Variant

CALLS: Final[tuple[str, ...]] = ("chat", "responses", "anthropic")
STREAMS: Final[tuple[str, ...]] = ("openai chunk", "anthropic chunk")
ASYNC: Final = "async x50"
_AT_ONCE: Final = 50
_CALLS_A_TURN: Final = 40


@dataclass(frozen=True)
class Figures:
    """What is added to the bare SDK, by variant (`floor`, `peer`, `ours`) and then by call.

    Args:
        bytecodes: of `CALLS`, `STREAMS` and `ASYNC`, in the calling thread.
        cpu_us: of `CALLS`, in the calling thread, and of `ASYNC`, in the process; microseconds.
    """

    bytecodes: dict[str, dict[str, float]]
    cpu_us: dict[str, dict[str, float]]


class _InTurn(Floor):
    """The variants of one process."""

    def __init__(self, peer: Peer) -> None:
        provider = tracing_to_nowhere()
        trace.set_tracer_provider(provider)
        self._in_force: Switch | None = None
        super().__init__(provider.get_tracer("floor"), lambda: self._put(None))
        self._switches = {"peer": Switch(lambda: peer.turn_on(provider))}
        if peer.runs_with_ours:
            self._switches["ours"] = Switch(_patch_with_ours)
        self.variants: dict[str, Variant] = {
            "floor": self.floor,
            **{name: functools.partial(self._patched, name) for name in self._switches},
            # Counted last, after every other was on and off.
            "bare": self.bare,
        }

    def _patched(self, name: str, call: Callable[[], object]) -> Turn:
        return Turn(lambda: self._put(self._switches[name]), call)

    def _put(self, switch: Switch | None) -> None:
        if self._in_force is not None:
            self._in_force.off()
        if switch is not None:
            switch.on()
        self._in_force = switch


def _patch_with_ours() -> None:
    ours = import_module("tokenledger")
    ours.patch_openai()
    ours.patch_anthropic()


def main() -> None:
    """Measure the peer that is named and print its figures."""
    name, rounds = sys.argv[1], int(sys.argv[2])
    [peer] = [peer for peer in PEERS if peer.name == name]
    # A shell's job in the background ignores it, and `asyncio.run`, which Traceloop starts for each
    # call, does a thousand bytecodes less then.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print(json.dumps(asdict(_measured(peer, rounds))))


def _measured(peer: Peer, rounds: int) -> Figures:
    stubs = StubCalls()
    loop = asyncio.new_event_loop()
    calls: dict[str, Callable[[], None]] = dict(
        zip(CALLS, (stubs.chat, stubs.response, stubs.message), strict=True)
    )
    asked = functools.partial(stubs.chat_stream, asked=True)
    streams: dict[str, Stream] = dict(zip(STREAMS, (asked, stubs.message_stream), strict=True))

    async def fifty() -> None:
        await asyncio.gather(*(stubs.async_chat() for _ in range(_AT_ONCE)))

    def at_once() -> None:
        loop.run_until_complete(fifty())

    # Loads what the SDKs load when it is first used.
    at_once()
    # openai asks a little more of each call where the older httpx is loaded, which some peers need.
    if find_spec("httpx") is not None:
        import_module("httpx")
    untouched = _counted(lambda call: Turn(_nothing, call), calls, streams)
    compared = _InTurn(peer)
    counts = {
        name: _counted(variant, calls, streams) for name, variant in compared.variants.items()
    }
    if (left := counts["bare"]) != untouched:
        raise AssertionError(f"it leaves something behind in the SDKs: {untouched} became {left}")
    times = {
        name: cpu_microseconds(_turns(compared, call), rounds, _CALLS_A_TURN)
        for name, call in calls.items()
    }
    # One turn's call is fifty calls at once.
    fifties = _turns(compared, at_once)
    fifties["floor"] = compared.async_floor(stubs.async_chat, loop, _AT_ONCE)
    times[ASYNC] = cpu_microseconds(fifties, rounds, 2, time.process_time_ns, after_switch=1)
    for variant, turn in fifties.items():
        counts[variant][ASYNC] = bytecodes(turn) / _AT_ONCE
        times[ASYNC][variant] /= _AT_ONCE
    loop.close()
    taken = {key: {name: of_call[key] for name, of_call in times.items()} for key in counts}
    return Figures(_beyond_bare(counts), _beyond_bare(taken))


def _nothing() -> None:
    """Leave the SDKs as they are."""


def _turns(compared: _InTurn, call: Callable[[], object]) -> dict[str, Turn]:
    return {name: variant(call) for name, variant in compared.variants.items()}


def _counted(
    variant: Variant, calls: dict[str, Callable[[], None]], streams: dict[str, Stream]
) -> dict[str, float]:
    return {
        **{name: bytecodes(variant(call)) for name, call in calls.items()},
        **{name: bytecodes_a_chunk(variant, stream) for name, stream in streams.items()},
    }


def _beyond_bare(found: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    bare = found["bare"]
    return {
        variant: {name: value - bare[name] for name, value in values.items()}
        for variant, values in found.items()
        if variant != "bare"
    }


if __name__ == "__main__":
    main()
