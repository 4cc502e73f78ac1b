"""`attribution` as context manager and decorator, over calls made inside."""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import baggage, context

import tokenledger
from support.spans import attributes_of
from tokenledger import _guard, attribution, track_cost, track_llm
from tokenledger._attribution import context as carrier
from tokenledger_semconv.attributes import (
    AGENT_ID,
    FEATURE,
    METADATA_PREFIX,
    ORGANIZATION_ID,
    SESSION_ID,
    TEAM,
    USER_ID,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator

    from support.ledger_in_memory import LedgerInMemory


def _call() -> None:
    track_cost(1, 1, "gpt-4o")


def _said(ledger: LedgerInMemory, name: str = USER_ID) -> list[Any]:
    return [attributes_of(span).get(name) for span in ledger.spans]


def test_calls_inside_are_attributed_and_calls_outside_are_not(ledger: LedgerInMemory) -> None:
    _call()
    with attribution(user_id="u1", feature="summarize", team="ml", any_other="x"):
        _call()
    _call()
    assert _said(ledger) == [None, "u1", None]
    assert _said(ledger, METADATA_PREFIX + "any_other") == [None, "x", None]


@pytest.mark.parametrize(
    ("spelling", "attribute"),
    [
        ("user", USER_ID),
        ("session", SESSION_ID),
        ("organization", ORGANIZATION_ID),
        ("agent", AGENT_ID),
        ("team_id", TEAM),
    ],
)
def test_both_spellings_of_a_dimension_fill_its_column(
    ledger: LedgerInMemory, spelling: str, attribute: str
) -> None:
    keywords: dict[str, Any] = {spelling: "x"}
    with attribution(**keywords):
        _call()
    with attribution(metadata={spelling: "x"}):
        _call()
    assert _said(ledger, attribute) == ["x", "x"]


def test_the_usual_spelling_wins_in_any_order(ledger: LedgerInMemory) -> None:
    with attribution(user="other", user_id="u1"):
        _call()
    with attribution(metadata={"user_id": "u1", "user": "other"}):
        _call()
    with attribution(metadata={"user": "other", "user_id": "u1"}):
        _call()
    assert _said(ledger) == ["u1", "u1", "u1"]


def test_an_apps_name_is_metadata_and_says_where_it_belongs(
    ledger: LedgerInMemory, caplog: pytest.LogCaptureFixture
) -> None:
    with attribution(app_name="shop"):
        _call()
    assert _said(ledger, METADATA_PREFIX + "app_name") == ["shop"]
    assert caplog.text.count("name the app with tokenledger.configure(app_name=)") == 1


def test_persistent_attribution_says_once_that_it_ends_with_its_block(
    ledger: LedgerInMemory, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        with attribution(user_id="u1", persistent=True):
            _call()
        _call()
    assert _said(ledger) == ["u1", None, "u1", None]
    assert _said(ledger, METADATA_PREFIX + "persistent") == [None] * 4
    assert caplog.text.count("attribution(persistent=) does nothing") == 1


@pytest.mark.asyncio
async def test_async_with_attributes_the_calls_inside(ledger: LedgerInMemory) -> None:
    async with attribution(user_id="u1"):
        await asyncio.sleep(0)
        _call()
    _call()
    assert _said(ledger) == ["u1", None]


def test_scopes_nest_and_merge_and_the_inner_wins(ledger: LedgerInMemory) -> None:
    with attribution(user_id="outer", team="ml"):
        with attribution(user_id="inner", feature="chat"):
            _call()
        _call()
    assert _said(ledger) == ["inner", "outer"]
    assert _said(ledger, TEAM) == ["ml", "ml"]
    assert _said(ledger, FEATURE) == ["chat", None]


def test_one_scope_may_be_entered_within_itself(ledger: LedgerInMemory) -> None:
    scope = attribution(user_id="u1")
    with scope, attribution(user_id="u2"):
        with scope:
            _call()
        _call()
    _call()
    assert _said(ledger) == ["u1", "u2", None]


def test_one_scope_may_be_shared_by_threads(ledger: LedgerInMemory) -> None:
    scope = attribution(user_id="shared")

    def work() -> None:
        for _ in range(50):
            with scope:
                _call()
        _call()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work) for _ in range(4)]:
            done.result()
    said = _said(ledger)
    assert said.count("shared") == 200
    assert said.count(None) == 4


def test_leaving_a_scope_ends_scopes_left_open_inside_it(ledger: LedgerInMemory) -> None:
    def careless() -> Generator[None]:
        with attribution(user_id="forgotten"):
            yield

    with attribution(user_id="u1"):
        generator = careless()
        next(generator)
    _call()
    generator.close()
    _call()
    assert _said(ledger) == [None, None]


