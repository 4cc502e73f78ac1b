"""How a call is measured: bytecodes by opcode trace, CPU time by interleaved rounds."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from benchmarks.bare_span import Turn

    Clock = Callable[[], int]
    Stream = Callable[[int], Iterator[object]]
    Variant = Callable[[Callable[[], object]], Turn]

_WARM_UP: Final = 20
_FEW_CHUNKS: Final = 20
_MANY_CHUNKS: Final = 220
AFTER_SWITCH: Final = 20
"""Calls after a variant is put into force that are not measured. An app patches once, a bench many
times, and every time the interpreter forgets what it had learned of the SDK's classes: the first
calls behind it take up to twice as long, the bare SDK's too, and more behind a patch."""


def bytecodes(turn: Turn, below: str = "") -> int:
    """Bytecodes one call executes in this thread: exact, and the same under any load.

    Args:
        turn: the call.
        below: counts code of files below this folder only; all code by default.
    """
    turn.prepare()
    for _ in range(_WARM_UP):
        turn.call()
    executed = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:  # noqa: ANN401 - of sys.settrace
        nonlocal executed
        frame.f_trace_opcodes = frame.f_code.co_filename.startswith(below)
        frame.f_trace_lines = False
        if event == "opcode":
            executed += 1
        return trace

    before = sys.gettrace()
    # A collection that falls into this call would add the finalizers of whatever it finds.
    gc.collect()
    gc.disable()
    # That took so long that the disk was synced meanwhile, which the next call requests again.
    turn.call()
    sys.settrace(trace)
    try:
        turn.call()
    finally:
        sys.settrace(before)
        gc.enable()
    return executed


def bytecodes_a_chunk(variant: Variant, stream: Stream, below: str = "") -> float:
    """Bytecodes that each chunk of text in a stream executes, the SDK's own code included.

    Args:
        variant: what is in force.
        stream: a stream of so many chunks.
        below: as in `bytecodes`.
    """

    def read(chunks: int) -> Callable[[], object]:
        return lambda: list(stream(chunks))

    # The difference of two lengths leaves out what a stream costs once.
    few, many = (bytecodes(variant(read(count)), below) for count in (_FEW_CHUNKS, _MANY_CHUNKS))
    return (many - few) / (_MANY_CHUNKS - _FEW_CHUNKS)


def cpu_microseconds(
    turns: Mapping[str, Turn],
    rounds: int,
    calls_a_turn: int,
    clock: Clock = time.thread_time_ns,
    after_switch: int = AFTER_SWITCH,
) -> dict[str, float]:
    """CPU time of a call of each kind, in microseconds: the tenth of its turns that were quickest.

    The quick ones were disturbed least, by other processes and by the batch processor's thread.

    Args:
        turns: what is compared, by name.
        rounds: how often every kind has its turn.
        calls_a_turn: calls in one turn.
        clock: CPU time in nanoseconds.
        after_switch: calls at the beginning of a turn that are not counted.
    """
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for turn in turns.values():
        turn.prepare()
        for _ in range(_WARM_UP):
            turn.call()
    for _ in range(rounds):
        for name, turn in turns.items():
            turn.prepare()
            for _ in range(after_switch):
                turn.call()
            begun = clock()
            for _ in range(calls_a_turn):
                turn.call()
            taken[name].append((clock() - begun) / calls_a_turn / 1_000)
    return {name: statistics.quantiles(times, n=10)[0] for name, times in taken.items()}
