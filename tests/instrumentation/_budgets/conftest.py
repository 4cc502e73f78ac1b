"""Run budgets of one test: a folder for their files, no past costs, and the switch as before."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tokenledger._budget_switch import SWITCH
from tokenledger._budgets import estimate, limit

if TYPE_CHECKING:
    from pathlib import Path

    from tokenledger._budgets.run_budget import Budget

# gpt-4o, USD a million tokens: input 2.50, cached 1.25, output 10.00. The fake provider reports
# 1,200 input tokens, of which 200 are cached, and 50 output tokens.
CALL_USD = (1_000 * Decimal("2.5") + 200 * Decimal("1.25") + 50 * Decimal(10)) / 1_000_000
"""What each of the tests' calls of gpt-4o costs: $0.00325."""


@pytest.fixture(autouse=True)
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of the files; what one test notes does not reach the next."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(SWITCH, "is_on", False)
    monkeypatch.setattr(SWITCH, "guard", None)
    monkeypatch.setattr(SWITCH, "_has_run_budgets", False)
    costs = estimate.PastCosts()
    for module in (estimate, limit):
        monkeypatch.setattr(module, "PAST_COSTS", costs)
    return tmp_path / "tokenledger" / "run-budgets"


@pytest.fixture
def exact_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call is expected to cost what it costs."""

    def cost_of_a_call(*_call: object) -> Decimal:
        return CALL_USD

    monkeypatch.setattr(limit, "estimated_cost", cost_of_a_call)


def sums(budget: Budget) -> tuple[object, object]:
    """US dollars that are spent, and that are reserved."""
    return budget.spent_usd, budget.reserved_usd
