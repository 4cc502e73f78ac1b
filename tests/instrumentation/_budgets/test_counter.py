"""The counter's file is shared by threads, forked children and other processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tokenledger._budgets.counter import Counter, CounterUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from tokenledger._budgets.counter import Totals

CENT = Decimal("0.01")
NOTHING = Decimal(0)


@pytest.fixture
def counter(tmp_path: Path) -> Counter:
    return Counter.create(tmp_path / "counter.json", NOTHING)


def sums(counter: Counter) -> tuple[Decimal, Decimal]:
    return counter.change(lambda totals: (totals.spent, totals.all_reserved))


def reserve(counter: Counter, amount: Decimal = CENT) -> None:
    counter.change(lambda totals: totals.reserve(os.getpid(), amount))


def exit_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_totals_are_exact_after_many_changes(counter: Counter) -> None:
    third = Decimal("0.00333333333333")
    for _ in range(300):
        reserve(counter)
        counter.settle(os.getpid(), CENT, third)
    assert sums(counter) == (300 * third, NOTHING)


def test_two_openings_of_a_file_are_one_counter(counter: Counter) -> None:
    assert counter.path is not None
    other = Counter(counter.path)

    def add(number: int) -> None:
        each = (counter, other)[number % 2]
        reserve(each)
        each.settle(os.getpid(), CENT, CENT)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(400)))
    assert sums(counter) == sums(other) == (Decimal(4), NOTHING)


def test_a_call_that_ends_during_a_change_is_added_after_it(counter: Counter) -> None:
    """As a garbage collection does that finishes an abandoned stream."""

    def collect(totals: Totals) -> None:
        totals.reserve(os.getpid(), CENT)
        counter.settle(os.getpid(), CENT, 2 * CENT)

    counter.change(collect)
    assert counter.path is not None
    assert sums(Counter(counter.path)) == (2 * CENT, NOTHING)


def test_a_forked_child_shares_it(counter: Counter) -> None:
    reserve(counter)
    child = os.fork()
    if not child:
        for _ in range(200):
            reserve(counter)
            counter.settle(os.getpid(), CENT, CENT)
        os._exit(0)
    for _ in range(200):
        reserve(counter)
        counter.settle(os.getpid(), CENT, CENT)
    assert exit_of(child) == 0
    assert sums(counter) == (Decimal(4), CENT)


def test_a_forked_child_cannot_open_a_file_that_is_gone(counter: Counter) -> None:
    counter.remove_file()
    child = os.fork()
    if not child:
        try:
            sums(counter)
        except CounterUnavailableError:
            os._exit(7)
        os._exit(0)
    assert exit_of(child) == 7
    assert sums(counter) == (NOTHING, NOTHING)


def test_what_a_killed_process_reserved_is_spent(counter: Counter) -> None:
    child = os.fork()
    if not child:
        reserve(counter)
        os.kill(os.getpid(), signal.SIGKILL)
    assert exit_of(child) == -signal.SIGKILL
    assert sums(counter) == (CENT, NOTHING)


def test_what_another_live_process_reserved_stays_reserved(counter: Counter) -> None:
    assert counter.path is not None
    program = (
        "import os, sys; from pathlib import Path; from decimal import Decimal\n"
        "from tokenledger._budgets.counter import Counter\n"
        "counter = Counter(Path(sys.argv[1]))\n"
        "counter.change(lambda totals: totals.reserve(os.getpid(), Decimal('0.01')))\n"
        "print('ready', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(counter.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert sums(counter) == (NOTHING, CENT)
        process.communicate("")
    assert sums(counter) == (CENT, NOTHING)


def test_a_counter_in_memory_counts_this_process_only() -> None:
    counter = Counter(None, 3 * CENT)
    reserve(counter)
    counter.settle(os.getpid(), CENT, CENT)
    assert sums(counter) == (4 * CENT, NOTHING)
    child = os.fork()
    if not child:
        try:
            reserve(counter)
        except CounterUnavailableError:
            os._exit(7)
        os._exit(0)
    assert exit_of(child) == 7


def test_an_existing_file_is_not_taken_over(counter: Counter) -> None:
    assert counter.path is not None
    with pytest.raises(FileExistsError):
        Counter.create(counter.path, Decimal(0))
