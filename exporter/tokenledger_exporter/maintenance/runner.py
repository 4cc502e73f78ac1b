"""Maintenance of one ledger: partitions, deduplication, roll-ups, budgets and retention.

`tokenledger keep` runs one round or many, and `tokenledger serve` runs them in a thread. It is safe
to run several at once: each step is done by the process that gets its lock first. A round can end
with a step of another room, such as alerts.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.db.connection import ReusableSession
from tokenledger_exporter.errors import DatabaseUnreachableError, LedgerError
from tokenledger_exporter.log import warn
from tokenledger_exporter.maintenance.deduplicate import (
    DeduplicationResult,
    deduplicate_marked,
    may_deduplicate,
)
from tokenledger_exporter.maintenance.retention import may_run, run_retention
from tokenledger_exporter.rollups.refresh import RefreshResult, may_refresh, refresh
from tokenledger_exporter.store.budget_recount import Recount, may_recount, recount_due
from tokenledger_exporter.store.partitions import make_months_ahead

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import TypeAlias

    import psycopg
    from typing_extensions import Self

    from tokenledger_exporter.maintenance.retention import Month

    Step: TypeAlias = Callable[[], tuple[list[str], list[str]]]

ROUND_SECONDS: Final = 2.0
"""Pause between two rounds of a `MaintenanceThread`."""

_HOURLY_SECONDS: Final = 3600.0
_STOP_SECONDS: Final = 10.0

_MAY_NOT_REFRESH: Final = (
    "roll-ups were not refreshed: this database user lacks the privilege; run 'tokenledger db "
    "roles' "
    "as the tables' owner"
)
_MAY_NOT_DROP: Final = (
    "months are older than the retention period, and this database user lacks the privilege to "
    "drop "
    "them: run 'tokenledger retention run' as the tables' owner"
)


@dataclass(slots=True)
class Round:
    """What one round did.

    Args:
        deduplicated: rows that were compared with other reports of their calls.
        rolled_up: sums that were recomputed.
        recounted: budgets that were compared with their calls.
        months: months that retention dropped.
        sentences: what the last step says it did.
        troubles: what could not be done and is tried again in a later round, a sentence each.
    """

    deduplicated: DeduplicationResult = field(default_factory=DeduplicationResult)
    rolled_up: RefreshResult = field(default_factory=RefreshResult)
    recounted: Recount = field(default_factory=Recount)
    months: list[Month] = field(default_factory=list["Month"])
    sentences: list[str] = field(default_factory=list[str])
    troubles: list[str] = field(default_factory=list[str])


class MaintenanceRunner:
    """Runs rounds over one ledger; partitions and retention in the first round and then hourly.

    Use it as a context manager: its connection stays open from round to round.

    Args:
        database_url: the ledger, as a user who may maintain it; dropping months takes the owner.
        is_optional: skip deduplication and roll-ups without an error or a message where this user
            lacks the privilege, and leave retention to another runner.
        last_step: called at the end of each round; returns what it did and its troubles, a sentence
            each. It must not wait for anything.
    """

    def __init__(
        self, database_url: str, *, is_optional: bool = False, last_step: Step | None = None
    ) -> None:
        self._last_step: Final = last_step
        self._database_url: Final = database_url
        self._is_optional: Final = is_optional
        self._session: Final = ReusableSession(database_url)
        self._partitions_at = float("-inf")
        self._retention_at = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._session.close()

    def round(self, *, build_past: bool = True) -> Round:
        """Do everything that is due.

        Args:
            build_past: also roll up calls that are older than the first roll-up.

        Raises:
            LedgerError: the database refused a step; steps committed before it stay.
        """
        done = Round()
        with self._session.session() as connection:
            self._make_partitions(connection, done)
            if not self._is_optional or may_deduplicate(connection):
                # Each portion is a transaction of its own, so that writers wait for one at most.
                done.deduplicated = deduplicate_marked(connection)
            may_refresh_rollups = may_refresh(connection)
            may_recount_budgets = may_recount(connection)
            connection.commit()
            if may_refresh_rollups:
                done.rolled_up = refresh(connection, build=build_past)
            elif not self._is_optional:
                done.troubles.append(_MAY_NOT_REFRESH)
            if may_recount_budgets:
                # After the duplicates are removed, which count in no budget.
                done.recounted = recount_due(connection)
        for subject, skipped in (
            ("calls of minute", done.deduplicated.skipped),
            ("sums of", done.rolled_up.skipped),
        ):
            done.troubles += [
                f"{subject} {start:%Y-%m-%d %H:%M:%S} UTC were skipped and will be retried: "
                f"{reason}"
                for start, reason in skipped.items()
            ]
        if not self._is_optional:
            self._apply_retention(done)
        if self._last_step is not None:
            sentences, troubles = self._last_step()
            done.sentences += sentences
            done.troubles += troubles
        return done

    def _make_partitions(self, connection: psycopg.Connection[object], done: Round) -> None:
        if time.monotonic() - self._partitions_at < _HOURLY_SECONDS:
            return
        self._partitions_at = time.monotonic()
        if why := make_months_ahead(connection):
            done.troubles.append(why)
            self._partitions_at = float("-inf")

    def _apply_retention(self, done: Round) -> None:
        """Drop the months that are older than the retention period, if one is set."""
        if time.monotonic() - self._retention_at < _HOURLY_SECONDS:
            return
        self._retention_at = time.monotonic()
        try:
            if not run_retention(self._database_url, simulate=True):
                return
            if not may_run(self._database_url):
                done.troubles.append(_MAY_NOT_DROP)
                return
            months = run_retention(self._database_url)
        except DatabaseUnreachableError:
            raise
        except LedgerError as error:
            # An archive folder that is full must not stop the deduplication.
            done.troubles.append(f"no month was dropped: {error}")
            return
        done.months = [month for month in months if not month.waits]
        done.troubles += [
            f"{month.name} was not dropped: {month.waits}" for month in months if month.waits
        ]


class MaintenanceThread:
    """Rounds in a background thread of a service, with a pause of `ROUND_SECONDS` between them.

    A database user without the rights leaves the work to `tokenledger keep`, silently. What cannot
    be done is logged once, until it changes.

    Args:
        database_url: the ledger.
        last_step: as of `MaintenanceRunner`.
    """

    def __init__(self, database_url: str, *, last_step: Step | None = None) -> None:
        self._runner: Final = MaintenanceRunner(database_url, is_optional=True, last_step=last_step)
        self._stopped: Final = threading.Event()
        self._thread: Final = threading.Thread(
            target=self._run, name="tokenledger-maintenance", daemon=True
        )
        self._logged: frozenset[str] = frozenset()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End after one last round, which deduplicates what was written last."""
        self._stopped.set()
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        with self._runner:
            self._try_round()
            while not self._stopped.wait(ROUND_SECONDS):
                self._try_round()
            self._try_round()

    def _try_round(self) -> None:
        try:
            # A process that is stopping must not begin to roll up a ledger's past.
            troubles = self._runner.round(build_past=not self._stopped.is_set()).troubles
        except LedgerError as error:
            troubles = [str(error)]
        except Exception as error:  # noqa: BLE001 - the thread must survive; a later round tries again
            troubles = [f"unexpected {type(error).__name__} during maintenance"]
        for sentence in troubles:
            if sentence not in self._logged:
                warn("maintenance", sentence)
        self._logged = frozenset(troubles)
