"""Many calls open at once, with the ledger and without: `python -m benchmarks.open_calls`.

Each run is a process of its own, the kinds and the two variants in turn: all calls are begun one
after another, held until the last is open, and then answered one after another. Measured are the
time of a call from its beginning to its end without the time it was held, how late an event loop
that should tick every millisecond ticks, how long the interpreter takes to exit, and the rows.
The interpreter's garbage collection is off in both variants: with so many calls open a full one
takes up to half a second, with the ledger or without, and would hide everything else.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from openai import AsyncOpenAI, OpenAI

import tokenledger
from benchmarks import children
from benchmarks.stub_calls import chat_answer
from tokenledger_exporter.embedded.postgres import temporary_postgres
from tokenledger_exporter.maintenance.install import migrate

KINDS: Final = ("asyncio", "streams", "threads")
ATTRIBUTION: Final[dict[str, Any]] = {
    "user_id": "ada",
    **{f"note_{number}": "n" * 250 for number in range(4)},
}
"""The user that every call is for: about a kilobyte."""

_TICK_SECONDS: Final = 0.001
_STACK_BYTES: Final = 256 * 1024
_URL: Final = "http://127.0.0.1:9/v1"
_MESSAGES: Final[Any] = [{"role": "user", "content": "hello"}]


@dataclass(frozen=True)
class Measured:
    """What one process says of itself.

    Args:
        call_us: microseconds of wall time that a call takes, the time it was held left out.
        stall_p999_ms: 99.9th percentile of a tick's lateness, milliseconds; 0 without a loop.
        stall_worst_ms: the worst of them.
        ended_at: when its last line of code ran, on the clock all processes share.
    """

    call_us: float
    stall_p999_ms: float
    stall_worst_ms: float
    ended_at: float


@dataclass(frozen=True)
class Run:
    """One process, seen from outside as well.

    Args:
        measured: what it says of itself.
        exit_seconds: from its last line to its end.
        rows: rows the ledger holds afterwards with their cost and their user.
    """

    measured: Measured
    exit_seconds: float
    rows: int


def run(kind: str, calls: int, database_url: str = "") -> Run:
    """Measure one kind in a process of its own; without a database the SDK is bare."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**children.environment(), "TOKENLEDGER_SPOOL_DIR": folder}
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.open_calls", kind, str(calls)]
        child = subprocess.run(
            [*command, database_url], env=environment, stdout=subprocess.PIPE, check=True, text=True
        )
        ended = time.monotonic()
        measured = Measured(**json.loads(child.stdout))
        if not database_url:
            return Run(measured, ended - measured.ended_at, 0)
        # Whatever the exit left in the spool is written by the next process.
        drain = [str(Path(sys.executable).with_name("tokenledger")), "spool", "drain"]
        environment["TOKENLEDGER_DATABASE_URL"] = database_url
        subprocess.run(drain, env=environment, stdout=subprocess.DEVNULL, check=True)
    with psycopg.connect(database_url) as connection:
        [(rows,)] = connection.execute(
            "SELECT count(*) FROM token_ledger_events WHERE cost_usd > 0 AND user_id = 'ada'"
            " AND input_tokens = 1189 AND length(metadata->>'note_3') = 250"
        ).fetchall()
        connection.execute("TRUNCATE token_ledger_events")
    return Run(measured, ended - measured.ended_at, rows)


class _Gate:
    """Holds every call until it is let through, sync or async."""

    def __init__(self, calls: int) -> None:
        self.begun: list[float] = [0.0] * calls
        self.held: list[float] = [0.0] * calls
        self.let_go: list[float] = [0.0] * calls
        self.ended: list[float] = [0.0] * calls

    def call_us(self) -> float:
        """Median microseconds of a call without the time it was held."""
        numbers = range(len(self.begun))
        own = (self.held[i] - self.begun[i] + self.ended[i] - self.let_go[i] for i in numbers)
        return statistics.median(own) * 1e6


