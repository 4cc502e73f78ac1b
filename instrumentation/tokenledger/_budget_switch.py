"""Whether any budget could refuse a call: one flag, which every call tests.

The ledger's guard and the run budgets of this process set it, the instrumentors read it.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger_semconv.budgets import BudgetGuard

RUN_BUDGETS_VARIABLE: Final = "TOKENLEDGER_RUN_BUDGETS"
"""The run budgets that this process shares with the one that started it, as JSON."""


class BudgetSwitch:
    """The guard of the open ledger, and whether this process has had a run budget."""

    __slots__ = ("_changing", "_has_run_budgets", "_source", "guard", "is_on")

    def __init__(self) -> None:
        self._has_run_budgets = RUN_BUDGETS_VARIABLE in os.environ
        self.is_on = self._has_run_budgets
        self.guard: BudgetGuard | None = None
        self._source: object = None
        self._changing = Lock()

    def follow(self) -> Callable[[BudgetGuard | None], None]:
        """A function that a newly opened ledger calls with its guard.

        From now on no guard is in force until it is called, and the functions of earlier ledgers
        have no effect.
        """
        source = object()

        def changed(guard: BudgetGuard | None) -> None:
            with self._changing:
                if self._source is source:
                    self._set_guard(guard)

        with self._changing:
            self._source = source
            self._set_guard(None)
        return changed

    def note_run_budget(self) -> None:
        """Ask from now on whether a call belongs to a run budget.

        It stays so: tasks that a run started may go on after its block.
        """
        with self._changing:
            self._has_run_budgets = True
            self.is_on = True

    def _set_guard(self, guard: BudgetGuard | None) -> None:
        self.guard = guard
        self.is_on = self._has_run_budgets or guard is not None


SWITCH: Final = BudgetSwitch()
"""The switch of this process."""
