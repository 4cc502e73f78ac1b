"""Adds the calls of a batch to their budgets, in the transaction that commits them.

A call and its charge are committed together, so that no reader sees money twice or not at all. A
budget never keeps a call out of the ledger: if the charge fails, the call is committed without it,
and the next recount adds it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Protocol

from psycopg.rows import dict_row

from tokenledger_exporter.domain.budget import TRACE, budget_of
from tokenledger_exporter.log import warn
from tokenledger_exporter.pricing.price_row import MONEY
from tokenledger_exporter.sql import statements
from tokenledger_semconv.dimensions import DIMENSIONS, METADATA_DIMENSION_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import timedelta
    from typing import TypeAlias

    import psycopg

    from tokenledger_exporter.domain.budget import Budget
    from tokenledger_exporter.domain.ledger_row import LedgerRow

    Account: TypeAlias = tuple[int, str]

_SQL: Final = statements("budgets")
_COLUMNS: Final = {**{each.name: each.column for each in DIMENSIONS}, TRACE: "trace_id"}
_NOTHING: Final = Decimal(0)
_UNMEASURED: Final = "unmeasured"
# Periods start at whole quarters of an hour in every time zone, so a call's quarter is enough.
_QUARTER_SECONDS: Final = 900


class Reservations(Protocol):
    """What the calls of this process have reserved."""

    @property
    def holder(self) -> str:
        """The name of this process in `token_ledger_budget_holds`."""
        ...

    def of_row(self, row: LedgerRow) -> Mapping[Account, Decimal] | None:
        """What a row's call has reserved by account, in US dollars; `None` if it has not."""
        ...

    def free(self, rows: Iterable[LedgerRow]) -> None:
        """Forget what the calls of committed rows have reserved."""
        ...

    def note_budgets(self, budgets: Sequence[Budget], *, is_changed: bool) -> None:
        """Take over the budgets; called whenever they were compared with the ledger's.

        Args:
            budgets: every budget of the ledger.
            is_changed: whether they have changed since the last time.
        """
        ...


@dataclass(slots=True)
class _Charge:
    """What some calls add to one account in one quarter of an hour."""

    usd: Decimal = _NOTHING
    unconfirmed: Decimal = _NOTHING
    unreserved: Decimal = _NOTHING
    calls: int = 0
    unpriced: int = 0
    unreserved_calls: int = 0

    def add(self, row: LedgerRow, *, is_reserved: bool) -> None:
        """Add one call."""
        usd = row.cost_usd
        self.calls += 1
        if usd is None:
            self.unpriced += 1
            usd = _NOTHING
        self.usd += usd
        if not is_reserved:
            self.unreserved += usd
            self.unreserved_calls += 1

    def merge(self, other: _Charge) -> None:
        """Add other calls."""
        self.usd += other.usd
        self.unreserved += other.unreserved
        self.calls += other.calls
        self.unpriced += other.unpriced
        self.unreserved_calls += other.unreserved_calls


