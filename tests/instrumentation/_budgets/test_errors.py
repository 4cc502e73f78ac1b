"""The error of a refused call says what to do, and passes between processes."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from datetime import datetime, timezone
from decimal import Decimal

from support.budget_guards import REFUSAL
from tokenledger import BudgetExceeded
from tokenledger_semconv.budgets import Refusal


def test_it_names_the_budget_the_sums_the_reset_and_the_remedy() -> None:
    resets_at = datetime(2026, 12, 1, tzinfo=timezone.utc)
    assert str(BudgetExceeded(replace(REFUSAL, resets_at=resets_at))) == (
        "budget 'team-ml' of 'ml' refused a call: the call may cost $0.06. Limit $500, spent "
        "$499.9, reserved for calls in flight $0.05, resets: 2026-12-01 00:00+00:00. To go on, "
        "raise it with `tokenledger budget set team-ml --limit USD`."
    )


def test_it_says_why_if_the_limit_is_not_the_reason() -> None:
    unpriced = BudgetExceeded(replace(REFUSAL, key="", reason="unpriced"))
    assert str(unpriced).startswith("budget 'team-ml' refused a call: the call has no price")
    assert "resets: never" in str(unpriced)
    assert "out of reach" in str(BudgetExceeded(replace(REFUSAL, reason="outage")))


def test_a_small_amount_is_not_printed_with_an_exponent() -> None:
    assert "$0.0000001." in str(BudgetExceeded(replace(REFUSAL, needed_usd=Decimal("1E-7"))))


def test_a_copy_in_another_process_has_the_same_fields() -> None:
    error = BudgetExceeded(REFUSAL)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert str(copy) == str(error)
    for field in fields(Refusal):
        assert getattr(copy, field.name) == getattr(REFUSAL, field.name)
