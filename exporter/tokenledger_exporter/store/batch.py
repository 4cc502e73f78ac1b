"""One batch of rows on its way into the ledger: each row stored exactly once, or set aside.

The fast path is one binary COPY into the month's partition under a savepoint. If a key is there
already, the batch's keys and hashes are read back and only the missing rows are copied: a resend
is ignored, other content under the same key goes to `token_ledger_conflicts`, and a row Postgres
refuses is bisected out into `token_ledger_rejected` while the rest of the batch is stored. A call
known only to have been sent gives way to its measured report, which may come hours later.

A batch is written under the lock of `twins` where it is free: then a row of which nobody else tells
is settled as it is stored. Rows of which somebody may, and batches that met another writer, are
stored unsettled and marked, and a keeper looks at them. The slices a batch changes are marked with
it, for the roll-ups.
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
"""No call of a language model was billed before."""

_MAX_AHEAD: Final = timedelta(days=1)
_RACES: Final = 5

# An identity's order and equality as a plain number: a UUID's own are Python's, and slow.
_number: Final = attrgetter("event_id.int")

_UNMEASURED: Final = "unmeasured"
_CONFLICT: Final = "the ledger has this span with other usage"
# Whoever made the call knows best whom it was for; whoever fetched its result may not know at all.
_ATTRIBUTION: Final = tuple(d.column for d in DIMENSIONS if d.keys)
_ATTRIBUTION_LIST: Final = sql.SQL(", ").join(sql.Identifier(column) for column in _ATTRIBUTION)


def _is_better(row: LedgerRow, known_status: str) -> bool:
    """Whether a row tells what the known one only knows to have been sent."""
    return known_status == _UNMEASURED and row.cost_status != _UNMEASURED


@dataclass(slots=True)
class WriteResult:
    """What became of a batch, in rows.

    Args:
        stored: new rows in the ledger.
        resent: rows that were there already, with the same content.
        conflicting: rows whose key was there with other content.
        rejected: rows the ledger cannot take.
        unsettled: new rows that a keeper must look at.
        refusals: identity of a row that conflicts or was rejected -> why; it is kept elsewhere.
    """

    stored: int = 0
    resent: int = 0
    conflicting: int = 0
    rejected: int = 0
    unsettled: int = 0
    refusals: dict[UUID, str] = field(default_factory=dict["UUID", str], compare=False)

    def add(self, other: WriteResult) -> None:
        """Count what became of more rows."""
        self.stored += other.stored
        self.resent += other.resent
        self.conflicting += other.conflicting
        self.rejected += other.rejected
        self.unsettled += other.unsettled
        self.refusals |= other.refusals


class Batch:
    """One batch on its way into the ledger, inside one transaction."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        horizon: datetime = EARLIEST,
        *,
        is_patient: bool = False,
    ) -> None:
        self.result: Final = WriteResult()
        self._is_patient: Final = is_patient
        self._horizon: Final = horizon
        self._connection: Final = connection
        self._refused: list[tuple[LedgerRow, str]] = []
        self._conflicting: list[LedgerRow] = []
        self._unsettled: set[int] = set()

    def by_month(self, rows: Sequence[LedgerRow]) -> dict[str, list[LedgerRow]]:
        """Rows by partition, each key once, sorted: writers in one key order never deadlock."""
        latest = datetime.now(timezone.utc) + _MAX_AHEAD
        unique: dict[int, LedgerRow] = {}
        for row in rows:
            number = row.event_id.int
            if EARLIEST <= row.timestamp < self._horizon:
                reason = f"it is from before {self._horizon:%Y-%m-%d}, when the ledger begins"
                self._refused.append((row, reason))
            elif not EARLIEST <= row.timestamp <= latest:
                self._refused.append((row, "its time is before 2015 or over a day ahead"))
            elif number in unique:
                unique[number] = self._settled(unique[number], row)
            else:
                unique[number] = row
        months: defaultdict[str, list[LedgerRow]] = defaultdict(list)
        for row in sorted(unique.values(), key=_number):
            months[row.month].append(row)
        return months

    def look(self, rows: Sequence[LedgerRow]) -> None:
        """Find out which rows nobody else tells of; the others are marked for a keeper."""
        if not rows:
            return
        duplicates.note_nestings(self._connection, rows)
        if duplicates.try_lock(self._connection) or (
            self._is_patient and duplicates.wait_for_lock(self._connection)
        ):
            self._unsettled = duplicates.have_relatives(self._connection, rows)
        else:
            self._unsettled = {row.event_id.int for row in rows}
        if self._unsettled:
            moments = (row.timestamp for row in rows if row.event_id.int in self._unsettled)
            duplicates.mark(self._connection, moments)

    def write_month(self, month: str, rows: list[LedgerRow]) -> None:
        """Store one partition's rows; what is there already or cannot be taken is set aside."""
        leaf = sql.Identifier(f"token_ledger_events_{month}")
        for _ in range(_RACES):
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
                if not row_faults.is_a_rows_fault(error):
                    raise
                self._bisect(month, rows, error)
                return
            else:
                self.result.stored += len(rows)
                self.result.unsettled += sum(
                    row.event_id.int in self._unsettled for row in rows if self._unsettled
                )
                return
        raise DatabaseUnreachableError("other writers keep writing the same rows, tried again soon")

    def _add_partition(self, rows: list[LedgerRow]) -> bool:
        """Make the rows' month; False if a past month cannot be made and its rows are set aside.

        A writer that may only insert must not be stopped by one row of a month long gone.
        """
        month = rows[0].timestamp.date().replace(day=1)
        try:
            with self._connection.transaction():
                self._connection.execute(_SQL["add_partition"], {"month": month})
        except pg_errors.InsufficientPrivilege:
            if month >= datetime.now(timezone.utc).date().replace(day=1):
                raise SchemaError(
                    f"there is no partition for {month:%Y-%m} and this database user may not make "
                    "one: run 'tokenledger db migrate' as the tables' owner"
                ) from None
            self._refused += [(row, f"there is no partition for {month:%Y-%m}") for row in rows]
            return False
        return True

    def write_quarantine(self, erased: tombstones.Tombstones) -> None:
        """Store what was set aside where it can be found, without the ids of the erased."""
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
        """The rows whose key the ledger does not hold yet, room made for those that are better."""
        statement = sql.SQL(_SQL["known_keys"]).format(leaf=leaf, columns=_ATTRIBUTION_LIST)
        keys = {"event_ids": [row.event_id for row in rows]}
        cursor = self._connection.cursor(row_factory=dict_row)
        known = {told["event_id"]: told for told in cursor.execute(statement, keys)}
        new = [row for row in rows if row.event_id not in known]
        better = [
            replace(row, **{name: told[name] for name in _ATTRIBUTION if told[name]})
            for row in rows
            if (told := known.get(row.event_id)) is not None
            and _is_better(row, told["cost_status"])
        ]
        if not self._make_room(leaf, better):
            better = []
        replaced = {row.event_id for row in better}
        for row in rows:
            told = known.get(row.event_id)
            if told is not None and row.event_id not in replaced:
                self._set_aside(row, told["usage_hash"])
        return sorted([*new, *better], key=_number)

    def _make_room(self, leaf: sql.Identifier, better: list[LedgerRow]) -> bool:
        """Drop the rows that give way; False where this database user may not."""
        if not better:
            return True
        statement = sql.SQL(_SQL["drop_unmeasured"]).format(leaf=leaf)
        try:
            with self._connection.transaction():
                keys = {"event_ids": [row.event_id for row in better]}
                gone = self._connection.execute(statement, keys).fetchall()
                refresh.mark(self._connection, (moment for (moment,) in gone))
        except pg_errors.InsufficientPrivilege:
            return False
        return True

    def _settled(self, earlier: LedgerRow, later: LedgerRow) -> LedgerRow:
        """Which of two rows of one key in one batch is stored."""
        if _is_better(later, earlier.cost_status):
            given = {name: getattr(earlier, name) for name in _ATTRIBUTION}
            return replace(later, **{name: value for name, value in given.items() if value})
        self._set_aside(later, earlier.usage_hash)
        return earlier

    def _set_aside(self, row: LedgerRow, known_hash: bytes) -> None:
        if row.usage_hash == known_hash or row.cost_status == _UNMEASURED:
            self.result.resent += 1
        else:
            self._conflicting.append(row)

    def _bisect(self, month: str, rows: list[LedgerRow], error: psycopg.Error) -> None:
        """Halve a refused batch until the rows Postgres cannot take stand alone."""
        if len(rows) == 1:
            self._refused.append((rows[0], row_faults.reason_of(error)))
            return
        middle = len(rows) // 2
        for half in (rows[:middle], rows[middle:]):
            self.write_month(month, half)