@dataclass(slots=True)
class _Charges:
    """What a batch adds to its budgets, and frees."""

    charges: dict[tuple[int, str, int], _Charge] = field(
        default_factory=lambda: defaultdict(_Charge)
    )
    freed: dict[Account, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    unconfirmed: dict[tuple[int, str, int], Decimal] = field(
        default_factory=lambda: defaultdict(Decimal)
    )


class BudgetCharges:
    """The budgets as a writer last read them, and what its rows add to them.

    Args:
        reservations: what the calls of this process have reserved; `None` if they reserve nothing.
    """

    def __init__(self, reservations: Reservations | None = None) -> None:
        self._reservations: Final = reservations
        self._budgets: tuple[Budget, ...] = ()
        self._dimensions: tuple[str, ...] = ()
        self._readers: tuple[Callable[[LedgerRow], str], ...] = ()
        self._version = -1
        self.failures = 0

    def charge(self, connection: psycopg.Connection[Any], rows: Sequence[LedgerRow]) -> None:
        """Add new rows to their budgets, as the last step of their transaction.

        Raises:
            psycopg.Error: the connection is broken; any other error only delays the charge.
        """
        try:
            with connection.transaction():
                self._charge(connection, rows)
        except Exception as error:
            if connection.broken:
                raise
            self.failures += 1
            if self.failures == 1:
                warn(
                    "budget_not_charged",
                    f"a budget could not be charged ({type(error).__name__}); the calls are in the "
                    "ledger, and the next round of 'tokenledger keep' adds them",
                )

    def free(self, rows: Iterable[LedgerRow]) -> None:
        """Note that rows were committed."""
        if self._reservations is not None:
            self._reservations.free(rows)

    def refresh(self, connection: psycopg.Connection[Any]) -> bool:
        """Read the budgets again if one has changed; returns whether calls reserve by span."""
        [(version, has_reservations)] = connection.execute(_SQL["state"]).fetchall()
        is_changed = version != self._version
        if is_changed:
            self._budgets = read_budgets(connection)
            names = {name for budget in self._budgets for name in budget.dimensions}
            self._dimensions = tuple(sorted(names))
            self._readers = tuple(map(_reader, self._dimensions))
            self._version = version
        if self._reservations is not None:
            self._reservations.note_budgets(self._budgets, is_changed=is_changed)
        return bool(has_reservations)

    def _charge(self, connection: psycopg.Connection[Any], rows: Sequence[LedgerRow]) -> None:
        has_reservations = self.refresh(connection)
        if not self._budgets or not rows:
            return
        connection.execute(_SQL["limit_lock_wait"])
        span_keys = [f"{row.trace_id}:{row.span_id}" for row in rows] if has_reservations else []
        reserved = {
            span_key
            for (span_key,) in (
                connection.execute(_SQL["reserved_spans"], {"span_keys": span_keys})
                if span_keys
                else ()
            )
        }
        sums = self._sums(rows, reserved)
        if sums.charges or sums.freed or reserved:
            connection.execute(_SQL["charge"], self._values(sums, sorted(reserved)))

    def _sums(self, rows: Sequence[LedgerRow], reserved: set[str]) -> _Charges:
        sums = _Charges()
        holds_of = self._reservations.of_row if self._reservations is not None else None
        groups: dict[tuple[Any, ...], _Charge] = defaultdict(_Charge)
        freed: set[int] = set()
        with localcontext(MONEY):
            for row in rows:
                holds = holds_of(row) if holds_of is not None else None
                is_reserved = holds is not None or (
                    bool(reserved) and f"{row.trace_id}:{row.span_id}" in reserved
                )
                quarter = int(row.timestamp.timestamp()) // _QUARTER_SECONDS
                groups[self._values_of(row), quarter].add(row, is_reserved=is_reserved)
                # A call may have several rows, and a span in each of two tracings.
                if holds is not None and id(holds) not in freed:
                    freed.add(id(holds))
                    for account, usd in holds.items():
                        sums.freed[account] += usd
                        if row.cost_status == _UNMEASURED:
                            sums.unconfirmed[account[0], account[1], quarter] += usd
            for (values, quarter), charge in groups.items():
                value_of = dict(zip(self._dimensions, values, strict=True)).__getitem__
                for budget in self._budgets:
                    value = budget.account_of(value_of)
                    if value is not None:
                        sums.charges[budget.budget_id, value, quarter].merge(charge)
            for key, usd in sums.unconfirmed.items():
                sums.charges[key].unconfirmed += usd
        return sums

    def _values_of(self, row: LedgerRow) -> tuple[str, ...]:
        """The row's values of the dimensions that budgets ask for."""
        return tuple([read(row) for read in self._readers])

    def _values(self, sums: _Charges, span_keys: list[str]) -> dict[str, Any]:
        keys, charges = list(sums.charges), list(sums.charges.values())
        accounts = list(sums.freed)
        return {
            "budgets": _numbers(budget_id for budget_id, _, _ in keys),
            "vals": [value for _, value, _ in keys],
            "quarters": _numbers(quarter for _, _, quarter in keys),
            "usd": _numbers(charge.usd for charge in charges),
            "unconfirmed": _numbers(charge.unconfirmed for charge in charges),
            "unreserved": _numbers(charge.unreserved for charge in charges),
            "calls": _numbers(charge.calls for charge in charges),
            "unpriced": _numbers(charge.unpriced for charge in charges),
            "unreserved_calls": _numbers(charge.unreserved_calls for charge in charges),
            "holder": self._reservations.holder if self._reservations is not None else "",
            "lease_budgets": _numbers(budget_id for budget_id, _ in accounts),
            "lease_vals": [value for _, value in accounts],
            "lease_usd": _numbers(sums.freed.values()),
            "span_keys": span_keys,
        }


def _numbers(values: Iterable[int | Decimal]) -> str:
    """An array of numbers in Postgres' text format; psycopg's own conversion takes four times."""
    return "{" + ",".join(map(str, values)) + "}"


def keep_leases(
    connection: psycopg.Connection[Any],
    holder: str,
    leases: Mapping[Account, Decimal],
    lifetime: timedelta,
) -> None:
    """Extend the leases of a process, and give back what it does not need.

    Args:
        connection: the ledger.
        holder: the name of the process.
        leases: account that it needs -> what it gives back, in US dollars; all others end.
        lifetime: how long a lease lives without this call.
    """
    connection.execute(
        _SQL["keep_leases"],
        {
            "holder": holder,
            "budgets": [budget_id for budget_id, _ in leases],
            "vals": [value for _, value in leases],
            "given_back": list(leases.values()),
            "lifetime": lifetime,
        },
    )


def release(connection: psycopg.Connection[Any], holder: str) -> None:
    """Free all that a process has reserved."""
    connection.execute(_SQL["release"], {"holder": holder})


def past_costs(
    connection: psycopg.Connection[Any], quantile: float
) -> list[tuple[str, str, Decimal]]:
    """A quantile of what recent calls have cost: feature, requested model, US dollars."""
    return connection.execute(_SQL["past_costs"], {"quantile": quantile}).fetchall()


def read_budgets(connection: psycopg.Connection[Any]) -> tuple[Budget, ...]:
    """Every budget of the ledger, by name."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return tuple(map(budget_of, cursor.execute(_SQL["budgets"])))


def _reader(dimension: str) -> Callable[[LedgerRow], str]:
    """A row's value of a dimension, "" if it has none."""
    column = _COLUMNS.get(dimension)
    if column is not None:
        return attrgetter(column)
    key = dimension.removeprefix(METADATA_DIMENSION_PREFIX)

    def read(row: LedgerRow) -> str:
        if row.metadata in {"", "{}"}:
            return ""
        value = json.loads(row.metadata).get(key)
        return "" if value is None else str(value)

    return read
