"""`meter` sums the cost and the usage of the calls inside, wherever they end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import context

import tokenledger
from support.sdk_calls import CHAT, CHAT_STREAM, MESSAGE, run, send
from tokenledger import _guard, meter, track, track_cost, track_many
from tokenledger._calls.meter import METERS, Meter, MeteredTokens
from tokenledger_semconv.attributes import (
    CACHE_READ_TOKENS,
    INPUT_TOKENS,
    OPERATION_NAME,
    OUTPUT_TOKENS,
    PROVIDER_NAME,
    REQUEST_MODEL,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from opentelemetry.util.types import AttributeValue

    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Clients

NOVEMBER = 1_795_176_000 * 10**9
A_CALL: Mapping[str, AttributeValue] = {
    OPERATION_NAME: "chat",
    PROVIDER_NAME: "openai",
    REQUEST_MODEL: "gpt-4o",
    INPUT_TOKENS: 1_000,
    CACHE_READ_TOKENS: 200,
    OUTPUT_TOKENS: 100,
}
"""gpt-4o, USD a million tokens: input 2.50, cached 1.25, output 10.00."""
ITS_COST = (800 * Decimal("2.5") + 200 * Decimal("1.25") + 100 * Decimal(10)) / 1_000_000


def _call() -> None:
    track_cost(1_000, 100, "gpt-4o", cached_tokens=200)


@pytest.mark.usefixtures("ledger")
def test_calls_added_are_priced_and_counted() -> None:
    counted = Meter()
    counted.add(A_CALL, NOVEMBER, failed=False)
    counted.add(A_CALL, NOVEMBER, failed=False)
    assert counted.cost_usd == 2 * ITS_COST
    assert counted.tokens == MeteredTokens(input=2_000, output=200, cached=400)
    assert counted.tokens.total == 2_200
    assert (counted.calls, counted.calls_without_cost) == (2, 0)


@pytest.mark.usefixtures("ledger")
def test_a_call_without_a_price_is_counted_without_a_cost() -> None:
    counted = Meter()
    counted.add(A_CALL, NOVEMBER, failed=False)
    counted.add({**A_CALL, REQUEST_MODEL: "unknown-model"}, NOVEMBER, failed=False)
    counted.add({OPERATION_NAME: "chat", REQUEST_MODEL: "gpt-4o"}, NOVEMBER, failed=True)
    assert counted.cost_usd == ITS_COST
    assert (counted.calls, counted.calls_without_cost) == (3, 2)


def test_without_a_ledger_nothing_has_a_cost() -> None:
    with meter() as counted:
        _call()
    assert counted.cost_usd == Decimal(0)
    assert (counted.calls, counted.calls_without_cost) == (1, 1)
    assert counted.tokens == MeteredTokens(input=1_000, output=100, cached=200)
    assert _guard.counts() == {"a call reported before init()": 1}
    _guard.reset()


def test_a_new_meter_reports_zero() -> None:
    counted = meter()
    assert (counted.cost_usd, counted.calls) == (Decimal(0), 0)
    assert counted.tokens == MeteredTokens()


@pytest.mark.usefixtures("ledger")
def test_the_apps_decimal_context_does_not_change_sums() -> None:
    counted = Meter()
    with localcontext() as coarse:
        coarse.prec = 2
        for _ in range(3):
            counted.add(A_CALL, NOVEMBER, failed=False)
        assert str(counted.cost_usd.normalize()) != "0"
    assert counted.cost_usd == 3 * ITS_COST


@pytest.mark.usefixtures("ledger")
def test_a_meter_that_is_never_read_stores_at_most_a_thousand_calls() -> None:
    counted = Meter()
    for _ in range(2_500):
        counted.add(A_CALL, NOVEMBER, failed=False)
    assert len(getattr(counted, "_ended")) < 1_000  # noqa: B009 - what is kept is what is tested
    assert counted.calls == 2_500
    assert counted.cost_usd == 2_500 * ITS_COST


@pytest.mark.usefixtures("ledger")
def test_a_failure_to_price_a_call_leaves_it_without_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("support.ledger_in_memory.price_of", broken)
    counted = Meter()
    counted.add(A_CALL, NOVEMBER, failed=False)
    assert (counted.calls, counted.calls_without_cost) == (1, 1)
    assert _guard.counts() == {"pricing a metered call": 1}
    _guard.reset()


@pytest.mark.usefixtures("ledger")
def test_only_calls_inside_count() -> None:
    _call()
    with meter() as counted:
        _call()
    _call()
    assert counted.calls == 1
    assert counted.cost_usd == ITS_COST


@pytest.mark.usefixtures("ledger")
def test_nested_meters_count_both() -> None:
    with meter() as outer:
        _call()
        with meter() as inner:
            _call()
    assert (outer.calls, inner.calls) == (2, 1)


@pytest.mark.usefixtures("ledger")
def test_a_meter_entered_within_itself_counts_a_call_once() -> None:
    counted = meter()
    with counted:
        with counted:
            _call()
        _call()
    _call()
    assert counted.calls == 2


@pytest.mark.usefixtures("ledger")
def test_a_past_call_is_priced_by_its_own_day() -> None:
    with meter() as counted:
        track(model="gpt-4o", input_tokens=1_000, output_tokens=0, requested_at="2026-11-20")
    assert counted.cost_usd == Decimal("0.0025")


@pytest.mark.usefixtures("ledger")
def test_a_call_that_is_reported_twice_counts_once() -> None:
    call: dict[str, Any] = {"model": "gpt-4o", "requested_at": "2026-11-20"}
    with meter() as counted:
        track_many([{**call, "input_tokens": 1_000, "output_tokens": 0}] * 2)
        assert counted.calls == 1
        track_many([{**call, "input_tokens": 2_000, "output_tokens": 0}])
    assert (counted.calls, counted.tokens.input) == (2, 3_000)
    assert counted.cost_usd == Decimal("0.0025") + Decimal("0.0050")


@pytest.mark.usefixtures("ledger")
def test_calls_of_threads_with_the_context_count() -> None:
    with meter() as counted, ThreadPoolExecutor(4) as pool:
        carried = [pool.submit(copy_context().run, _call) for _ in range(50)]
        bare = [pool.submit(_call) for _ in range(50)]
        for done in (*carried, *bare):
            done.result()
    assert counted.calls == 50
    assert counted.cost_usd == 50 * ITS_COST


@pytest.mark.asyncio
@pytest.mark.usefixtures("ledger")
async def test_calls_of_tasks_started_inside_count_and_those_of_others_do_not() -> None:
    async def request() -> Meter:
        with meter() as counted:
            await asyncio.gather(asyncio.to_thread(_call), asyncio.create_task(_later()))
        return counted

    async def _later() -> None:
        await asyncio.sleep(0)
        _call()

    counted = await asyncio.gather(*(request() for _ in range(10)))
    assert [one.calls for one in counted] == [2] * 10


def test_leaving_restores_only_its_own_context() -> None:
    before = context.get_current()
    counted = meter()
    copy_context().run(counted.__enter__)
    with meter() as mine:
        counted.__exit__()
        assert context.get_value(METERS) == (mine,)
    assert context.get_current() is before


def test_a_generator_left_open_inside_stops_counting() -> None:
    def careless() -> Generator[None]:
        with meter():
            yield

    with meter() as counted:
        generator = careless()
        next(generator)
    assert context.get_value(METERS) is None
    generator.close()
    assert counted.calls == 0


def test_recorded_calls_count(ledger: LedgerInMemory, clients: Clients) -> None:
    with meter() as counted:
        run(clients, CHAT)
        run(clients, MESSAGE)
    assert counted.calls == len(ledger.spans) == 2
    assert counted.tokens.input > 0
    assert counted.calls_without_cost == 0
    assert counted.cost_usd > 0


@pytest.mark.usefixtures("ledger")
def test_a_stream_counts_when_it_ends_even_outside(clients: Clients) -> None:
    with meter() as counted:
        stream = send(clients, CHAT_STREAM)
    assert counted.calls == 0
    list(stream)
    assert counted.calls == 1
    assert counted.cost_usd > 0


def test_importing_the_package_does_not_load_decimal() -> None:
    """It takes a tenth of the time of importing the package."""
    look = "import sys, tokenledger; print({'decimal', 'datetime'} & sys.modules.keys())"
    program = subprocess.run(
        [sys.executable, "-c", look], check=True, capture_output=True, text=True
    )
    assert program.stdout.strip() == "set()"
    assert tokenledger.meter is meter


def test_a_meter_prints_what_it_counted(ledger: LedgerInMemory) -> None:
    with meter() as spent:
        assert repr(spent) == "<Meter: $0, 0 calls, 0 tokens>"
        track_cost(1_000, 100, "gpt-4o")
        # 1,000 x $2.50 and 100 x $10 per million.
        assert repr(spent) == "<Meter: $0.0035, 1 call, 1,100 tokens>"
        track_cost(1, 1, "acme-7b", provider="acme")
        assert repr(spent) == "<Meter: $0.0035+, 2 calls, 1,102 tokens>"
    with meter() as unknown:
        track_cost(1, 1, "acme-7b", provider="acme")
    assert repr(unknown) == "<Meter: unknown cost, 1 call, 2 tokens>"
    assert len(ledger.spans) == 3
