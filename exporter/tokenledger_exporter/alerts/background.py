"""Checks alerts and sends messages in a thread, so that a target that hangs delays nothing else."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import psycopg

from tokenledger_exporter.alerts.check import Checked, check_alerts, may_check
from tokenledger_exporter.alerts.sender import Sent, send_waiting
from tokenledger_exporter.db.connection import connect, explain
from tokenledger_exporter.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterable

PAUSE_SECONDS: Final = 30.0
"""The shortest time between two rounds."""


@dataclass(slots=True)
class AlertRound:
    """What one round did: what it found, what it sent, and what went wrong, a sentence each."""

    checked: Checked = field(default_factory=Checked)
    sent: Sent = field(default_factory=Sent)
    troubles: list[str] = field(default_factory=list[str])

    @property
    def sentences(self) -> list[str]:
        """What is worth a line."""
        parts = _counts(
            (self.checked.fired, "fired"),
            (self.checked.over, "over"),
            (self.sent.delivered, "delivered"),
            (self.sent.repeats, "possible repeats"),
            (self.sent.failed, "not delivered"),
            (self.sent.undeliverable, "undeliverable"),
        )
        return [f"alerts: {', '.join(parts)}"] if parts else []


def run_alerts(database_url: str) -> AlertRound:
    """Check what is due and send what waits, once. Does nothing for a user who may not.

    Raises:
        LedgerError: the database reported an error.
    """
    done = AlertRound()
    with connect(database_url) as connection:
        connection.autocommit = True
        try:
            _run(connection, done)
        except psycopg.Error as error:
            raise explain(error) from None
    done.troubles += [*done.checked.troubles, *done.sent.troubles]
    return done


def _run(connection: psycopg.Connection[Any], done: AlertRound) -> None:
    if may_check(connection):
        done.checked = check_alerts(connection)
        done.sent = send_waiting(connection)


class AlertThread:
    """Rounds in a background thread, at most one per `PAUSE_SECONDS`.

    An instance is a step of `MaintenanceRunner`: a call starts a round if one is due, never waits,
    and returns what was done since the last call.

    Args:
        database_url: the ledger.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url: Final = database_url
        self._thread: threading.Thread | None = None
        self._started_at = float("-inf")
        self._done: list[AlertRound] = []
        # Guards what the thread hands over.
        self._lock: Final = threading.Lock()

    def __call__(self) -> tuple[list[str], list[str]]:
        """Start a round if one is due; returns sentences and troubles of those that ended."""
        is_running = self._thread is not None and self._thread.is_alive()
        if not is_running and time.monotonic() - self._started_at >= PAUSE_SECONDS:
            self._started_at = time.monotonic()
            self._thread = threading.Thread(
                target=self._round, name="tokenledger-alerts", daemon=True
            )
            self._thread.start()
        return self.ended()

    def ended(self, wait_seconds: float = 0.0) -> tuple[list[str], list[str]]:
        """What rounds that ended did: sentences and troubles.

        Args:
            wait_seconds: how long to wait for a round that runs.
        """
        if self._thread is not None:
            self._thread.join(wait_seconds)
        with self._lock:
            done, self._done = self._done, []
        return (
            [sentence for each in done for sentence in each.sentences],
            [trouble for each in done for trouble in each.troubles],
        )

    def _round(self) -> None:
        try:
            done = run_alerts(self._database_url)
        except LedgerError as error:
            done = AlertRound(troubles=[f"alerts were not checked: {error}"])
        except Exception as error:  # noqa: BLE001 - the next round tries again
            done = AlertRound(troubles=[f"unexpected {type(error).__name__} in alerts"])
        with self._lock:
            self._done.append(done)


def _counts(*numbers: tuple[int, str]) -> Iterable[str]:
    return [f"{number:,} {what}" for number, what in numbers if number]
