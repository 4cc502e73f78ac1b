"""One round of a keeper's work: months ahead, settling, roll-ups, and months that are old enough.

`tokenledger keep` runs it once or for ever, and so may any service beside the ledger: two at once
do no harm, each part is done by whoever comes first.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.db.connection import KeptSession
from tokenledger_exporter.errors import DatabaseUnreachableError, LedgerError
from tokenledger_exporter.maintenance.deduplicate import Kept, settle_marked
from tokenledger_exporter.maintenance.retention import may_run, run_retention
from tokenledger_exporter.rollups.refresh import Refreshed, may_refresh, refresh
from tokenledger_exporter.store.partitions import make_months_ahead

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from tokenledger_exporter.maintenance.retention import Month

_RETENTION_SECONDS: Final = 3600.0

_MAY_NOT: Final = (
    "nothing was rolled up, this database user may not: run 'tokenledger db roles' as the tables' "
    "owner"
)

_NOT_OWNER: Final = (
    "months are old enough to go, and this database user may not let them: run 'tokenledger "
    "retention run' as the tables' owner"
)


@dataclass(slots=True)
class Round:
    """What a round did.

    Args:
        kept: rows that were settled.
        rolled_up: what was recomputed.
        months: months that retention let go.
        troubles: what could not be done and will be tried again, a sentence each.
    """

    kept: Kept = field(default_factory=Kept)
    rolled_up: Refreshed = field(default_factory=Refreshed)
    months: list[Month] = field(default_factory=list["Month"])
    troubles: list[str] = field(default_factory=list[str])


class Keeper:
    """Rounds over one ledger; retention is looked at in the first and then once an hour.

    Used as a context manager: its connection is kept from round to round and closed at the end.

    Args:
        database_url: the ledger, as a user who may settle; letting months go takes the owner.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url: Final = database_url
        self._kept: Final = KeptSession(database_url)
        self._let_go_at = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kept.close()

    def round(self) -> Round:
        """Do what is to be done.

        Raises:
            LedgerError: whatever the database says; what was committed stays.
        """
        done = Round()
        with self._kept.session() as connection:
            if why := make_months_ahead(connection):
                done.troubles.append(why)
            done.kept = settle_marked(connection)
            may = may_refresh(connection)
            connection.commit()
            if may:
                done.rolled_up = refresh(connection)
            else:
                done.troubles.append(_MAY_NOT)
        for what, skipped in (
            ("the calls of the minute of", done.kept.skipped),
            ("the sums from", done.rolled_up.skipped),
        ):
            done.troubles += [
                f"{what} {start:%Y-%m-%d %H:%M:%S} UTC were skipped and are tried again: {reason}"
                for start, reason in skipped.items()
            ]
        if time.monotonic() - self._let_go_at >= _RETENTION_SECONDS:
            self._let_go_at = time.monotonic()
            self._let_go(done)
        return done

    def _let_go(self, done: Round) -> None:
        """Let old months go, where it is set for how long calls are kept."""
        try:
            if not run_retention(self._database_url, simulate=True):
                return
            if not may_run(self._database_url):
                done.troubles.append(_NOT_OWNER)
                return
            done.months = run_retention(self._database_url)
        except DatabaseUnreachableError:
            raise
        except LedgerError as error:
            # An archive that is full must not keep rows from settling.
            done.troubles.append(f"no month was let go: {error}")
        waiting = [month for month in done.months if month.waits]
        done.months = [month for month in done.months if not month.waits]
        done.troubles += [f"{month.name} stays: {month.waits}" for month in waiting]
