"""The functions of `budgets.budgets` for an event loop; each runs in a worker thread."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, TypeVar

from tokenledger_exporter.budgets import budgets

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from typing_extensions import ParamSpec

    P = ParamSpec("P")

T = TypeVar("T")


def _in_thread(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    @functools.wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(function, *args, **kwargs)

    return run


set_budget = _in_thread(budgets.set_budget)
list_budgets = _in_thread(budgets.list_budgets)
show_budget = _in_thread(budgets.show_budget)
pause_budget = _in_thread(budgets.pause_budget)
delete_budget = _in_thread(budgets.delete_budget)
budget_status = _in_thread(budgets.budget_status)
budget_history = _in_thread(budgets.budget_history)
refusals = _in_thread(budgets.refusals)
unconfirmed = _in_thread(budgets.unconfirmed)
release_unconfirmed = _in_thread(budgets.release_unconfirmed)