def _in_process(kind: str, calls: int, database_url: str) -> Measured:
    gc.disable()
    if database_url:
        tokenledger.configure(database_url=database_url, app_name="bench")
        tokenledger.patch_openai()
    gate = _Gate(calls)
    late: list[float] = [0.0]
    with tokenledger.attribution(**ATTRIBUTION):
        if kind == "threads":
            _threads(gate)
        else:
            late = asyncio.run(_tasks(gate, streamed=kind == "streams"))
    late.sort()
    return Measured(
        call_us=gate.call_us(),
        stall_p999_ms=late[len(late) * 999 // 1_000] * 1e3,
        stall_worst_ms=late[-1] * 1e3,
        ended_at=time.monotonic(),
    )


async def _tasks(gate: _Gate, *, streamed: bool) -> list[float]:
    """Calls of one event loop; returns how late its ticks were."""
    calls = len(gate.begun)
    http: Any = importlib.import_module("httpx2")
    doors, arrived = ([asyncio.Event() for _ in range(calls)] for _ in range(2))
    order = iter(range(calls))

    async def answer(request: Any) -> Any:  # noqa: ANN401 - of httpx2
        number = next(order)
        gate.held[number] = time.perf_counter()
        arrived[number].set()
        await doors[number].wait()
        gate.let_go[number] = time.perf_counter()
        content, headers = chat_answer(json.loads(request.content))
        return http.Response(200, content=content, headers=headers)

    client = AsyncOpenAI(
        api_key="k",
        base_url=_URL,
        timeout=None,
        http_client=http.AsyncClient(transport=http.MockTransport(answer), timeout=None),
    )

    async def call(number: int) -> None:
        gate.begun[number] = time.perf_counter()
        create: Any = client.chat.completions.create
        if streamed:
            async for _ in await create(
                model="gpt-4o", messages=_MESSAGES, max_tokens=3, stream=True
            ):
                pass
        else:
            await create(model="gpt-4o", messages=_MESSAGES)
        gate.ended[number] = time.perf_counter()

    # The SDK's first call asks for the platform, in a process of its own.
    doors[0].set()
    await call(0)
    ticking, late = True, [0.0]

    async def tick() -> None:
        while ticking:
            due = time.perf_counter() + _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)
            late.append(time.perf_counter() - due)

    ticker = asyncio.create_task(tick())
    tasks: list[asyncio.Task[None]] = []
    for number in range(1, calls):
        tasks.append(asyncio.create_task(call(number)))
        await arrived[number].wait()
    for number, task in enumerate(tasks, start=1):
        doors[number].set()
        await task
    ticking = False
    await ticker
    await client.close()
    return late


def _threads(gate: _Gate) -> None:
    """One thread a call, all of them open before the first is answered."""
    calls = len(gate.begun)
    http: Any = importlib.import_module("httpx2")
    doors = [threading.Event() for _ in range(calls)]
    held = [threading.Event() for _ in range(calls)]
    order = iter(range(calls))

    def answer(request: Any) -> Any:  # noqa: ANN401 - of httpx2
        number = next(order)
        gate.held[number] = time.perf_counter()
        held[number].set()
        doors[number].wait()
        gate.let_go[number] = time.perf_counter()
        content, headers = chat_answer(json.loads(request.content))
        return http.Response(200, content=content, headers=headers)

    client = OpenAI(
        api_key="k",
        base_url=_URL,
        timeout=None,
        http_client=http.Client(transport=http.MockTransport(answer), timeout=None),
    )

    def call(number: int) -> None:
        gate.begun[number] = time.perf_counter()
        create: Any = client.chat.completions.create
        with tokenledger.attribution(**ATTRIBUTION):
            create(model="gpt-4o", messages=_MESSAGES)
        gate.ended[number] = time.perf_counter()

    before = threading.stack_size(_STACK_BYTES)
    threads = [threading.Thread(target=call, args=(number,)) for number in range(calls)]
    for number, thread in enumerate(threads):
        thread.start()
        held[number].wait()
    for number, thread in enumerate(threads):
        doors[number].set()
        thread.join()
    threading.stack_size(before)


def main() -> None:
    """Measure every kind, bare and with the ledger in turn, and print medians."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    print(f"{calls:,} calls open at once, 1 KB of attribution each, medians of {rounds} rounds")
    with temporary_postgres() as url:
        migrate(url)
        for kind in KINDS:
            pairs = [(run(kind, calls), run(kind, calls, url)) for _ in range(rounds)]
            bare, ours = ([pair[which].measured for pair in pairs] for which in (0, 1))
            median = statistics.median
            added = median(o.call_us - b.call_us for b, o in zip(bare, ours, strict=True))
            line = f"{kind:8} +{added:,.0f} us a call (aim: <= 300)"
            if kind != "threads":
                stall, floor = (median(one.stall_p999_ms for one in all_) for all_ in (ours, bare))
                line += f"  stall p99.9 {stall:.1f} ms, bare {floor:.1f} (aim: <= 5 more)"
            exits = [o.exit_seconds - b.exit_seconds for b, o in pairs]
            rows = min(pair[1].rows for pair in pairs)
            print(f"{line}  exit +{median(exits):.2f} s (aim: <= 2)  rows {rows:,} of {calls:,}")


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in KINDS:
        print(json.dumps(vars(_in_process(sys.argv[1], int(sys.argv[2]), sys.argv[3]))))
    else:
        main()
