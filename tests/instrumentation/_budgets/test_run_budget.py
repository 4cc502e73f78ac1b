"""`budget` stops the calls of a block at its limit, and counts what they cost."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any

import openai
import pytest

import tokenledger
from instrumentation._budgets.conftest import CALL_USD, sums
from support.budget_guards import REFUSAL, NotedHold, ScriptedGuard
from support.fake_provider import Cut, Refuse, Stall
from support.sdk_calls import ALL, CHAT, CHAT_STREAM, MESSAGE, run, run_async, send
from tokenledger import BudgetExceeded, _guard, budget
from tokenledger._budget_switch import SWITCH

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from support.fake_provider import DemoProvider
    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Clients, Sdk, Shape

TEN_CALLS = 10 * CALL_USD
pytestmark = pytest.mark.usefixtures("ledger")


def test_a_block_counts_what_its_calls_cost(clients: Clients) -> None:
    with budget(usd="1", name="research") as run_budget:
        run(clients, CHAT)
        run(clients, CHAT)
        assert run_budget.spent_usd == 2 * CALL_USD
        assert run_budget.reserved_usd == 0
    run(clients, CHAT)
    assert run_budget.spent_usd == 2 * CALL_USD
    assert run_budget.left_usd == Decimal(1) - 2 * CALL_USD
    assert (run_budget.name, run_budget.limit_usd) == ("research", Decimal(1))
    assert repr(run_budget).startswith("<Budget 'research': $0.0065")


@pytest.mark.usefixtures("exact_estimates")
@pytest.mark.parametrize("shape", ALL, ids=str)
def test_a_call_over_the_limit_is_not_sent(
    ledger: LedgerInMemory, clients: Clients, provider: DemoProvider, shape: Shape
) -> None:
    with (
        budget(usd=CALL_USD - Decimal("0.00001"), name="research"),
        pytest.raises(BudgetExceeded, match="'research'") as raised,
    ):
        run(clients, shape)
    assert (raised.value.needed_usd, raised.value.reason) == (CALL_USD, "limit")
    assert (provider.requests, ledger.spans) == ([], [])


@pytest.mark.usefixtures("exact_estimates")
def test_a_call_that_reaches_the_limit_exactly_is_sent(clients: Clients) -> None:
    with budget(usd=2 * CALL_USD, name="research") as run_budget:
        run(clients, CHAT)
        run(clients, CHAT)
        with pytest.raises(BudgetExceeded):
            run(clients, CHAT)
    assert run_budget.left_usd == 0


def test_a_call_in_flight_is_reserved_until_it_ends(
    clients: Clients, provider: DemoProvider
) -> None:
    stall = Stall(after_events=1)
    provider.script(stall)
    with budget(usd="1", name="research") as run_budget:
        stream: Sdk = send(clients, CHAT_STREAM, max_tokens=500)
        # "gpt-4o", "user" and the prompt are 23 characters, 6 tokens.
        assert run_budget.reserved_usd == (6 * Decimal("2.5") + 500 * Decimal(10)) / 1_000_000
        assert run_budget.spent_usd == 0
        stall.release()
        list(stream)
        assert sums(run_budget) == (CALL_USD, 0)


@pytest.mark.usefixtures("exact_estimates")
def test_fifty_threads_spend_the_limit_and_no_more(
    clients: Clients, provider: DemoProvider
) -> None:
    def call(_number: int) -> bool:
        try:
            run(clients, CHAT)
        except BudgetExceeded:
            return False
        return True

    with budget(usd=TEN_CALLS, name="research") as run_budget, ThreadPoolExecutor(50) as pool:
        runs = [pool.submit(copy_context().run, call, number) for number in range(50)]
        sent = sum(each.result() for each in runs)
    assert (sent, len(provider.requests)) == (10, 10)
    assert sums(run_budget) == (TEN_CALLS, 0)


@pytest.mark.asyncio
@pytest.mark.usefixtures("exact_estimates")
async def test_fifty_tasks_spend_the_limit_and_no_more(
    async_clients: Clients, provider: DemoProvider
) -> None:
    async with budget(usd=TEN_CALLS, name="research") as run_budget:
        calls = (run_async(async_clients, CHAT_STREAM) for _ in range(50))
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(each, BudgetExceeded) for each in results) == 40
    assert len(provider.requests) == 10
    assert sums(run_budget) == (TEN_CALLS, 0)


@pytest.mark.usefixtures("exact_estimates")
def test_the_budgets_around_must_have_room_too(clients: Clients) -> None:
    with budget(usd=2 * CALL_USD, name="outer") as outer:
        with budget(usd="1", name="inner") as inner:
            run(clients, CHAT)
            run(clients, CHAT)
            with pytest.raises(BudgetExceeded, match="'outer'"):
                run(clients, CHAT)
        assert sums(inner) == (2 * CALL_USD, 0)
        with (
            budget(usd=CALL_USD / 2, name="small"),
            pytest.raises(BudgetExceeded, match="'outer'"),
        ):
            run(clients, CHAT)
    assert sums(outer) == (2 * CALL_USD, 0)


@pytest.mark.usefixtures("exact_estimates")
def test_a_refusal_of_the_inner_budget_frees_the_outer_one(clients: Clients) -> None:
    with (
        budget(usd="1", name="outer") as outer,
        budget(usd=CALL_USD / 2, name="inner"),
        pytest.raises(BudgetExceeded, match="'inner'"),
    ):
        run(clients, CHAT)
    assert sums(outer) == (0, 0)


@pytest.mark.usefixtures("exact_estimates")
def test_a_refusal_of_the_ledger_frees_the_run_budget(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    assert ledger.budgets_changed is not None
    ledger.budgets_changed(ScriptedGuard(REFUSAL))
    with (
        budget(usd="1", name="research") as run_budget,
        pytest.raises(BudgetExceeded, match="'team-ml'"),
    ):
        run(clients, CHAT)
    assert sums(run_budget) == (0, 0)
    hold = NotedHold()
    ledger.budgets_changed(ScriptedGuard(hold))
    with budget(usd="1", name="research") as run_budget:
        run(clients, CHAT)
    assert run_budget.spent_usd == CALL_USD
    assert len(hold.finished) == 1


@pytest.mark.parametrize("script", [Refuse(400), Refuse(429)], ids=str)
def test_a_call_that_the_provider_rejects_costs_nothing(
    clients: Clients, provider: DemoProvider, script: Refuse
) -> None:
    provider.script(script)
    with budget(usd="1", name="research") as run_budget, pytest.raises(openai.APIError):
        run(clients, CHAT)
    assert sums(run_budget) == (0, 0)


@pytest.mark.usefixtures("exact_estimates")
@pytest.mark.parametrize("script", [Refuse(500), Cut()], ids=str)
def test_a_sent_call_of_unknown_cost_is_spent_at_its_estimate(
    clients: Clients, provider: DemoProvider, script: Refuse | Cut
) -> None:
    provider.script(script)
    with budget(usd="1", name="research") as run_budget, pytest.raises(openai.APIError):
        run(clients, CHAT)
    assert sums(run_budget) == (CALL_USD, 0)


@pytest.mark.usefixtures("exact_estimates")
def test_a_timeout_is_spent_at_its_estimate(clients: Clients, provider: DemoProvider) -> None:
    stall = Stall()
    provider.script(stall)
    with budget(usd="1", name="research") as run_budget, pytest.raises(openai.APITimeoutError):
        run(clients, CHAT, timeout=0.05)
    stall.release()
    assert sums(run_budget) == (CALL_USD, 0)


def test_a_call_without_a_connection_costs_nothing() -> None:
    with (
        openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="-", max_retries=1) as client,
        budget(usd="1", name="research") as run_budget,
        pytest.raises(openai.APIConnectionError),
    ):
        client.chat.completions.create(**CHAT.arguments)
    assert sums(run_budget) == (0, 0)


def test_an_abandoned_stream_counts_its_estimate(clients: Clients, provider: DemoProvider) -> None:
    del provider
    with budget(usd="1", name="research") as run_budget:
        stream: Sdk = send(clients, CHAT_STREAM)
        next(iter(stream))
        del stream
        gc.collect()
        assert run_budget.reserved_usd == 0
        assert run_budget.spent_usd > 0


def test_the_apps_own_error_passes(clients: Clients) -> None:
    run_budget = budget(usd="1", name="research")

    def work() -> None:
        with run_budget:
            run(clients, CHAT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert run_budget.spent_usd == CALL_USD


@pytest.mark.usefixtures("exact_estimates")
def test_a_task_that_outlives_the_block_stays_limited(clients: Clients) -> None:
    with budget(usd=CALL_USD, name="research") as run_budget:
        inside = copy_context()
    inside.run(run, clients, CHAT)
    with pytest.raises(BudgetExceeded):
        inside.run(run, clients, CHAT)
    run(clients, CHAT)
    assert run_budget.spent_usd == CALL_USD


@pytest.mark.usefixtures("exact_estimates")
def test_entered_again_it_goes_on_with_what_is_spent(clients: Clients) -> None:
    run_budget = budget(usd=CALL_USD, name="research")
    with run_budget:
        with run_budget:
            run(clients, CHAT)
        with pytest.raises(BudgetExceeded):
            run(clients, CHAT)
    with run_budget, pytest.raises(BudgetExceeded):
        run(clients, CHAT)
    assert run_budget.spent_usd == CALL_USD


@pytest.mark.usefixtures("exact_estimates")
def test_each_run_of_a_decorated_function_has_a_budget_of_its_own(clients: Clients) -> None:
    @budget(usd=CALL_USD, name="research")
    def research(calls: int) -> int:
        """Make calls."""
        for _ in range(calls):
            run(clients, CHAT)
        return calls

    assert (research(1), research(1), research.__doc__) == (1, 1, "Make calls.")
    with pytest.raises(BudgetExceeded):
        research(2)


@pytest.mark.asyncio
@pytest.mark.usefixtures("exact_estimates")
async def test_a_coroutine_function_can_be_decorated(async_clients: Clients) -> None:
    @budget(usd=CALL_USD, name="research")
    async def research(calls: int) -> int:
        for _ in range(calls):
            await run_async(async_clients, CHAT)
        return calls

    assert await research(1) == 1
    with pytest.raises(BudgetExceeded):
        await research(2)


def test_a_generator_function_cannot_be_decorated() -> None:
    def research() -> Generator[int]:
        yield 1

    with pytest.raises(TypeError, match="generator function 'research'"):
        budget(usd="1", name="research")(research)


def test_the_file_exists_while_the_block_runs(files: Path, clients: Clients) -> None:
    with budget(usd="1", name="research"):
        run(clients, CHAT)
        [file] = files.iterdir()
        assert (file.stat().st_mode & 0o777, files.stat().st_mode & 0o777) == (0o600, 0o700)
    assert list(files.iterdir()) == []


def test_a_spool_folder_of_the_app_holds_the_files(tmp_path: Path) -> None:
    tokenledger.configure(spool_dir=str(tmp_path / "spool"))
    with budget(usd="1", name="research"):
        assert len(list((tmp_path / "spool" / "run-budgets").iterdir())) == 1


@pytest.mark.usefixtures("exact_estimates")
def test_without_a_folder_this_process_is_limited(
    tmp_path: Path, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    tokenledger.configure(spool_dir=str(tmp_path / "file"))
    with budget(usd=CALL_USD, name="research") as run_budget:
        run(clients, CHAT)
        with pytest.raises(BudgetExceeded):
            run(clients, CHAT)
    assert run_budget.spent_usd == CALL_USD
    assert "set TOKENLEDGER_SPOOL_DIR" in caplog.text
    assert _guard.counts() == {"making the file of a budget": 1}
    _guard.reset()


def test_a_model_without_a_price_is_not_counted(
    clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    with budget(usd="1", name="research") as run_budget:
        run(clients, CHAT, model="my-own-model")
    assert run_budget.spent_usd == 0
    assert "does not count calls of 'my-own-model'" in caplog.text


def test_a_model_without_a_price_is_refused_if_the_budget_says_so(
    clients: Clients, provider: DemoProvider
) -> None:
    with budget(usd="1", name="research", unpriced="refuse") as run_budget:
        run(clients, CHAT)
        with pytest.raises(BudgetExceeded, match="no price") as raised:
            run(clients, CHAT, model="my-own-model")
    assert raised.value.reason == "unpriced"
    assert raised.value.spent_usd == run_budget.spent_usd == CALL_USD
    assert len(provider.requests) == 1


def test_without_a_ledger_no_call_has_a_price(
    clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    tokenledger.shutdown()
    with budget(usd="0.001", name="research") as run_budget:
        run(clients, CHAT)
    assert run_budget.spent_usd == 0
    assert "budget 'research' knows no prices, because no ledger is open" in caplog.text
    with (
        budget(usd="1", name="research", unpriced="refuse"),
        pytest.raises(BudgetExceeded, match="no price"),
    ):
        run(clients, CHAT)


def test_without_a_patched_sdk_it_says_that_nothing_is_limited(
    clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    tokenledger.unpatch_openai()
    tokenledger.unpatch_anthropic()
    with budget(usd="0.000001", name="research"):
        run(clients, CHAT)
    assert "limits no call, because no SDK is patched" in caplog.text


def test_calls_outside_of_every_budget_are_not_limited(clients: Clients) -> None:
    with budget(usd="0.000001", name="research"):
        pass
    assert SWITCH.is_on
    run(clients, CHAT)
    run(clients, MESSAGE)


@pytest.mark.usefixtures("exact_estimates")
def test_the_apps_decimal_context_does_not_change_sums(clients: Clients) -> None:
    with budget(usd=2 * CALL_USD, name="research") as run_budget:
        with localcontext() as coarse:
            coarse.prec = 2
            run(clients, CHAT)
            run(clients, CHAT)
        assert run_budget.spent_usd == 2 * CALL_USD


@pytest.mark.parametrize(
    ("usd", "error", "words"),
    [
        (0, ValueError, "greater than 0"),
        ("-1", ValueError, "greater than 0"),
        (Decimal("NaN"), ValueError, "greater than 0"),
        ("Infinity", ValueError, "greater than 0"),
        ("fifty", ValueError, "'fifty'"),
        ("$5", ValueError, r"'\$5'"),
        (0.5, TypeError, 'like usd="0.50": the float 0.5 is not'),
        (None, TypeError, "not NoneType"),
        (True, TypeError, "not bool"),
    ],
    ids=str,
)
def test_an_invalid_limit_is_named(usd: Any, error: type[Exception], words: str) -> None:  # noqa: ANN401
    with pytest.raises(error, match=rf"budget\(usd=\).*{words}"):
        budget(usd=usd, name="research")


def test_other_invalid_arguments_are_named() -> None:
    odd: Any = "maybe"
    number: Any = 7
    with pytest.raises(ValueError, match=r"budget\(name=\) must not be empty"):
        budget(usd="1", name=" ")
    with pytest.raises(TypeError, match=r"budget\(name=\) must be text, not int"):
        budget(usd="1", name=number)
    with pytest.raises(ValueError, match=r"budget\(unpriced=\) must be 'allow' or 'refuse'"):
        budget(usd="1", name="research", unpriced=odd)
    with pytest.raises(ValueError, match=r"budget\(on_unavailable=\).* not 'maybe'"):
        budget(usd="1", name="research", on_unavailable=odd)
