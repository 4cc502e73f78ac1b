"""A batch writer that also maintains the ledger between batches, if its user has the privileges."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.maintenance.deduplicate import deduplicate_marked, may_deduplicate
from tokenledger_exporter.rollups.refresh import may_refresh, refresh
from tokenledger_exporter.store.writer import BatchWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.store.batch import WriteResult
    from tokenledger_exporter.store.budget_charges import Reservations

_ROLLUP_SECONDS: Final = 2.0


class MaintainingWriter(BatchWriter):
    """Writes batches, deduplicates what it stored unchecked, and refreshes the roll-ups.

    An app that runs without the maintenance command keeps its own ledger right this way.
    """

    def __init__(
        self,
        database_url: str,
        *,
        waits_for_lock: bool = False,
        reservations: Reservations | None = None,
    ) -> None:
        super().__init__(database_url, waits_for_lock=waits_for_lock, reservations=reservations)
        self._needs_deduplication = False
        self._needs_refresh = False
        self._refreshed_at = 0.0

    def write(self, rows: Sequence[LedgerRow]) -> WriteResult:
        """Commit the rows, and remember what maintenance they need; raises as `BatchWriter`."""
        result = super().write(rows)
        self._needs_deduplication |= bool(result.unsettled)
        self._needs_refresh = True
        return result

    def deduplicate(self) -> None:
        """Deduplicate the rows that were stored unchecked, if this user may; raises as `write`."""
        if not self._needs_deduplication:
            return
        with self.usable_connection() as connection:
            if may_deduplicate(connection):
                deduplicate_marked(connection)
        self._needs_deduplication = False

    def refresh_rollups(self) -> None:
        """Refresh the roll-ups every few seconds, if this user may; raises as `write`.

        It does nothing while another process refreshes them, and leaves the past of a ledger that
        never had roll-ups to the maintenance command.
        """
        now = time.monotonic()
        if not self._needs_refresh or now - self._refreshed_at < _ROLLUP_SECONDS:
            return
        with self.usable_connection() as connection:
            may = may_refresh(connection)
            connection.rollback()
            if may:
                refresh(connection, build=False)
        self._needs_refresh, self._refreshed_at = False, time.monotonic()
