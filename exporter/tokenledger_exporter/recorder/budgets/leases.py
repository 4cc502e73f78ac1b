"""The money that this process may spend without asking, by account."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tokenledger_exporter.store.budget_charges import Account

_NOTHING: Final = Decimal(0)


@dataclass(slots=True)
class Lease:
    """What one account has granted, in US dollars.

    Args:
        account: id of the budget, and the value of its dimension.
        available: what further calls may use.
        in_use: the estimates of the calls that are not committed yet.
        to_give_back: what no call may use any more, and the database does not know yet.
        is_idle: whether no call has used it since the last `given_back`.
    """

    account: Account
    available: Decimal = _NOTHING
    in_use: Decimal = _NOTHING
    to_give_back: Decimal = _NOTHING
    is_idle: bool = False

    def give_back(self) -> None:
        """Let no further call use it."""
        self.to_give_back += self.available
        self.available = _NOTHING


@dataclass(slots=True)
class Leases:
    """All leases of this process. Its invariant: no lease's `available` is below 0."""

    _by_account: dict[Account, Lease] = field(default_factory=dict["Account", Lease])
    _lock: Lock = field(default_factory=Lock)

    def take(self, accounts: Sequence[Account], usd: Decimal) -> bool:
        """Use an amount of every account, or of none; returns whether all had it."""
        with self._lock:
            leases: list[Lease] = []
            for account in accounts:
                lease = self._by_account.get(account)
                if lease is None or lease.available < usd:
                    return False
                leases.append(lease)
            for lease in leases:
                lease.available -= usd
                lease.in_use += usd
                lease.is_idle = False
            return True

    def has_available(self, accounts: Iterable[Account]) -> bool:
        """Whether an account has money that no call uses, which may not suffice for one."""
        with self._lock:
            return any(
                lease.available
                for account in accounts
                if (lease := self._by_account.get(account)) is not None
            )

    def grant(self, granted: Mapping[Account, Decimal], used: Mapping[Account, Decimal]) -> None:
        """Add what the database granted, a part of which one call uses already."""
        with self._lock:
            for account, usd in granted.items():
                lease = self._by_account.setdefault(account, Lease(account))
                lease.available += usd - used[account]
                lease.in_use += used[account]
                lease.is_idle = False

    def free(self, used: Mapping[Account, Decimal], *, is_spent: bool) -> None:
        """End the use of a call.

        Args:
            used: what it used by account.
            is_spent: whether its commit gave the money back to the database; else it was never
                sent, and further calls may use it.
        """
        with self._lock:
            for account, usd in used.items():
                lease = self._by_account.get(account)
                if lease is not None:
                    lease.in_use -= usd
                    if not is_spent:
                        lease.available += usd

    def recall(self) -> None:
        """Give back everything that no call uses: budgets have changed."""
        with self._lock:
            for lease in self._by_account.values():
                lease.give_back()

    def given_back(self) -> dict[Account, Decimal]:
        """What to give back, by account that is still needed.

        It includes what no call used since the last time.
        """
        with self._lock:
            amounts: dict[Account, Decimal] = {}
            for lease in list(self._by_account.values()):
                if lease.is_idle:
                    lease.give_back()
                lease.is_idle = True
                if lease.available or lease.in_use:
                    amounts[lease.account] = lease.to_give_back
                    lease.to_give_back = _NOTHING
                else:
                    del self._by_account[lease.account]
            return amounts
