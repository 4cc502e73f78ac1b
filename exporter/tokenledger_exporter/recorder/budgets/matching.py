"""Which budgets a call must have room in, and in which of their accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tokenledger_exporter.domain.budget import Budget
    from tokenledger_exporter.recorder.budgets.call_values import CallValues
    from tokenledger_exporter.store.budget_charges import Account
    from tokenledger_semconv.budgets import CallAttributes

_MAX_CACHED: Final = 4096


@dataclass(frozen=True, slots=True)
class Match:
    """What the budgets need to know of a call.

    Args:
        dimensions: each dimension that a budget asks for -> the call's value, "" if it has none.
        budgets: the budgets that match the call.
        accounts: its account in each of them.
    """

    dimensions: Mapping[str, str]
    budgets: tuple[Budget, ...]
    accounts: tuple[Account, ...]


class EnforcedBudgets:
    """The budgets that may refuse calls.

    Args:
        budgets: every budget of the ledger; others than those are left out.
    """

    def __init__(self, budgets: Iterable[Budget] = ()) -> None:
        self._budgets: Final = tuple(budget for budget in budgets if budget.may_refuse)
        names = {name for budget in self._budgets for name in budget.dimensions}
        self._dimensions: Final = tuple(sorted(names))
        self._matches: Final[dict[tuple[str, ...], Match]] = {}

    def __bool__(self) -> bool:
        return bool(self._budgets)

    def match(self, attributes: CallAttributes, values: CallValues) -> Match:
        """The budgets that match a call; calls with the same values share the answer."""
        key = values.read(attributes, self._dimensions)
        known = self._matches.get(key)
        if known is None:
            if len(self._matches) >= _MAX_CACHED:
                self._matches.clear()
            known = self._matches[key] = self._match(dict(zip(self._dimensions, key, strict=True)))
        return known

    def _match(self, dimensions: dict[str, str]) -> Match:
        accounts = [(each, each.account_of(dimensions.__getitem__)) for each in self._budgets]
        matching = [(budget, value) for budget, value in accounts if value is not None]
        return Match(
            dimensions,
            tuple(budget for budget, _ in matching),
            tuple((budget.budget_id, value) for budget, value in matching),
        )
