"""The one way into the ledger: records of many requests, one COPY, and each request's own answer.

A request waits here until its rows are committed. What waits is bounded: beyond, requests are
refused, and their senders keep what they hold, as OTLP's clients do. While the database is away,
whatever an attempt could not write is refused at once, for the same reason.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.errors import LedgerError
from tokenledger_exporter.events import fail, warn
from tokenledger_exporter.rows import build_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tokenledger_exporter.batch_writer import BatchWriter
    from tokenledger_exporter.records import SpanRecord, SpoolHeader
    from tokenledger_exporter.rows import LedgerRow
    from tokenledger_exporter.server.cardinality import CardinalityGuard

ANSWER_SECONDS: Final = 4.0
"""How long a request waits for its COMMIT; the Collector gives up after 5 s by default."""

MOST_ROWS: Final = 5_000
"""Rows of one COPY, the last request's own apart."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 2.0


class FullError(Exception):
    """More waits than may."""


class AwayError(Exception):
    """The database took nothing; its text says why."""


@dataclass(slots=True)
class IntakeState:
    """What came in and what became of it, since the start.

    Args:
        received: spans and log records that tell of a model call.
        stored: rows that are in the ledger now.
        dropped: spans and log records that tell of none.
        set_aside: reason -> calls that are no row of the ledger.
        refused: reason -> requests.
        last_error: why the last attempt to write failed; "" if it did not.
    """

    received: int = 0
    stored: int = 0
    dropped: int = 0
    set_aside: Counter[str] = field(default_factory=Counter[str])
    refused: Counter[str] = field(default_factory=Counter[str])
    last_error: str = ""


@dataclass(slots=True, eq=False)
class _Delivery:
    """One request on its way.

    Args:
        records: its model calls.
        header: whose they are.
        loop: where its sender waits.
        outcome: done once it is known what became of it: "" if it is committed, else why not.
        rows: what is written of it.
        set_aside: why calls are not.
        dropped: calls that turned out to be none.
    """

    records: Sequence[SpanRecord]
    header: SpoolHeader
    loop: asyncio.AbstractEventLoop
    outcome: asyncio.Future[str]
    rows: list[LedgerRow] = field(default_factory=list["LedgerRow"])
    set_aside: Counter[str] = field(default_factory=Counter[str])
    dropped: int = 0


