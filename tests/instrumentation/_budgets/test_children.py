"""Child processes share a run budget: by fork, or through an environment variable."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from contextvars import Context
from typing import TYPE_CHECKING

import pytest

from instrumentation._budgets.conftest import CALL_USD, sums
from support.fake_provider import Stall
from support.sdk_calls import CHAT, run
from tokenledger import BudgetExceeded, _guard, budget
from tokenledger._budget_switch import RUN_BUDGETS_VARIABLE
from tokenledger._budgets.gate import admit
from tokenledger._budgets.inheritance import OpenBudgets

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from support.fake_provider import DemoProvider
    from support.sdk_calls import Clients
    from tokenledger._budgets.limit import Policy
    from tokenledger._budgets.run_budget import Budget

pytestmark = pytest.mark.usefixtures("ledger")

# A program that makes calls until it may not, and prints how many. Its estimates are exact.
CHILD = """
import os, sys
from decimal import Decimal
import openai
import tokenledger
from tokenledger._budgets import limit

limit.estimated_cost = lambda *_: Decimal("0.00325")
tokenledger.init(database_url="postgresql://127.0.0.1:9/none", spool_dir=sys.argv[2])
client = openai.OpenAI(base_url=sys.argv[1], api_key="-", max_retries=0)
usage = '{"input": 1200, "output": 50, "cache_read": 200, "reasoning": 7}'
calls = 0
try:
    while calls < int(sys.argv[3]):
        client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "hello"}],
            extra_headers={"x-demo-usage": usage},
        )
        calls += 1
except tokenledger.BudgetExceeded as error:
    print(calls, error.budget, error.reason, flush=True)
else:
    print(calls, flush=True)
os._exit(0)
"""


class Program:
    """Starts the child program."""

    def __init__(self, provider: DemoProvider, folder: Path) -> None:
        self._arguments = [sys.executable, "-c", CHILD, provider.openai_base_url, str(folder)]

    def start(self, env: Mapping[str, str] | None = None, most: int = 100) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._arguments, str(most)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def program(provider: DemoProvider, tmp_path: Path) -> Program:
    return Program(provider, tmp_path)


def outputs(*children: subprocess.Popen[str]) -> list[list[str]]:
    return [child.communicate()[0].split() for child in children]


@pytest.mark.usefixtures("exact_estimates")
def test_three_children_and_their_parent_spend_the_limit_and_no_more(
    program: Program, clients: Clients, provider: DemoProvider
) -> None:
    with budget(usd=12 * CALL_USD, name="research") as run_budget:
        children = [program.start() for _ in range(3)]
        run(clients, CHAT)
        printed = outputs(*children)
        with pytest.raises(BudgetExceeded):
            run(clients, CHAT)
        assert sums(run_budget) == (12 * CALL_USD, 0)
    assert sum(int(words[0]) for words in printed) == 11
    assert {tuple(words[1:]) for words in printed} == {("research", "limit")}
    assert len(provider.requests) == 12


def test_a_child_started_after_the_block_is_not_limited(program: Program) -> None:
    with budget(usd=CALL_USD, name="research"):
        assert RUN_BUDGETS_VARIABLE in os.environ
    assert RUN_BUDGETS_VARIABLE not in os.environ
    assert outputs(program.start(most=2)) == [["2"]]


@pytest.mark.usefixtures("exact_estimates")
def test_the_estimate_of_a_killed_child_is_spent(
    program: Program, clients: Clients, provider: DemoProvider
) -> None:
    stall = Stall()
    provider.script(stall)
    with budget(usd=2 * CALL_USD, name="research") as run_budget:
        child = program.start()
        assert stall.reached.wait(30)
        assert sums(run_budget) == (0, CALL_USD)
        child.kill()
        child.communicate()
        assert sums(run_budget) == (CALL_USD, 0)
        stall.release()
        run(clients, CHAT)
        with pytest.raises(BudgetExceeded):
            run(clients, CHAT)
    assert child.returncode == -signal.SIGKILL


@pytest.mark.usefixtures("exact_estimates")
def test_a_forked_child_shares_the_budget_of_its_own_code(clients: Clients) -> None:
    with budget(usd=3 * CALL_USD, name="research") as run_budget:
        run(clients, CHAT)
        child = os.fork()
        if not child:
            calls = 0
            try:
                while True:
                    run(clients, CHAT)
                    calls += 1
            except BudgetExceeded:
                os._exit(calls)
            os._exit(99)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
        assert sums(run_budget) == (3 * CALL_USD, 0)


@pytest.mark.usefixtures("exact_estimates")
def test_a_forked_child_does_not_settle_the_calls_of_its_parent() -> None:
    with budget(usd="1", name="research") as run_budget:
        hold = admit({}, {})
        assert hold is not None
        child = os.fork()
        if not child:
            hold.finish({}, failed=False)
            os._exit(0)
        os.waitpid(child, 0)
        assert sums(run_budget) == (0, CALL_USD)
        hold.finish({}, failed=False)
        assert sums(run_budget) == (CALL_USD, 0)


@pytest.mark.parametrize(
    ("policy", "printed"), [("allow", ["3"]), ("refuse", ["0", "research", "outage"])]
)
def test_a_child_that_cannot_open_the_file_follows_its_policy(
    program: Program, policy: Policy, printed: list[str]
) -> None:
    run_budget = budget(usd=CALL_USD, name="research", on_unavailable=policy)
    with run_budget:
        environment = run_budget.child_environment()
    child = program.start(environment, most=3)
    out, errors = child.communicate()
    assert out.split() == printed
    assert ("does not limit process" in errors) == (policy == "allow")


@contextmanager
def _open_elsewhere(other: Budget) -> Generator[None]:
    """A budget that unrelated code has open."""
    elsewhere = Context()
    elsewhere.run(other.__enter__)
    try:
        yield
    finally:
        elsewhere.run(other.__exit__)


def test_unrelated_budgets_need_an_explicit_environment(program: Program) -> None:
    one = budget(usd=2 * CALL_USD, name="one", on_unavailable="refuse")
    with _open_elsewhere(budget(usd=CALL_USD, name="two")), one:
        children = program.start(), program.start(one.child_environment())
        assert outputs(*children) == [["0", "two", "outage"], ["2", "one", "limit"]]
        assert one.spent_usd == 2 * CALL_USD
    assert RUN_BUDGETS_VARIABLE not in os.environ


def test_a_child_shares_what_encloses_all_open_budgets(program: Program) -> None:
    outer, inner = budget(usd=2 * CALL_USD, name="outer"), budget(usd="1", name="inner")
    with outer, inner:
        assert outputs(program.start()) == [["2", "outer", "limit"]]
        assert inner.spent_usd == outer.spent_usd == 2 * CALL_USD


def test_an_unreadable_variable_is_reported_and_limits_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(RUN_BUDGETS_VARIABLE, "{")
    assert OpenBudgets().inherited == ()
    assert _guard.counts() == {f"reading {RUN_BUDGETS_VARIABLE}": 1}
    _guard.reset()
