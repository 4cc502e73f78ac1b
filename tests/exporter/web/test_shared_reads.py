"""Many requests for one thing are one reading; none gets what was read before it came."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Final

import pytest

from tokenledger_exporter.web.shared_reads import SharedReads

FAILING = 13


class Ledger:
    """A reading that ends when the test says so; each has the next number."""

    def __init__(self, readings: int = 0) -> None:
        self.readings = readings
        self.begun: Final[dict[int, asyncio.Event]] = defaultdict(asyncio.Event)
        self.may_end: Final[dict[int, asyncio.Event]] = defaultdict(asyncio.Event)

    async def read(self) -> int:
        self.readings += 1
        number = self.readings
        self.begun[number].set()
        await self.may_end[number].wait()
        if number == FAILING:
            raise ValueError("the database is away")
        return number

    async def finish(self, number: int) -> None:
        await self.begun[number].wait()
        self.may_end[number].set()


@pytest.mark.asyncio
async def test_a_request_that_comes_while_one_is_read_gets_the_next_reading() -> None:
    ledger, shared = Ledger(), SharedReads[int]()
    first = asyncio.create_task(shared.read("page", ledger.read))
    await ledger.begun[1].wait()
    later = [asyncio.create_task(shared.read("page", ledger.read)) for _ in range(50)]
    await asyncio.sleep(0)
    await ledger.finish(1)
    assert await first == 1
    await ledger.finish(2)
    assert await asyncio.gather(*later) == [2] * 50
    assert ledger.readings == 2


@pytest.mark.asyncio
async def test_other_keys_do_not_wait() -> None:
    ledger, shared = Ledger(), SharedReads[int]()
    first = asyncio.create_task(shared.read("page", ledger.read))
    second = asyncio.create_task(shared.read("other", ledger.read))
    await ledger.finish(2)
    assert await second == 2
    await ledger.finish(1)
    assert await first == 1


@pytest.mark.asyncio
async def test_an_error_is_that_of_its_reading_alone() -> None:
    ledger, shared = Ledger(FAILING - 1), SharedReads[int]()
    first = asyncio.create_task(shared.read("page", ledger.read))
    await ledger.begun[FAILING].wait()
    second = asyncio.create_task(shared.read("page", ledger.read))
    await ledger.finish(FAILING)
    with pytest.raises(ValueError, match="away"):
        await first
    await ledger.finish(FAILING + 1)
    assert await second == FAILING + 1


@pytest.mark.asyncio
async def test_a_viewer_who_leaves_does_not_end_the_reading_of_another() -> None:
    ledger, shared = Ledger(), SharedReads[int]()
    first = asyncio.create_task(shared.read("page", ledger.read))
    await ledger.begun[1].wait()
    leaving = asyncio.create_task(shared.read("page", ledger.read))
    staying = asyncio.create_task(shared.read("page", ledger.read))
    await asyncio.sleep(0)
    leaving.cancel()
    await ledger.finish(1)
    await ledger.finish(2)
    assert (await first, await staying) == (1, 2)


@pytest.mark.asyncio
async def test_nothing_is_left_after_the_last_reading() -> None:
    ledger, shared = Ledger(), SharedReads[int]()
    for number in (1, 2):
        task = asyncio.create_task(shared.read("page", ledger.read))
        await ledger.finish(number)
        assert await task == number
    assert not shared.readings
