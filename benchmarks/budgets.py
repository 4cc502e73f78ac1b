"""What budgets promise, measured: `make bench-budgets`.

Overspend of many processes and callers, refusals by mistake, the time a call pays, and what
charging costs a writer. Every figure is against a real Postgres on loopback.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import psycopg

from support.guarded_calls import guarded_app
from support.ledger_rows import ask, chat_attributes, row
from tokenledger_exporter.budgets.budgets import budget_status, set_budget
from tokenledger_exporter.embedded.postgres import temporary_postgres
from tokenledger_exporter.maintenance.install import migrate
from tokenledger_exporter.recorder.budgets.guard import LeaseGuard
from tokenledger_exporter.recorder.budgets.holds import LeaseHold
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv.budgets import ROUND_TRIP, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from support.guarded_calls import GuardedApp
    from tokenledger_exporter.domain.ledger_row import LedgerRow

# gpt-4o: $2.50 per million input tokens and $10 per million output tokens.
_INPUT: Final = Decimal("2.5") / 1_000_000
_OUTPUT: Final = Decimal(10) / 1_000_000
_ONE_CALL: Final = 1_000 * _INPUT + 100 * _OUTPUT
_ATTRIBUTES: Final[dict[str, Any]] = {"gen_ai.request.max_tokens": 100, **chat_attributes()}
_BUDGET_CALLS: Final = 1_000
_PROCESSES: Final = 4
_CALLERS: Final = 50


def main(scale: float = 1.0) -> None:
    """Measure and print every figure; `scale` below 1 makes fewer calls."""
    with temporary_postgres() as url:
        migrate(url)
        overspend(url, is_random=False)
        overspend(url, is_random=True)
        false_refusals(url, int(100_000 * scale))
        time_per_call(url, int(5_000 * scale))
        writers(url, int(20_000 * scale))


def overspend(url: str, *, is_random: bool) -> None:
    """Let four processes of fifty callers spend one budget, until each is refused."""
    _empty(url)
    limit = _BUDGET_CALLS * _ONE_CALL
    set_budget(url, "b", limit=limit)
    with tempfile.TemporaryDirectory() as spool:
        words = [sys.executable, "-m", "benchmarks.budgets", "spend", url, spool, str(is_random)]
        processes = [
            subprocess.Popen([*words, str(seed)], stdout=subprocess.PIPE, text=True)
            for seed in range(_PROCESSES)
        ]
        refused = sum(int(process.communicate()[0]) for process in processes)
    [(cost, calls)] = ask(url, "SELECT sum(cost_usd), count(*) FROM token_ledger_events")
    [status] = budget_status(url, "b")
    costs = "random costs" if is_random else "exact estimates"
    print(
        f"overspend, {_PROCESSES} processes x {_CALLERS} callers, {costs}: spent ${cost:.4f} of "
        f"${limit:.4f} in {calls:,} calls, over by ${max(cost - limit, Decimal(0)):.4f} "
        f"({max(cost / limit - 1, Decimal(0)) * 100:.2f} %); {refused:,} callers refused; the "
        f"budget says ${status.spent_usd:.4f} spent, ${status.reserved_usd:.4f} reserved"
    )


def spend(url: str, spool: str, is_random: str, seed: str) -> None:
    """One process: half of its callers are threads, half are tasks; prints the refused ones."""
    refused: list[object] = []
    draw = random.Random(int(seed))  # noqa: S311 - traffic, not a secret
    with guarded_app(url, spool_dir=spool, flush_interval_seconds=0.5) as app:

        def call() -> bool:
            tokens = min(4_000, int(draw.lognormvariate(4.3, 0.8))) if is_random == "True" else 100
            begun = app.begin(gen_ai__usage__output_tokens=tokens)
            if isinstance(begun, Refusal):
                refused.append(begun)
                return False
            time.sleep(0.002)
            app.end(begun)
            return True

        def caller() -> None:
            while call():
                pass

        async def tasks() -> None:
            loop = asyncio.get_running_loop()

            async def task() -> None:
                while await loop.run_in_executor(None, call):
                    pass

            await asyncio.gather(*(task() for _ in range(_CALLERS // 2)))

        threads = [threading.Thread(target=caller) for _ in range(_CALLERS // 2)]
        for thread in threads:
            thread.start()
        asyncio.run(tasks())
        for thread in threads:
            thread.join()
    print(len(refused))


def false_refusals(url: str, calls: int) -> None:
    """Replay calls of skewed sizes against three budgets with room for all of them."""
    _empty(url)
    draw = random.Random(7)  # noqa: S311 - traffic, not a secret
    sizes = [min(16_000, int(draw.lognormvariate(5, 1.2))) for _ in range(calls)]
    needed = sum((1_000 * _INPUT + size * _OUTPUT for size in sizes), start=Decimal(0))
    set_budget(url, "all", limit=needed * Decimal("1.01"))
    set_budget(url, "team", where={"team": "ml"}, limit=needed * Decimal("1.02"))
    set_budget(url, "users", each="user", per="day", limit=needed / 20)
    refused = 0
    with guarded_app(url, flush_interval_seconds=0.5) as app:
        for number, size in enumerate(sizes):
            refused += (
                app.call(
                    gen_ai__usage__output_tokens=size,
                    tokenledger__team="ml",
                    user__id=f"user-{number % 100}",
                )
                is not None
            )
    print(f"false refusals: {refused:,} of {calls:,} ({refused / max(calls, 1) * 100:.3f} %)")


def time_per_call(url: str, calls: int) -> None:
    """Time the question alone, far from the limit and near it."""
    _empty(url)
    set_budget(url, "far", limit=1_000_000)
    with guarded_app(url) as app:
        _report("far from the limit", _far(app, calls))
    _empty(url)
    set_budget(url, "near", each="user", limit=30 * _ONE_CALL)
    with guarded_app(url) as app:
        _report("near the limit", _near(app, calls))


def _far(app: GuardedApp, calls: int) -> list[float]:
    guard = _warm(app)
    times: list[float] = []
    for _ in range(calls):
        before = time.perf_counter()
        hold = guard.try_reserve(_ATTRIBUTES, 4_000)
        times.append(time.perf_counter() - before)
        if hold is ROUND_TRIP:
            hold = guard.reserve(_ATTRIBUTES, 4_000)
            times.pop()
        _release(hold)
    return times


def _near(app: GuardedApp, calls: int) -> list[float]:
    guard = _warm(app)
    times: list[float] = []
    for number in range(calls):
        # Each user has room for 30 calls, which is too little for a lease.
        attributes = {**_ATTRIBUTES, "user.id": f"user-{number}"}
        before = time.perf_counter()
        hold: object = guard.try_reserve(attributes, 4_000)
        if hold is ROUND_TRIP:
            hold = guard.reserve(attributes, 4_000)
            times.append(time.perf_counter() - before)
        _release(hold)
    return times


def _warm(app: GuardedApp) -> LeaseGuard:
    app.call()
    app.ledger.flush(5.0)
    guard = app.guard
    assert isinstance(guard, LeaseGuard)
    return guard


def _release(hold: object) -> None:
    if isinstance(hold, LeaseHold):
        hold.release()


def _report(name: str, times: Sequence[float]) -> None:
    ordered = sorted(times)
    p50, p99 = (ordered[int(len(ordered) * share)] * 1e6 for share in (0.5, 0.99))
    print(
        f"time per call, {name}: median {p50:,.1f} us, p99 {p99:,.1f} us ({len(ordered):,} calls)"
    )


def writers(url: str, rows: int, rounds: int = 6) -> None:
    """Compare a writer's rows per second with ten matching budgets and with none."""
    for name, each in (("one limit each", ""), ("one limit per user, of 200 users", "user")):
        rates: dict[int, list[float]] = {0: [], 10: []}
        for _ in range(rounds):
            for budgets, found in rates.items():
                _empty(url)
                for number in range(budgets):
                    set_budget(url, f"b{number}", limit=1_000_000, each=each)
                batch = [
                    row(chat_attributes(user__id=f"user-{number % 200}"))
                    for number in range(rows // 10)
                ]
                found.append(_rate(url, batch))
        none, ten = (max(found) for found in rates.values())
        print(
            f"writers, ten budgets with {name}: {ten:,.0f} rows/s, {none:,.0f} without: "
            f"{ten / none:.2f}"
        )


def _rate(url: str, rows: Sequence[LedgerRow]) -> float:
    with closing(BatchWriter(url)) as writer:
        began = time.perf_counter()
        for first in range(0, len(rows), 500):
            writer.write(rows[first : first + 500])
        return len(rows) / (time.perf_counter() - began)


def _empty(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM token_ledger_budgets")
        connection.execute("TRUNCATE token_ledger_events, token_ledger_refusals")


if __name__ == "__main__":
    command: Callable[..., None] = spend if sys.argv[1:2] == ["spend"] else main
    command(*(sys.argv[2:] if command is spend else map(float, sys.argv[1:])))