class Intake:
    """The queue and the thread that writes it.

    Invariant, under `_wake`: `_waiting` counts the records of every delivery that is queued or is
    being written.

    Args:
        writer: used by the thread alone.
        guard: the same.
        most_waiting: records that may wait.
    """

    def __init__(self, writer: BatchWriter, guard: CardinalityGuard, most_waiting: int) -> None:
        self.state: Final = IntakeState()
        self._writer: Final = writer
        self._guard: Final = guard
        self._most: Final = most_waiting
        self._wake: Final = threading.Condition()
        self._queue: Final[deque[_Delivery]] = deque()
        self._waiting = 0
        self._stopping = False
        self._losses: Counter[str] = Counter()
        self._thread: Final = threading.Thread(target=self._run, name="tokenledger-intake")

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, once, and end; call it off the event loop."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self._thread.join()

    @property
    def waiting(self) -> int:
        """Records that are not committed yet."""
        return self._waiting

    @property
    def is_full(self) -> bool:
        """Whether a request would be refused whatever it holds."""
        return self._waiting >= self._most

    async def commit(self, records: Sequence[SpanRecord], header: SpoolHeader) -> Counter[str]:
        """Wait until the records are in the ledger.

        Returns:
            Why calls were set aside -> how many.

        Raises:
            FullError: too many wait already; nothing was taken.
            AwayError: they could not be committed, or not in time; sending them again is safe.
        """
        loop = asyncio.get_running_loop()
        delivery = _Delivery(records, header, loop, loop.create_future())
        with self._wake:
            if self._waiting and self._waiting + len(records) > self._most:
                raise FullError
            self._queue.append(delivery)
            self._waiting += len(records)
            self._wake.notify()
        try:
            reason = await asyncio.wait_for(delivery.outcome, ANSWER_SECONDS)
        except (TimeoutError, asyncio.TimeoutError):
            reason = self.state.last_error or "the database does not answer"
        if reason:
            raise AwayError(reason)
        return delivery.set_aside

    def count_lost(self, reasons: Counter[str]) -> None:
        """Note in the ledger, with the next batch, calls that have no row anywhere."""
        if reasons:
            with self._wake:
                self._losses += reasons

    def _run(self) -> None:
        pause = 0.0
        while True:
            batch, last = self._take(pause)
            if batch:
                reason = self._attempt(batch)
                self._tell(batch, reason)
                pause = min(max(_FIRST_PAUSE, pause * 2), _LONGEST_PAUSE) if reason else 0.0
            elif last:
                self._writer.close()
                return

    def _take(self, pause: float) -> tuple[list[_Delivery], bool]:
        """The next deliveries, those whose senders gave up left out; none only at the end."""
        with self._wake:
            if pause:
                self._wake.wait_for(lambda: self._stopping, pause)
            self._wake.wait_for(lambda: self._queue or self._stopping)
            batch: list[_Delivery] = []
            rows = 0
            while self._queue and rows < MOST_ROWS:
                delivery = self._queue.popleft()
                if delivery.outcome.done():
                    self._waiting -= len(delivery.records)
                else:
                    batch.append(delivery)
                    rows += len(delivery.records)
            return batch, self._stopping and not self._queue

    def _attempt(self, batch: Sequence[_Delivery]) -> str:
        """Write the batch; why nothing of it was written, if so."""
        try:
            for delivery in batch:
                self._build(delivery)
            self._write(batch)
        except LedgerError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - the thread must live; the senders keep theirs
            reason = f"unexpected {type(error).__name__} while writing the ledger"
        else:
            if self.state.last_error:
                warn("ledger_back", "the ledger takes rows again")
            self.state.last_error = ""
            return ""
        if reason != self.state.last_error:
            warn("ledger_unreachable", f"{reason}; senders are asked to try again", reason=reason)
        self.state.last_error = reason
        return reason

    def _build(self, delivery: _Delivery) -> None:
        header, guard = delivery.header, self._guard
        for record in delivery.records:
            try:
                rows = build_rows(record, header, self._writer.prices_of)
            except LedgerError:
                raise
            except Exception as error:  # noqa: BLE001 - one record must not stop all beside it
                kind = type(error).__name__
                reason = f"the span cannot be read ({kind})"
                if not self.state.set_aside[reason]:
                    fail("record_unreadable", f"{kind}, counted as lost", error=kind)
                delivery.set_aside[reason] += 1
                self.count_lost(Counter([reason]))
            else:
                delivery.dropped += not rows
                delivery.rows += [guard.bounded(row, header.organization) for row in rows]

    def _write(self, batch: Iterable[_Delivery]) -> None:
        rows = [row for delivery in batch for row in delivery.rows]
        if rows:
            result = self._writer.write(rows)
            self.state.stored += result.stored
            if result.refusals:
                for delivery in batch:
                    found = (result.refusals.get(row.event_id) for row in delivery.rows)
                    delivery.set_aside.update(reason for reason in found if reason)
        with self._wake:
            losses, self._losses = self._losses, Counter()
        for reason, records in losses.items():
            self._writer.count_loss("", reason, records)

    def _tell(self, batch: Sequence[_Delivery], reason: str) -> None:
        """Let every sender know, with one call for each loop."""
        with self._wake:
            self._waiting -= sum(len(delivery.records) for delivery in batch)
        if not reason:
            for delivery in batch:
                self.state.dropped += delivery.dropped
                self.state.set_aside += delivery.set_aside
        for loop in {delivery.loop for delivery in batch}:
            own = [delivery for delivery in batch if delivery.loop is loop]
            # A loop that ended has nobody who waits any more.
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, own, reason)


def _settle(deliveries: Iterable[_Delivery], reason: str) -> None:
    """Tell the senders that have not given up; on their loop."""
    for delivery in deliveries:
        if not delivery.outcome.done():
            delivery.outcome.set_result(reason)