def test_leaving_a_scope_elsewhere_changes_nothing_there(ledger: LedgerInMemory) -> None:
    scope = attribution(user_id="u1")
    copy_context().run(scope.__enter__)
    with attribution(user_id="u2"):
        scope.__exit__()
        _call()
    assert _said(ledger) == ["u2"]


def test_attribution_travels_in_baggage_to_the_services_we_call() -> None:
    with attribution(user_id="u1", tier="gold"):
        assert baggage.get_all() == {USER_ID: "u1", METADATA_PREFIX + "tier": "gold"}
    assert not baggage.get_all()


def test_baggage_set_in_process_counts(ledger: LedgerInMemory) -> None:
    with attribution(user_id="u1", team="ml"):
        token = context.attach(baggage.set_baggage(USER_ID, "later"))
        _call()
        context.detach(token)
    assert _said(ledger) == ["later"]
    assert _said(ledger, TEAM) == ["ml"]


def test_scopes_outlive_cleared_baggage(ledger: LedgerInMemory) -> None:
    with attribution(user_id="u1"):
        token = context.attach(baggage.clear())
        _call()
        context.detach(token)
    assert _said(ledger) == ["u1"]


def test_any_scope_overrides_middleware(ledger: LedgerInMemory) -> None:
    from_request = carrier.with_middleware({USER_ID: "web", TEAM: "web"}, context.get_current())
    token = context.attach(from_request)
    with attribution(user_id="u1"):
        _call()
    _call()
    context.detach(token)
    assert _said(ledger) == ["u1", "web"]
    assert _said(ledger, TEAM) == ["web", "web"]


def test_defaults_have_the_lowest_precedence(ledgers: list[LedgerInMemory]) -> None:
    tokenledger.configure(
        default_metadata={"user_id": "default", "team": "platform", "region": "eu"},
        tags={"feature": "tagged"},
        agent_id="a1",
    )
    with attribution(user_id="u1"):
        _call()
    said = ledgers[0].only()
    assert said[USER_ID] == "u1"
    assert said[TEAM] == said[METADATA_PREFIX + "team"] == "platform"
    assert said[FEATURE] == "tagged"
    assert said["gen_ai.agent.id"] == "a1"
    assert said[METADATA_PREFIX + "region"] == "eu"


class _Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


def test_no_value_raises_an_error_in_the_app(ledger: LedgerInMemory) -> None:
    with attribution(user_id=_Unprintable(), metadata={"x": object()}, team=3):
        _call()
    assert ledger.only()[TEAM] == "3"


@pytest.mark.parametrize("give", [attribution, track_llm, partial(track_cost, 1, 1, "gpt-4o")])
def test_metadata_that_is_not_a_mapping_is_reported(
    ledger: LedgerInMemory, give: Callable[..., object]
) -> None:
    give(metadata="tier=gold")
    (place,) = _guard.counts()
    assert place.endswith("(metadata=)")
    assert len(ledger.spans) == isinstance(give, partial)
    _guard.reset()


def test_an_attributed_function_keeps_its_identity(ledger: LedgerInMemory) -> None:
    @attribution(user_id="u1")
    def work(number: int) -> int:
        """Doubles."""
        _call()
        return number * 2

    assert work(4) == 8
    assert work.__doc__ == "Doubles."
    assert _said(ledger) == ["u1"]


def test_a_recursive_function_restores_every_level(ledger: LedgerInMemory) -> None:
    @attribution(user_id="u1")
    def work(depth: int) -> None:
        if depth:
            work(depth - 1)
        _call()

    work(3)
    _call()
    assert _said(ledger) == ["u1"] * 4 + [None]


@pytest.mark.asyncio
async def test_a_coroutine_function_is_attributed(ledger: LedgerInMemory) -> None:
    @attribution(feature="chat")
    async def work(user: str) -> str:
        with attribution(user_id=user):
            await asyncio.sleep(0)
            _call()
        return user

    assert inspect.iscoroutinefunction(work)
    users = [f"u{number}" for number in range(20)]
    assert await asyncio.gather(*(work(user) for user in users)) == users
    _call()
    assert {said for said in _said(ledger) if said} == set(users)
    assert _said(ledger, FEATURE) == ["chat"] * 20 + [None]


