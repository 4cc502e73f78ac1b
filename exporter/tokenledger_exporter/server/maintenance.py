"""The keeper beside the service: settles what the workers could not, rolls up, makes months ahead.

One thread of the process that was started, however many workers there are. A database user who may
not do it leaves it to `tokenledger keep`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.db.connection import KeptSession
from tokenledger_exporter.errors import LedgerError
from tokenledger_exporter.log import warn
from tokenledger_exporter.maintenance.deduplicate import may_deduplicate, settle_marked
from tokenledger_exporter.rollups.refresh import may_refresh, refresh
from tokenledger_exporter.store.partitions import make_months_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

KEEP_SECONDS: Final = 2.0
"""Pause between two rounds."""

_MONTHS_EVERY: Final = 1_800
_STOP_SECONDS: Final = 10.0


class Keeping:
    """The thread.

    Args:
        database_url: the ledger.
    """

    def __init__(self, database_url: str) -> None:
        self._kept: Final = KeptSession(database_url)
        self._stopped: Final = threading.Event()
        self._thread: Final = threading.Thread(
            target=self._run, name="tokenledger-keep", daemon=True
        )
        self._last_error = ""
        self._skipped: Final[dict[str, Mapping[datetime, str]]] = {}
        self._rounds = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round that is on."""
        self._stopped.set()
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopped.wait(KEEP_SECONDS if self._rounds else 0):
            self._try(self._round)
            self._rounds += 1
        # What the workers wrote last is settled as well.
        self._try(self._round)
        self._kept.close()

    def _round(self) -> None:
        with self._kept.session() as connection:
            if self._rounds % _MONTHS_EVERY == 0 and (why := make_months_ahead(connection)):
                warn("months", why)
            connection.commit()
            settles = may_deduplicate(connection)
            # Each portion is a transaction of its own, and holds the writers' lock no longer.
            connection.commit()
            if settles:
                self._say_skipped("settled", settle_marked(connection).skipped)
            may = may_refresh(connection)
            connection.commit()
            if may:
                # Who waits for the end does not wait for a ledger's past.
                done = refresh(connection, build=not self._stopped.is_set())
                self._say_skipped("rolled up", done.skipped)

    def _say_skipped(self, verb: str, skipped: Mapping[datetime, str]) -> None:
        """Log what cannot be done, once until it changes; everything else is done."""
        if skipped != self._skipped.get(verb, {}):
            for start, reason in skipped.items():
                warn("keeper_skipped", f"{start:%Y-%m-%d %H:%M:%S} UTC cannot be {verb}: {reason}")
        self._skipped[verb] = skipped

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except LedgerError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - the thread must live; the marks stay
            reason = f"unexpected {type(error).__name__} while settling"
        else:
            self._last_error = ""
            return
        if reason != self._last_error:
            warn("keeper", reason)
        self._last_error = reason
