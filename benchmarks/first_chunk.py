"""How much later the first chunk of a stream reaches the app."""

from __future__ import annotations

import statistics
import time
from collections import deque
from typing import TYPE_CHECKING

from benchmarks.measures import AFTER_SWITCH

if TYPE_CHECKING:
    from benchmarks.stub_calls import StubCalls
    from benchmarks.variants import Variants


def first_chunk_delay(compared: Variants, stubs: StubCalls, rounds: int) -> float:
    """Microseconds between having the stream and having its first chunk, beyond the bare SDK's."""
    waited: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(rounds * 5):
        for name, turn in (
            ("bare", compared.bare(stubs.chat)),
            ("ours", compared.ours(stubs.chat)),
        ):
            turn.prepare()
            for _ in range(AFTER_SWITCH):
                deque(stubs.chat_stream(2), maxlen=0)
            stream = stubs.chat_stream(2)
            begun = time.thread_time_ns()
            next(stream)
            waited[name].append((time.thread_time_ns() - begun) / 1_000)
    return statistics.median(waited["ours"]) - statistics.median(waited["bare"])
