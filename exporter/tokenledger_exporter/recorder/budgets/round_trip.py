"""Asks the database for a reservation, over a connection of its own."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tokenledger_exporter.db.answer_timeout import TimedConnection
from tokenledger_exporter.db.connection import connect, explain
from tokenledger_exporter.db.row_faults import is_row_fault
from tokenledger_exporter.domain.budget import REMEDIES
from tokenledger_exporter.errors import DatabaseUnreachableError, LedgerError
from tokenledger_exporter.pricing.catalog.lookup import load_book
from tokenledger_exporter.sql import statements
from tokenledger_exporter.store.budget_charges import keep_leases
from tokenledger_semconv.budgets import Refusal

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from datetime import timedelta

    from tokenledger_exporter.domain.budget import Budget
    from tokenledger_exporter.pricing.book import PriceBook
    from tokenledger_exporter.store.budget_charges import Account

_SQL: Final = statements("budgets")
ASKING_SECONDS: Final = 3.0
"""How long a call waits for an answer, and for others that ask."""

_PAUSE_SECONDS: Final = 2.0
_MAX_BOOKS: Final = 256
_UNKNOWN: Final = Decimal(0)


class ImpatientConnection(TimedConnection):
    """A connection whose caller is a model call that waits."""

    answer_seconds: ClassVar[float | None] = ASKING_SECONDS


@dataclass(frozen=True, slots=True)
class Answer:
    """What one budget says about a call; amounts in US dollars."""

    budget_id: int
    budget: str
    value: str
    is_refused: bool
    reason: Any
    granted_usd: Decimal
    needed_usd: Decimal
    limit_usd: Decimal
    spent_usd: Decimal
    reserved_usd: Decimal
    resets_at: datetime | None

    @property
    def account(self) -> Account:
        """Id of the budget, and the value of its dimension."""
        return self.budget_id, self.value


class ReserveConnection:
    """One connection; used by one thread at a time.

    After a failure it is not tried again for a moment, so that calls do not wait for each other.
    """

    def __init__(self, database_url: str, app_name: str) -> None:
        self._database_url: Final = database_url
        self._app_name: Final = app_name
        self._connection: psycopg.Connection[Any] | None = None
        self._books: Final[dict[str, PriceBook]] = {}
        self._closed_until = 0.0

    def reserve(
        self,
        holder: str,
        dimensions: Mapping[str, str],
        usd: Decimal | None,
        lifetime: timedelta,
        *,
        is_last_try: bool = True,
    ) -> list[Answer]:
        """Reserve for one call, and a lease for further ones while the limit is far.

        Args:
            holder: the name of this process.
            dimensions: the call's dimensions.
            usd: what it may cost; `None` without a price.
            lifetime: how long the lease lives unless it is extended.
            is_last_try: count the call as refused if it is.

        Raises:
            LedgerError: the database cannot be asked, or did not answer in time.
        """
        values = {
            "holder": holder,
            "dimensions": Jsonb(dict(dimensions)),
            "usd": usd,
            "app_name": self._app_name,
            "lifetime": lifetime,
            # The call's row has the time of this machine too.
            "at": datetime.now(timezone.utc),
            "is_last_try": is_last_try,
        }
        with self._usable() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return [Answer(**row) for row in cursor.execute(_SQL["reserve_or_retry"], values)]

    def keep_leases(
        self, holder: str, leases: Mapping[Account, Decimal], lifetime: timedelta
    ) -> None:
        """As `BudgetCharges.keep_leases`; raises as `reserve`."""
        with self._usable() as connection:
            keep_leases(connection, holder, leases, lifetime)

    def prices_of(self, provider: str) -> PriceBook:
        """The ledger's prices of a provider, read once per process; raises as `reserve`.

        They are for estimates alone: a call's row has the prices of its day.
        """
        book = self._books.get(provider)
        if book is None:
            with self._usable() as connection:
                book = load_book(connection, provider)
            if len(self._books) < _MAX_BOOKS:
                self._books[provider] = book
        return book

    @contextmanager
    def _usable(self) -> Generator[psycopg.Connection[Any]]:
        if time.monotonic() < self._closed_until:
            raise DatabaseUnreachableError("the database did not answer a moment ago")
        try:
            if self._connection is None:
                self._connection = connect(self._database_url, ImpatientConnection)
                self._connection.autocommit = True
            yield self._connection
        except psycopg.Error as error:
            # The fault of one call: the others go on asking.
            if not is_row_fault(error):
                self._note_failure()
            raise explain(error) from None
        except LedgerError:
            self._note_failure()
            raise

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def after_fork(self) -> None:
        """In a forked child: leave the parent's connection open and unused."""
        if self._connection is not None:
            _inherited_connections.append(self._connection)

    def _note_failure(self) -> None:
        self._closed_until = time.monotonic() + _PAUSE_SECONDS
        self.close()


def refusal_of(answer: Answer) -> Refusal:
    """A budget's answer as the refusal that the app gets."""
    return Refusal(
        budget=answer.budget,
        key=answer.value,
        limit_usd=answer.limit_usd,
        spent_usd=answer.spent_usd,
        reserved_usd=answer.reserved_usd,
        needed_usd=answer.needed_usd,
        resets_at=answer.resets_at,
        remedy=REMEDIES[answer.reason].format(budget=answer.budget),
        reason=answer.reason,
    )


def outage_of(budget: Budget) -> Refusal:
    """The refusal of a budget that cannot be asked."""
    return Refusal(
        budget=budget.name,
        key="",
        limit_usd=budget.limit_usd,
        spent_usd=_UNKNOWN,
        reserved_usd=_UNKNOWN,
        needed_usd=_UNKNOWN,
        resets_at=None,
        remedy="make the ledger's database reachable, or run 'tokenledger budget set' "
        "with --on-outage allow",
        reason="outage",
    )


# Connections of the parent process: closing one here would end the parent's session.
_inherited_connections: Final[list[psycopg.Connection[Any]]] = []
