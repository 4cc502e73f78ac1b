"""Attribution follows the context: into tasks always, into threads if it is copied."""

from __future__ import annotations

import asyncio
import importlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import pytest

from support.spans import attributes_of
from tokenledger import attribution, track_cost
from tokenledger_semconv.attributes import USER_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ledger_in_memory import LedgerInMemory


def _call() -> None:
    track_cost(1, 1, "gpt-4o")


def _said(ledger: LedgerInMemory) -> list[Any]:
    return [attributes_of(span).get(USER_ID) for span in ledger.spans]


@pytest.fixture
def threads_carry_the_context() -> Iterator[None]:
    """OpenTelemetry's instrumentor of threads, which `opentelemetry-instrument` switches on."""
    threads: Any = importlib.import_module("opentelemetry.instrumentation.threading")
    instrumentor = threads.ThreadingInstrumentor()
    instrumentor.instrument()
    yield
    instrumentor.uninstrument()


@pytest.mark.asyncio
async def test_tasks_get_the_attribution_of_the_code_that_starts_them(
    ledger: LedgerInMemory,
) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        _call()

    with attribution(user_id="u1"):
        task = asyncio.create_task(work())
    _call()
    await task
    assert _said(ledger) == [None, "u1"]


@pytest.mark.asyncio
async def test_to_thread_carries_it(ledger: LedgerInMemory) -> None:
    with attribution(user_id="u1"):
        await asyncio.to_thread(_call)
    await asyncio.to_thread(_call)
    assert _said(ledger) == ["u1", None]


@pytest.mark.asyncio
async def test_callbacks_of_the_loop_carry_it(ledger: LedgerInMemory) -> None:
    done = asyncio.Event()
    with attribution(user_id="u1"):
        asyncio.get_running_loop().call_soon(_call)
    asyncio.get_running_loop().call_soon(done.set)
    await done.wait()
    assert _said(ledger) == ["u1"]


def test_a_pool_alone_does_not_carry_it(ledger: LedgerInMemory) -> None:
    """A row without a user is honest; one with the user of an earlier task would not be."""
    with ThreadPoolExecutor(1) as pool:
        with attribution(user_id="u1"):
            pool.submit(_call).result()
        pool.submit(_call).result()
    assert _said(ledger) == [None, None]


def test_a_copied_context_carries_it_into_a_pool(ledger: LedgerInMemory) -> None:
    with ThreadPoolExecutor(1) as pool:
        with attribution(user_id="u1"):
            pool.submit(copy_context().run, _call).result()
        pool.submit(_call).result()
    assert _said(ledger) == ["u1", None]


@pytest.mark.usefixtures("threads_carry_the_context")
def test_the_threading_instrumentor_carries_it_into_a_pool(ledger: LedgerInMemory) -> None:
    with ThreadPoolExecutor(1) as pool:
        for user in ("u1", "u2"):
            with attribution(user_id=user):
                pool.submit(_call).result()
        pool.submit(_call).result()
    assert _said(ledger) == ["u1", "u2", None]


@pytest.mark.usefixtures("threads_carry_the_context")
def test_the_threading_instrumentor_carries_it_into_threads_and_timers(
    ledger: LedgerInMemory,
) -> None:
    with attribution(user_id="u1"):
        started = [threading.Thread(target=_call), threading.Timer(0, _call)]
        for thread in started:
            thread.start()
    for thread in started:
        thread.join()
    assert _said(ledger) == ["u1", "u1"]


@pytest.mark.usefixtures("threads_carry_the_context")
def test_users_of_one_pool_never_mix(ledger: LedgerInMemory) -> None:
    def work(user: str) -> None:
        track_cost(1, 1, "gpt-4o", metadata={"asked": user})

    with ThreadPoolExecutor(8) as pool:
        for number in range(400):
            user = f"u{number % 40}"
            with attribution(user_id=user):
                pool.submit(work, user)
    rows = [attributes_of(span) for span in ledger.spans]
    assert len(rows) == 400
    assert [row for row in rows if row[USER_ID] != row["tokenledger.metadata.asked"]] == []
