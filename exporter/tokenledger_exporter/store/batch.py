"""Writes one batch of rows: each row is stored exactly once, or moved to conflicts or quarantine.

The fast path is one binary COPY into the month's partition under a savepoint. If a key exists, the
batch's keys and hashes are read back and only the missing rows are copied. A resend is ignored,
other content under the same key goes to `token_ledger_conflicts`, and a row that Postgres refuses
is found by bisection and goes to `token_ledger_rejected`, while the rest of the batch is stored. An
`unmeasured` row gives way to its call's measured report, which may come hours later.

A batch is written under the deduplication lock if it is free: then a row without relatives is
settled as it is stored. Rows with relatives, and batches that find the lock taken, are stored
unsettled, and their minutes are marked as dirty for `maintenance.deduplicate`. The roll-up slices
that a batch changes are marked as dirty too.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import psycopg
from msgspec.structs import replace
from psycopg import errors as pg_errors
from psycopg import sql
from psycopg.rows import dict_row

from tokenledger_exporter.db import row_faults
from tokenledger_exporter.errors import DatabaseUnreachableError, SchemaError
from tokenledger_exporter.rollups import refresh
from tokenledger_exporter.sql import statements
from tokenledger_exporter.store import binary_copy, duplicates
from tokenledger_semconv.dimensions import DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.store import tombstones

_SQL: Final = statements("store")

EARLIEST: Final = datetime(2015, 1, 1, tzinfo=timezone.utc)
"""No language model was billed before this time."""

_MAX_FUTURE: Final = timedelta(days=1)
_MAX_COPY_ATTEMPTS: Final = 5

# Integers compare faster than UUIDs, whose comparison is written in Python.
_number: Final = attrgetter("event_id.int")

_UNMEASURED: Final = "unmeasured"
_CONFLICT: Final = "this span is already in the ledger with different usage"
# The report of the sender has the best attribution; a later fetch of the result may have none.
_ATTRIBUTION: Final = tuple(d.column for d in DIMENSIONS if d.keys)
_ATTRIBUTION_LIST: Final = sql.SQL(", ").join(sql.Identifier(column) for column in _ATTRIBUTION)


def _is_better(row: LedgerRow, known_status: str) -> bool:
    """Whether a row measures a call that the stored row only knows to have been sent."""
    return known_status == _UNMEASURED and row.cost_status != _UNMEASURED


@dataclass(slots=True)
class WriteResult:
    """The outcome of a batch, in rows.

    Args:
        stored: new rows in the ledger.
        resent: rows that were stored before, with the same content.
        conflicting: rows whose key was stored before with other content.
        rejected: rows that the ledger cannot take.
        unsettled: new rows that must still be deduplicated.
        refusals: event id of a conflicting or rejected row -> why.
    """

    stored: int = 0
    resent: int = 0
    conflicting: int = 0
    rejected: int = 0
    unsettled: int = 0
    refusals: dict[UUID, str] = field(default_factory=dict["UUID", str], compare=False)

    def add(self, other: WriteResult) -> None:
        """Add the outcome of more rows."""
        self.stored += other.stored
        self.resent += other.resent
        self.conflicting += other.conflicting
        self.rejected += other.rejected
        self.unsettled += other.unsettled
        self.refusals |= other.refusals


class Batch:
    """One batch that is written inside one transaction.

    `stored_rows` are the rows that were new, once they are written.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        horizon: datetime = EARLIEST,
        *,
        waits_for_lock: bool = False,
    ) -> None:
        self.result: Final = WriteResult()
        self.stored_rows: Final[list[LedgerRow]] = []
        self._is_patient: Final = waits_for_lock
        self._horizon: Final = horizon
        self._connection: Final = connection
        self._refused: list[tuple[LedgerRow, str]] = []
        self._conflicting: list[LedgerRow] = []
        self._unsettled: set[int] = set()

    def by_month(self, rows: Sequence[LedgerRow]) -> dict[str, list[LedgerRow]]:
        """Rows by partition, each key once, sorted, so that concurrent writers never deadlock."""
        latest = datetime.now(timezone.utc) + _MAX_FUTURE
        unique: dict[int, LedgerRow] = {}
        for row in rows:
            number = row.event_id.int
            if EARLIEST <= row.timestamp < self._horizon:
                reason = (
                    f"the call is older than the ledger, which starts on {self._horizon:%Y-%m-%d}"
                )
                self._refused.append((row, reason))
            elif not EARLIEST <= row.timestamp <= latest:
                self._refused.append((row, "the time is before 2015 or more than a day ahead"))
            elif number in unique:
                unique[number] = self._preferred(unique[number], row)
            else:
                unique[number] = row
        months: defaultdict[str, list[LedgerRow]] = defaultdict(list)
        for row in sorted(unique.values(), key=_number):
            months[row.month].append(row)
        return months

    def find_relatives(self, rows: Sequence[LedgerRow]) -> None:
        """Find rows that another report may duplicate, and mark their minutes as dirty."""
        if not rows:
            return
        duplicates.store_parents(self._connection, rows)
        if duplicates.try_lock(self._connection) or (
            self._is_patient and duplicates.wait_for_lock(self._connection)
        ):
            self._unsettled = duplicates.ids_with_relatives(self._connection, rows)
        else:
            self._unsettled = {row.event_id.int for row in rows}
        if self._unsettled:
            moments = (row.timestamp for row in rows if row.event_id.int in self._unsettled)
            duplicates.mark(self._connection, moments)

    def write_month(self, month: str, rows: list[LedgerRow]) -> None:
        """Store one partition's rows; move rows that exist already or are refused."""
        leaf = sql.Identifier(f"token_ledger_events_{month}")
        for _ in range(_MAX_COPY_ATTEMPTS):
            try:
                with self._connection.transaction():
                    self._copy(leaf, rows)
            except pg_errors.UniqueViolation as error:
                if error.diag.table_name != f"token_ledger_events_{month}":
                    raise
                if error.diag.constraint_name != f"token_ledger_events_{month}_pkey":
                    self._bisect(month, rows, error)
                    return
                rows = self._new_rows(leaf, rows)
            except pg_errors.UndefinedTable:
                if not self._add_partition(rows):
                    return
            except psycopg.Error as error:
                if not row_faults.is_row_fault(error):
                    raise
                self._bisect(month, rows, error)
                return
            else:
                self.stored_rows.extend(rows)
                self.result.stored += len(rows)
                self.result.unsettled += sum(
                    row.event_id.int in self._unsettled for row in rows if self._unsettled
                )
                return
        raise DatabaseUnreachableError("other writers are writing the same rows; will retry")

    def _add_partition(self, rows: list[LedgerRow]) -> bool:
        """Create the rows' partition; False if it is a past month and its rows were quarantined.

        One row of a past month must not block a writer that may only insert.
        """
        month = rows[0].timestamp.date().replace(day=1)
        try:
            with self._connection.transaction():
                self._connection.execute(_SQL["add_partition"], {"month": month})
        except pg_errors.InsufficientPrivilege:
            if month >= datetime.now(timezone.utc).date().replace(day=1):
                raise SchemaError(
                    f"there is no partition for {month:%Y-%m}, and this database user has no right "
                    "to create one: run 'tokenledger db migrate' as the tables' owner"
                ) from None
            self._refused += [(row, f"there is no partition for {month:%Y-%m}") for row in rows]
            return False
        return True

    def write_quarantine(self, erased: tombstones.Tombstones) -> None:
        """Store the refused and conflicting rows, without ids of erased people."""
        for refused, reason in self._refused:
            row = erased.row(refused)
            values = {"event_id": row.event_id, "reason": reason, "event": row.as_json()}
            self._connection.execute(_SQL["add_rejected"], values)
        for row in map(erased.row, self._conflicting):
            hashed = {"event_id": row.event_id, "usage_hash": row.usage_hash}
            self._connection.execute(_SQL["add_conflict"], {**hashed, "event": row.as_json()})
        self.result.refusals = {
            **{row.event_id: _CONFLICT for row in self._conflicting},
            **{row.event_id: reason for row, reason in self._refused},
        }
        self.result.rejected = len(self._refused)
        self.result.conflicting = len(self._conflicting)

    def _copy(self, leaf: sql.Identifier, rows: list[LedgerRow]) -> None:
        if not rows:
            return
        columns, parts = binary_copy.encoded(rows, self._unsettled)
        statement = sql.SQL(_SQL["copy_rows"]).format(leaf=leaf, columns=columns)
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            for part in parts:
                copy.write(part)

    def _new_rows(self, leaf: sql.Identifier, rows: list[LedgerRow]) -> list[LedgerRow]:
        """The rows that are not stored yet, and those that replace an `unmeasured` row."""
        statement = sql.SQL(_SQL["known_keys"]).format(leaf=leaf, columns=_ATTRIBUTION_LIST)
        keys = {"event_ids": [row.event_id for row in rows]}
        cursor = self._connection.cursor(row_factory=dict_row)
        known = {stored["event_id"]: stored for stored in cursor.execute(statement, keys)}
        new = [row for row in rows if row.event_id not in known]
        better = [
            replace(row, **{name: stored[name] for name in _ATTRIBUTION if stored[name]})
            for row in rows
            if (stored := known.get(row.event_id)) is not None
            and _is_better(row, stored["cost_status"])
        ]
        if not self._drop_unmeasured(leaf, better):
            better = []
        replaced = {row.event_id for row in better}
        for row in rows:
            stored = known.get(row.event_id)
            if stored is not None and row.event_id not in replaced:
                self._count_known(row, stored["usage_hash"])
        return sorted([*new, *better], key=_number)

    def _drop_unmeasured(self, leaf: sql.Identifier, better: list[LedgerRow]) -> bool:
        """Drop the `unmeasured` rows that are replaced; False if this user has no right to."""
        if not better:
            return True
        statement = sql.SQL(_SQL["drop_unmeasured"]).format(leaf=leaf)
        try:
            with self._connection.transaction():
                keys = {"event_ids": [row.event_id for row in better]}
                dropped = self._connection.execute(statement, keys).fetchall()
                refresh.mark(self._connection, (timestamp for (timestamp,) in dropped))
        except pg_errors.InsufficientPrivilege:
            return False
        return True

    def _preferred(self, earlier: LedgerRow, later: LedgerRow) -> LedgerRow:
        """The row that is stored if a batch has two with the same key."""
        if _is_better(later, earlier.cost_status):
            attribution = {name: getattr(earlier, name) for name in _ATTRIBUTION}
            return replace(later, **{name: text for name, text in attribution.items() if text})
        self._count_known(later, earlier.usage_hash)
        return earlier

    def _count_known(self, row: LedgerRow, known_hash: bytes) -> None:
        """Count a row whose key exists as a resend or a conflict."""
        if row.usage_hash == known_hash or row.cost_status == _UNMEASURED:
            self.result.resent += 1
        else:
            self._conflicting.append(row)

    def _bisect(self, month: str, rows: list[LedgerRow], error: psycopg.Error) -> None:
        """Halve a refused batch until the rows that Postgres refuses are alone."""
        if len(rows) == 1:
            self._refused.append((rows[0], row_faults.reason_of(error)))
            return
        middle = len(rows) // 2
        for half in (rows[:middle], rows[middle:]):
            self.write_month(month, half)