@pytest.mark.asyncio
async def test_a_plain_function_that_returns_a_coroutine_is_attributed(
    ledger: LedgerInMemory,
) -> None:
    async def work() -> str:
        await asyncio.sleep(0)
        _call()
        return "done"

    @attribution(user_id="u1")
    def start() -> Coroutine[Any, Any, str]:
        return work()

    begun = start()
    _call()
    assert await begun == "done"
    assert _said(ledger) == [None, "u1"]


def test_a_plain_function_that_returns_a_generator_is_attributed(ledger: LedgerInMemory) -> None:
    def parts() -> Generator[int, None, str]:
        _call()
        yield 1
        _call()
        return "done"

    @attribution(user_id="u1")
    def start() -> Generator[int, None, str]:
        return parts()

    begun = start()
    assert next(begun) == 1
    _call()
    with pytest.raises(StopIteration, match="done"):
        next(begun)
    assert _said(ledger) == ["u1", None, "u1"]


@pytest.mark.asyncio
async def test_a_plain_function_that_returns_an_async_generator_is_attributed(
    ledger: LedgerInMemory,
) -> None:
    async def parts() -> AsyncGenerator[int, None]:
        _call()
        yield 1
        await asyncio.sleep(0)
        _call()

    @attribution(user_id="u1")
    def start() -> AsyncGenerator[int, None]:
        return parts()

    async for _ in start():
        _call()
    assert _said(ledger) == ["u1", None, "u1"]


def test_a_generator_is_attributed_and_its_consumer_is_not(ledger: LedgerInMemory) -> None:
    @attribution(feature="stream")
    def work() -> Generator[int, str, str]:
        with attribution(user_id="inside"):
            _call()
            sent = yield 1
            _call()
            try:
                yield 2
            except ValueError:
                _call()
                yield 3
        return sent

    assert inspect.isgeneratorfunction(work)
    generator = work()
    before = context.get_current()
    assert next(generator) == 1
    assert context.get_current() is before
    _call()
    with attribution(user_id="consumer"):
        assert generator.send("hello") == 2
        _call()
    assert generator.throw(ValueError()) == 3
    with pytest.raises(StopIteration) as stopped:
        next(generator)
    assert stopped.value.value == "hello"
    assert _said(ledger) == ["inside", None, "inside", "consumer", "inside"]
    assert _said(ledger, FEATURE) == ["stream", None, "stream", None, "stream"]


def test_a_generator_closed_early_cleans_up_under_its_attribution(ledger: LedgerInMemory) -> None:
    @attribution(feature="stream")
    def work() -> Generator[int]:
        try:
            yield 1
        finally:
            _call()

    for _ in work():
        break
    _call()
    assert _said(ledger, FEATURE) == ["stream", None]


@pytest.mark.asyncio
async def test_an_async_generator_is_attributed_and_its_consumer_is_not(
    ledger: LedgerInMemory,
) -> None:
    @attribution(feature="stream")
    async def work() -> AsyncGenerator[int, str]:
        try:
            with attribution(user_id="inside"):
                await asyncio.sleep(0)
                _call()
                assert (yield 1) == "hello"
                try:
                    yield 2
                except ValueError:
                    yield 3
        finally:
            await asyncio.sleep(0)
            _call()

    assert inspect.isasyncgenfunction(work)
    generator = work()
    before = context.get_current()
    assert await anext(generator) == 1
    assert context.get_current() is before
    _call()
    assert await generator.asend("hello") == 2
    assert await generator.athrow(ValueError()) == 3
    await generator.aclose()
    _call()
    assert _said(ledger) == ["inside", None, None, None]
    assert _said(ledger, FEATURE) == ["stream", None, "stream", None]


@pytest.mark.asyncio
async def test_an_async_generator_may_be_resumed_by_other_tasks(ledger: LedgerInMemory) -> None:
    @attribution(feature="stream")
    async def work() -> AsyncGenerator[int]:
        for number in range(3):
            _call()
            yield number

    generator = work()
    for number in range(3):
        assert await asyncio.create_task(anext(generator)) == number
        _call()
    with pytest.raises(StopAsyncIteration):
        await anext(generator)
    assert _said(ledger, FEATURE) == ["stream", None] * 3


@pytest.mark.asyncio
async def test_an_abandoned_step_leaves_other_contexts_alone(ledger: LedgerInMemory) -> None:
    @attribution(feature="stream")
    async def work() -> AsyncGenerator[int]:
        await asyncio.Event().wait()
        yield 1

    generator = work()
    step = generator.__anext__()
    copy_context().run(step.send, None)
    with attribution(feature="mine"):
        with pytest.raises(GeneratorExit):
            step.throw(GeneratorExit())
        _call()
    assert _said(ledger, FEATURE) == ["mine"]
