"""The ledger's budgets are asked before each call, and settled when it ends."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import openai
import pytest

import tokenledger
from support.budget_guards import REFUSAL, NotedHold, ScriptedGuard
from support.fake_provider import Cut, Refuse
from support.sdk_calls import (
    ALL,
    CHAT,
    CHAT_STREAM,
    EMBEDDING,
    MESSAGE,
    PROMPT,
    RESPONSE,
    STREAMS,
    Shape,
    run,
    run_async,
    send,
)
from support.spans import attributes_of
from tokenledger import BudgetExceeded, _guard
from tokenledger._budget_switch import SWITCH
from tokenledger_semconv import attributes as names
from tokenledger_semconv.budgets import ROUND_TRIP

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fake_provider import DemoProvider
    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Clients, Sdk
    from support.spans import AppTracing
    from tokenledger_semconv.budgets import BudgetGuard

RAW = tuple(
    Shape(f"raw-{shape}", shape.sdk, shape.method.replace(".create", f".{raw}.create"), arguments)
    for shape in (CHAT, RESPONSE, EMBEDDING, MESSAGE)
    for raw, arguments in [("with_raw_response", shape.arguments)]
)


@pytest.fixture
def enforce(ledger: LedgerInMemory) -> Callable[[BudgetGuard | None], None]:
    """Puts a guard of the ledger into force."""
    assert ledger.budgets_changed is not None
    return ledger.budgets_changed


@pytest.mark.parametrize("shape", [*ALL, *RAW], ids=str)
def test_a_refused_call_reaches_neither_the_provider_nor_the_ledger(
    ledger: LedgerInMemory,
    clients: Clients,
    provider: DemoProvider,
    enforce: Callable[[BudgetGuard | None], None],
    shape: Shape,
) -> None:
    enforce(ScriptedGuard(REFUSAL))
    with pytest.raises(BudgetExceeded, match="'team-ml' of 'ml'") as raised:
        run(clients, shape)
    assert raised.value.limit_usd == REFUSAL.limit_usd
    assert (provider.requests, ledger.spans) == ([], [])
    enforce(None)
    run(clients, shape)
    assert len(provider.requests) == 1


def test_a_refused_call_has_no_span_in_the_apps_tracing(
    app: AppTracing, clients: Clients, enforce: Callable[[BudgetGuard | None], None]
) -> None:
    enforce(ScriptedGuard(REFUSAL))
    with pytest.raises(BudgetExceeded):
        run(clients, CHAT)
    assert len(app.spans) == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("shape", [*ALL, *RAW], ids=str)
async def test_a_refused_async_call_reaches_neither_of_them(
    ledger: LedgerInMemory,
    async_clients: Clients,
    provider: DemoProvider,
    enforce: Callable[[BudgetGuard | None], None],
    shape: Shape,
) -> None:
    enforce(ScriptedGuard(REFUSAL))
    with pytest.raises(BudgetExceeded):
        await run_async(async_clients, shape)
    assert (provider.requests, ledger.spans) == ([], [])


@pytest.mark.usefixtures("ledger")
def test_a_refused_call_is_not_retried(
    provider: DemoProvider, enforce: Callable[[BudgetGuard | None], None]
) -> None:
    guard = ScriptedGuard(REFUSAL)
    enforce(guard)
    with (
        openai.OpenAI(base_url=provider.openai_base_url, api_key="-", max_retries=3) as client,
        pytest.raises(BudgetExceeded),
    ):
        client.chat.completions.create(**CHAT.arguments)
    assert len(guard.questions) == 1


@pytest.mark.usefixtures("ledger")
def test_the_guard_gets_the_attribution_and_the_settings_of_the_call(
    clients: Clients, enforce: Callable[[BudgetGuard | None], None]
) -> None:
    guard = ScriptedGuard()
    enforce(guard)
    with tokenledger.attribution(team="ml", feature="chat", tier="gold"):
        run(clients, CHAT, max_tokens=77, user="u1", tokenledger_session_id="s1")
    [(attributes, characters)] = guard.questions
    assert {name: attributes[name] for name in attributes if not name.startswith("server.")} == {
        names.PROVIDER_NAME: attributes[names.PROVIDER_NAME],
        names.OPERATION_NAME: "chat",
        "openai.api.type": "chat_completions",
        names.REQUEST_MODEL: "gpt-4o",
        names.REQUEST_MAX_TOKENS: 77,
        names.TEAM: "ml",
        names.FEATURE: "chat",
        names.USER_ID: "u1",
        names.SESSION_ID: "s1",
        f"{names.METADATA_PREFIX}tier": "gold",
    }
    # The model, the role, the user of the request, and the prompt.
    assert characters == len("gpt-4o") + len("user") + len("u1") + len(PROMPT)


@pytest.mark.parametrize("shape", ALL, ids=str)
def test_a_hold_is_bound_to_each_span_and_finished_once(
    ledger: LedgerInMemory,
    clients: Clients,
    enforce: Callable[[BudgetGuard | None], None],
    shape: Shape,
) -> None:
    hold = NotedHold()
    enforce(ScriptedGuard(hold))
    run(clients, shape)
    gc.collect()
    [span] = ledger.spans
    assert span.context is not None
    assert hold.spans == [(span.context.trace_id, span.context.span_id)]
    [(attributes, failed)] = hold.finished
    assert (dict(attributes), failed) == (attributes_of(span), False)
    assert hold.releases == 0


@pytest.mark.parametrize("shape", STREAMS, ids=str)
def test_a_hold_of_an_abandoned_stream_is_finished_once(
    ledger: LedgerInMemory,
    clients: Clients,
    enforce: Callable[[BudgetGuard | None], None],
    shape: Shape,
) -> None:
    hold = NotedHold()
    enforce(ScriptedGuard(hold))
    answer: Sdk = send(clients, shape)
    if shape.method.endswith(".stream"):
        with answer as stream:
            next(iter(stream))
    else:
        next(iter(answer))
    del answer
    gc.collect()
    [(attributes, _)] = hold.finished
    assert attributes == attributes_of(ledger.spans[0])


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("script", [Refuse(429), Refuse(500), Cut()], ids=str)
def test_a_hold_of_a_failed_call_is_finished_as_failed(
    clients: Clients,
    provider: DemoProvider,
    enforce: Callable[[BudgetGuard | None], None],
    script: Refuse | Cut,
) -> None:
    hold = NotedHold()
    enforce(ScriptedGuard(hold))
    provider.script(script)
    with pytest.raises(openai.APIError):
        run(clients, CHAT)
    [(attributes, failed)] = hold.finished
    assert failed
    assert names.ERROR_TYPE in attributes


@pytest.mark.usefixtures("ledger")
def test_near_the_limit_the_sync_call_makes_the_round_trip_itself(
    clients: Clients, enforce: Callable[[BudgetGuard | None], None]
) -> None:
    hold = NotedHold()
    threads: list[threading.Thread] = []

    def reserve() -> NotedHold:
        threads.append(threading.current_thread())
        return hold

    enforce(ScriptedGuard(ROUND_TRIP, reserve))
    run(clients, CHAT)
    assert threads == [threading.current_thread()]
    assert len(hold.finished) == 1


@pytest.mark.asyncio
@pytest.mark.usefixtures("ledger")
async def test_near_the_limit_an_async_call_leaves_the_event_loop_free(
    async_clients: Clients, enforce: Callable[[BudgetGuard | None], None]
) -> None:
    hold = NotedHold()
    may_answer = threading.Event()

    def reserve() -> NotedHold:
        # The loop must run for this to be set.
        assert may_answer.wait(10)
        return hold

    enforce(ScriptedGuard(ROUND_TRIP, reserve))
    task = asyncio.create_task(run_async(async_clients, CHAT_STREAM))
    asyncio.get_running_loop().call_later(0.01, may_answer.set)
    await task
    assert len(hold.finished) == 1


@pytest.mark.asyncio
@pytest.mark.usefixtures("ledger")
async def test_a_refusal_of_the_round_trip_refuses_the_call(
    async_clients: Clients, clients: Clients, enforce: Callable[[BudgetGuard | None], None]
) -> None:
    enforce(ScriptedGuard(ROUND_TRIP, lambda: REFUSAL))
    with pytest.raises(BudgetExceeded):
        await run_async(async_clients, CHAT)
    with pytest.raises(BudgetExceeded):
        run(clients, CHAT)


@pytest.mark.asyncio
async def test_a_call_canceled_while_it_waits_releases_its_hold(
    ledger: LedgerInMemory,
    async_clients: Clients,
    provider: DemoProvider,
    enforce: Callable[[BudgetGuard | None], None],
) -> None:
    loop = asyncio.get_running_loop()
    is_waiting, is_released = asyncio.Event(), asyncio.Event()
    may_answer = threading.Event()

    class Hold(NotedHold):
        def release(self) -> None:
            super().release()
            loop.call_soon_threadsafe(is_released.set)

    hold = Hold()

    def reserve() -> Hold:
        loop.call_soon_threadsafe(is_waiting.set)
        assert may_answer.wait(10)
        return hold

    enforce(ScriptedGuard(ROUND_TRIP, reserve))
    task = asyncio.create_task(run_async(async_clients, CHAT))
    await is_waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    may_answer.set()
    await asyncio.wait_for(is_released.wait(), 10)
    assert (hold.releases, hold.finished) == (1, [])
    assert (provider.requests, ledger.spans) == ([], [])


@pytest.mark.asyncio
async def test_a_round_trip_needs_none_of_the_apps_threads(
    ledger: LedgerInMemory,
    async_clients: Clients,
    enforce: Callable[[BudgetGuard | None], None],
) -> None:
    enforce(ScriptedGuard(ROUND_TRIP, NotedHold))
    limiter = anyio.to_thread.current_default_thread_limiter()
    busy = [object() for _ in range(int(limiter.total_tokens))]
    for each in busy:
        limiter.acquire_on_behalf_of_nowait(each)
    try:
        await asyncio.wait_for(run_async(async_clients, CHAT), 10)
    finally:
        for each in busy:
            limiter.release_on_behalf_of(each)
    assert len(ledger.spans) == 1


def _broken(*_: object) -> Any:  # noqa: ANN401 - never returns
    raise RuntimeError


@pytest.mark.parametrize("method", ["try_reserve", "reserve"])
def test_a_guard_that_fails_lets_the_call_go_on(
    ledger: LedgerInMemory,
    clients: Clients,
    enforce: Callable[[BudgetGuard | None], None],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    guard = ScriptedGuard(ROUND_TRIP)
    monkeypatch.setattr(guard, method, _broken)
    enforce(guard)
    run(clients, CHAT)
    assert len(ledger.spans) == 1
    assert _guard.counts() == {"asking the budgets of the ledger": 1}
    _guard.reset()


@pytest.mark.parametrize("method", ["bind", "finish"])
def test_a_hold_that_fails_does_not_affect_the_call(
    ledger: LedgerInMemory,
    clients: Clients,
    enforce: Callable[[BudgetGuard | None], None],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    hold = NotedHold()
    monkeypatch.setattr(hold, method, _broken)
    enforce(ScriptedGuard(hold))
    with tokenledger.meter() as spent:
        run(clients, CHAT)
    assert (len(ledger.spans), spent.calls) == (1, 1)
    assert sum(_guard.counts().values()) == 1
    _guard.reset()


@pytest.mark.usefixtures("ledger")
def test_a_call_that_cannot_be_recorded_releases_its_hold(
    clients: Clients,
    provider: DemoProvider,
    enforce: Callable[[BudgetGuard | None], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hold = NotedHold()
    enforce(ScriptedGuard(hold))
    monkeypatch.setattr("tokenledger._calls.tracer.CallTracer.begin", _broken)
    run(clients, CHAT)
    assert len(provider.requests) == 1
    assert (hold.releases, hold.finished) == (1, [])
    assert _guard.counts() == {"reading a request": 1}
    _guard.reset()


def test_the_guard_of_an_earlier_ledger_has_no_effect(
    ledger: LedgerInMemory, ledgers: list[LedgerInMemory], clients: Clients
) -> None:
    tokenledger.configure(app_name="other")
    assert ledger.budgets_changed is not None
    ledger.budgets_changed(ScriptedGuard(REFUSAL))
    run(clients, CHAT)
    changed = ledgers[1].budgets_changed
    assert changed is not None
    changed(ScriptedGuard(REFUSAL))
    with pytest.raises(BudgetExceeded):
        run(clients, CHAT)
    tokenledger.shutdown()
    run(clients, CHAT)


@pytest.mark.usefixtures("ledger")
def test_without_a_guard_the_switch_is_off(
    enforce: Callable[[BudgetGuard | None], None],
) -> None:
    assert not SWITCH.is_on
    enforce(ScriptedGuard())
    assert SWITCH.is_on
    enforce(None)
    assert not SWITCH.is_on
