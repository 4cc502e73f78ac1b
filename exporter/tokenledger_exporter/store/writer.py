"""Writes batches of rows into the ledger, each batch in one transaction, each row exactly once.

`batch` decides how each row of a batch is handled. This module holds the connection they are
written over, and the prices that are read over the same connection.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Any, Final

import psycopg

from tokenledger_exporter.db import migrations, row_faults
from tokenledger_exporter.db.answer_timeout import TimedConnection
from tokenledger_exporter.db.connection import connect, explain
from tokenledger_exporter.errors import RowsRefusedError, SchemaError
from tokenledger_exporter.pricing.book import PriceBook
from tokenledger_exporter.pricing.catalog.lookup import load_book
from tokenledger_exporter.rollups import refresh
from tokenledger_exporter.sql import statements
from tokenledger_exporter.store import budget_charges, partitions, quarantine, tombstones
from tokenledger_exporter.store.batch import EARLIEST, Batch, WriteResult
from tokenledger_exporter.store.budget_charges import BudgetCharges
from tokenledger_semconv.tokens import MAX_COUNT

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from datetime import timedelta
    from decimal import Decimal

    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import SpoolHeader
    from tokenledger_exporter.store.budget_charges import Account, Reservations

_SQL: Final = statements("store")
_PRICES: Final = statements("prices")

# The tables exist before the prices are loaded: rows written in between would have no price.
_NO_PRICES: Final = (
    "the price book is empty: run 'tokenledger db migrate'; calls wait in the spool until then"
)
_NO_BOOK: Final = PriceBook(())
_PRICE_CACHE_SECONDS: Final = 60.0


class BatchWriter:
    """One connection to the ledger, opened when needed; used by one thread at a time.

    Args:
        database_url: the ledger.
        waits_for_lock: wait for the deduplication lock, so that rows are deduplicated as they are
            stored; for a writer whose rows are too many to deduplicate afterwards.
        reservations: what the calls of this process have reserved in budgets; `None` if nothing.
    """

    def __init__(
        self,
        database_url: str,
        *,
        waits_for_lock: bool = False,
        reservations: Reservations | None = None,
    ) -> None:
        self._database_url: Final = database_url
        self._is_patient: Final = waits_for_lock
        self._connection: psycopg.Connection[Any] | None = None
        self._books: dict[str, tuple[float, PriceBook]] = {}
        self._providers: frozenset[str] = frozenset()
        self._providers_at = -inf
        self._horizon = EARLIEST
        self._budgets: Final = BudgetCharges(reservations)

    def prices_of(self, provider: str) -> PriceBook:
        """One provider's price book, read again after a minute; empty for an unknown provider.

        The known providers are read as one list, so that unknown ones need no query and no memory.

        Raises:
            DatabaseUnreachableError, SchemaError: see `write`.
        """
        if time.monotonic() - self._providers_at > _PRICE_CACHE_SECONDS:
            self._read_providers()
        if provider not in self._providers:
            return _NO_BOOK
        read_at, book = self._books.get(provider, (0.0, None))
        if book is None or time.monotonic() - read_at > _PRICE_CACHE_SECONDS:
            with self._transaction() as connection:
                book = load_book(connection, provider)
            self._books[provider] = (time.monotonic(), book)
        return book

    def write(self, rows: Sequence[LedgerRow]) -> WriteResult:
        """Commit the rows, in one transaction if the database accepts them all.

        Otherwise the batch is halved until the rows that fail are alone. These go to
        `token_ledger_rejected`, so that one row never blocks another.

        Raises:
            DatabaseUnreachableError: the connection failed; writing the same rows again is safe.
            SchemaError: the tables are missing, older or newer, or no row can be written.
        """
        with self.usable_connection() as connection:
            result = WriteResult()
            doubtful: list[tuple[LedgerRow, Exception]] = []
            self._write_halves(connection, rows, result, doubtful)
            if doubtful and not (result.stored or result.resent):
                # The rows or the database may be at fault. The caller's next attempt includes the
                # following rows, which tells.
                reason = row_faults.reason_of(doubtful[0][1])
                raise RowsRefusedError(f"the database refused all {len(rows)} rows: {reason}")
            for row, error in doubtful:
                self._quarantine(connection, row, error, result)
        return result

    def quarantine_record(self, payload: bytes, header: SpoolHeader, reason: str) -> None:
        """Quarantine a record that is not a valid span; raises as `write`."""
        with self.usable_connection() as connection:
            quarantine.quarantine_record(connection, payload, header, reason)

    def _write_halves(
        self,
        connection: psycopg.Connection[Any],
        rows: Sequence[LedgerRow],
        result: WriteResult,
        doubtful: list[tuple[LedgerRow, Exception]],
    ) -> None:
        """Commit the rows; rows that failed alone for an unclear reason go to `doubtful`."""
        try:
            with connection.transaction():
                written = self._write_batch(connection, rows)
        except Exception as error:
            if connection.broken or not row_faults.may_be_row_fault(error):
                raise
            if len(rows) > 1:
                middle = len(rows) // 2
                for half in (rows[:middle], rows[middle:]):
                    self._write_halves(connection, half, result, doubtful)
            elif row_faults.is_row_fault(error):
                self._quarantine(connection, rows[0], error, result)
            else:
                doubtful.append((rows[0], error))
        else:
            result.add(written)
            self._budgets.free(rows)

    def _write_batch(
        self, connection: psycopg.Connection[Any], rows: Sequence[LedgerRow]
    ) -> WriteResult:
        batch = Batch(connection, self._horizon, waits_for_lock=self._is_patient)
        months = sorted(batch.by_month(rows).items())
        all_rows = list(chain.from_iterable(group for _, group in months))
        batch.find_relatives(all_rows)
        # Partitions have no trigger for this.
        refresh.mark(connection, (row.timestamp for row in all_rows))
        # Read under the lock, so that a later erasure finds these rows.
        erased = tombstones.read_tombstones(connection, rows)
        for month, group in months:
            batch.write_month(month, [*map(erased.row, group)] if erased else group)
        batch.write_quarantine(erased)
        # Last, because it locks the budgets until the commit.
        self._budgets.charge(connection, batch.stored_rows)
        return batch.result

    def _quarantine(
        self,
        connection: psycopg.Connection[Any],
        row: LedgerRow,
        error: Exception,
        result: WriteResult,
    ) -> None:
        reason = row_faults.reason_of(error)
        with connection.transaction():
            erased = tombstones.read_tombstones(connection, [row])
            quarantine.quarantine_row(connection, erased.row(row) if erased else row, reason)
        result.rejected += 1
        result.refusals[row.event_id] = reason

    def refresh_budgets(self) -> None:
        """Read the budgets again if one has changed; raises as `write`."""
        with self._transaction() as connection:
            self._budgets.refresh(connection)

    def keep_leases(
        self, holder: str, leases: Mapping[Account, Decimal], lifetime: timedelta
    ) -> None:
        """As `budget_charges.keep_leases`; raises as `write`."""
        with self._transaction() as connection:
            budget_charges.keep_leases(connection, holder, leases, lifetime)

    def past_costs(self, quantile: float) -> list[tuple[str, str, Decimal]]:
        """As `budget_charges.past_costs`; raises as `write`."""
        with self._transaction() as connection:
            return budget_charges.past_costs(connection, quantile)

    def release_reservations(self, holder: str) -> None:
        """Free what a dead process has reserved: all its calls are committed. Raises as `write`."""
        with self._transaction() as connection:
            budget_charges.release(connection, holder)

    def count_loss(self, app_name: str, reason: str, records: int, organization: str = "") -> None:
        """Count lost records in `token_ledger_losses`; raises as `write`.

        Args:
            app_name: the app that lost them.
            reason: why they were lost.
            records: how many.
            organization: the organization of their sender; "" for the operator's own sources.
        """
        with self._transaction() as connection:
            values: dict[str, Any] = {"app_name": app_name, "reason": reason}
            values["organization_id"] = organization
            values["records"] = min(records, MAX_COUNT)
            connection.execute(_SQL["count_loss"], values)

    def close(self) -> None:
        """Close the connection; the next write opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def after_fork(self) -> None:
        """In a forked child: leave the parent's connection open and unused."""
        if self._connection is not None:
            _inherited_connections.append(self._connection)
        self._connection = None

    def _read_providers(self) -> None:
        with self._transaction() as connection:
            rows = connection.execute(_PRICES["providers"]).fetchall()
        if not rows:
            raise SchemaError(_NO_PRICES)
        self._providers = frozenset(provider for (provider,) in rows)
        self._providers_at = time.monotonic()
        for removed in self._books.keys() - self._providers:
            del self._books[removed]

    @contextmanager
    def _transaction(self) -> Generator[psycopg.Connection[Any]]:
        """A transaction on the open connection."""
        with self.usable_connection() as connection, connection.transaction():
            yield connection

    @contextmanager
    def usable_connection(self) -> Generator[psycopg.Connection[Any]]:
        """The open connection; a database error closes it and is raised as a `LedgerError`."""
        connection = self._connection = self._connection or self._open()
        try:
            yield connection
        except psycopg.Error as error:
            self.close()
            raise explain(error) from None

    def _open(self) -> psycopg.Connection[Any]:
        connection = connect(self._database_url, TimedConnection)
        try:
            status = migrations.read_status(connection)
            if status.is_current:
                self._horizon = partitions.read_horizon(connection) or EARLIEST
            connection.rollback()
        except psycopg.Error as error:
            connection.close()
            raise explain(error) from None
        if not status.is_current or status.older_table:
            connection.close()
            raise SchemaError(status.sentence)
        return connection


# Connections of the parent process: closing one here would end the parent's session.
_inherited_connections: Final[list[psycopg.Connection[Any]]] = []
