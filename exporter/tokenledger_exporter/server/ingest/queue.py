"""The one way into the ledger: records of many requests, one COPY, and each request's own answer.

A request waits here until its rows are committed. What waits is bounded in records and in bytes,
and each sender has a share of both: beyond, requests are refused, and their senders keep what they
hold, as OTLP's clients do. Senders take turns, a large request in several. While the database is
away, whatever an attempt could not write is refused at once, for the same reason. Where a
transaction of several senders fails, each is tried alone: nobody's rows wait for those of others.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from tokenledger_exporter.errors import LedgerError
from tokenledger_exporter.log import warn
from tokenledger_exporter.server.ingest.row_building import build
from tokenledger_exporter.server.ingest.turns import MAX_EXTRA_ROWS, Delivery, Queues, Turn, apart
from tokenledger_exporter.server.responses import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tokenledger_exporter.domain.span_record import SpanRecord, SpoolHeader
    from tokenledger_exporter.server.ingest.bounds import RequestBounds
    from tokenledger_exporter.server.ingest.cardinality import CardinalityGuard
    from tokenledger_exporter.server.ingest.shares import Budget, Meter
    from tokenledger_exporter.server.ingest.turns import Turn
    from tokenledger_exporter.store.writer import BatchWriter

ANSWER_SECONDS: Final = 4.0
"""How long a request waits for its COMMIT; the Collector gives up after 5 s by default."""

# What a row costs to write, about: a COMMIT's own time is nobody's.
_ROW_SECONDS: Final = 0.000_05
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 2.0
_APART_SECONDS: Final = 10.0
_COUNTED_EVERY_SECONDS: Final = 1.0
_MAX_LOSSES: Final = 1_024
_OTHER: Final = "for other reasons"
_QUICK_SECONDS: Final = 1.0
_MAX_FAILURES: Final = 3


class FullError(Exception):
    """More waits than may."""


class AwayError(Exception):
    """The database took nothing; its text says why."""


@dataclass(slots=True)
class QueueStats:
    """What came in and what became of it, since the start.

    Args:
        received: spans and log records that tell of a model call.
        stored: rows that are in the ledger now.
        dropped: spans and log records that tell of none.
        dropped_example: the last span that names an operation which is no call, in words.
        set_aside: reason -> calls that are no row of the ledger.
        refused: reason -> requests.
        last_error: why the last attempt to write failed; "" if it did not.
    """

    received: int = 0
    stored: int = 0
    dropped: int = 0
    dropped_example: str = ""
    set_aside: Counter[str] = field(default_factory=Counter[str])
    refused: Counter[str] = field(default_factory=Counter[str])
    last_error: str = ""


class IngestQueue:
    """The queues and the thread that writes them.

    Invariant, under `_wake`: `places` and `memory` hold what every delivery takes that is queued or
    is being written.

    Args:
        writer: used by the thread alone.
        guard: the same.
        places: records that may wait.
        memory: bytes that requests may take, those that are being read included.
        meter: told of the work done for each sender.
    """

    def __init__(
        self,
        writer: BatchWriter,
        guard: CardinalityGuard,
        places: Budget,
        memory: Budget,
        meter: Meter,
    ) -> None:
        self.state: Final = QueueStats()
        self.memory: Final = memory
        self.meter: Final = meter
        self._places: Final = places
        self._writer: Final = writer
        self._guard: Final = guard
        self._wake: Final = threading.Condition()
        self._queues: Final = Queues(meter.is_over)
        self._apart_until = 0.0
        self._counted_at = -_COUNTED_EVERY_SECONDS
        self._stopping = False
        self._losses: Counter[tuple[str, str]] = Counter()
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
        return self._places.used

    @property
    def is_full(self) -> bool:
        """Whether a request would be refused whatever it holds and whoever sends it."""
        return self._places.used >= self._places.total

    def has_room(self, sender: str) -> bool:
        """Whether a sender may have anything more waiting."""
        return self._places.has_room(sender) and self.memory.has_room(sender)

    async def commit(
        self, records: Sequence[SpanRecord], header: SpoolHeader, size: int, bounds: RequestBounds
    ) -> Counter[str]:
        """Wait until the records are in the ledger.

        Returns:
            Why calls were set aside -> how many.

        Raises:
            FullError: too many wait already; nothing was taken.
            AwayError: they could not be committed, or not in time; sending them again is safe.
        """
        loop = asyncio.get_running_loop()
        delivery = Delivery(records, header, size, bounds, loop, loop.create_future())
        if not self._places.take(delivery.sender, len(records)):
            raise FullError
        if not self.memory.take(delivery.sender, size):
            self._places.give_back(delivery.sender, len(records))
            raise FullError
        with self._wake:
            self._queues.add(delivery)
            self._wake.notify()
        try:
            reason = await asyncio.wait_for(delivery.outcome, ANSWER_SECONDS)
        except (TimeoutError, asyncio.TimeoutError):
            reason = self.state.last_error or "the database does not answer"
        if reason:
            raise AwayError(reason)
        return delivery.set_aside

    def count_lost(self, reasons: Counter[str], organization: str) -> None:
        """Note in the ledger, with the next batch, calls that have no row anywhere."""
        if reasons:
            with self._wake:
                for reason, number in reasons.items():
                    key = organization, reason
                    is_kept = key in self._losses or len(self._losses) < _MAX_LOSSES
                    self._losses[key if is_kept else (organization, _OTHER)] += number

    def _run(self) -> None:
        pause, failures = 0.0, 0
        while True:
            turns, last = self._take(pause)
            if turns:
                failures = 0 if self._attempt(turns) else failures + 1
                # While senders are tried apart, one that fails holds up nobody.
                is_patient = failures and (failures >= _MAX_FAILURES or not self._is_apart)
                pause = min(max(_FIRST_PAUSE, pause * 2), _LONGEST_PAUSE) if is_patient else 0.0
            elif last:
                self._end()
                return

    def _end(self) -> None:
        try:
            self._count_losses()
        except LedgerError as error:
            warn("losses_uncounted", str(error), records=self._losses.total())
        self._writer.close()

    def _take(self, pause: float) -> tuple[list[Turn], bool]:
        """Some records of every sender that waits; none only at the end."""
        with self._wake:
            if pause:
                self._wake.wait_for(lambda: self._stopping, pause)
            self._wake.wait_for(lambda: self._queues or self._stopping)
            self._wake.wait_for(self._has_turn, _LONGEST_PAUSE)
            for delivery in self._queues.drop_over():
                self._release(delivery)
            turns = self._queues.next_turns(one_sender=self._is_apart)
            return turns, self._stopping and not self._queues

    def _has_turn(self) -> bool:
        return self._stopping or self._queues.has_turn()

    @property
    def _is_apart(self) -> bool:
        """Whether each sender has transactions of its own now."""
        return time.monotonic() < self._apart_until

    def _release(self, delivery: Delivery) -> None:
        self._places.give_back(delivery.sender, len(delivery.records))
        self.memory.give_back(delivery.sender, delivery.size)

    def _attempt(self, turns: Sequence[Turn]) -> bool:
        """Write them; whether anything was written."""
        began = time.monotonic()
        reason = self._store(turns)
        groups = apart(turns) if reason else []
        if len(groups) > 1:
            self._apart_until = time.monotonic() + _APART_SECONDS
        wrote = not reason
        if len(groups) > 1 and time.monotonic() - began < _QUICK_SECONDS:
            wrote = self._store_apart(groups)
        elif reason:
            for turn in turns:
                turn.delivery.reason = reason
        self._note(reason if not wrote else "")
        with self._wake:
            for sender in {turn.delivery.sender for turn in turns}:
                own = (turn.delivery for turn in turns if turn.delivery.sender == sender)
                self._queues.note(sender, failed=all(delivery.reason for delivery in own))
        self._settle(turns)
        return wrote

    def _store_apart(self, groups: Sequence[Sequence[Turn]]) -> bool:
        """Write each group alone; whether any could be. Where none can, not all are tried."""
        wrote, failures, reason = False, 0, ""
        pending = deque(groups)
        while pending:
            group = pending.popleft()
            if wrote or failures < _MAX_FAILURES:
                reason = self._store(group)
                if not reason:
                    wrote = True
                    continue
                failures += 1
                if len(group) > 1:
                    pending.extend(apart(group))
                    continue
            for turn in group:
                turn.delivery.reason = reason
        if wrote and failures:
            warn("requests_failed", "some requests cannot be written, the others were")
        return wrote

    def _note(self, reason: str) -> None:
        if reason and reason != self.state.last_error:
            warn("ledger_unreachable", f"{reason}; senders are asked to try again", reason=reason)
        elif self.state.last_error and not reason:
            warn("ledger_back", "the ledger takes rows again")
        self.state.last_error = reason

    def _store(self, turns: Sequence[Turn]) -> str:
        """Write rows in one transaction; why nothing was written, if so."""
        try:
            for turn in turns:
                if turn.rows is None:
                    self._build(turn)
            self._write(turns)
        except LedgerError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - the thread must live; the senders keep theirs
            return f"unexpected {type(error).__name__} while writing the ledger"
        return ""

    def _build(self, turn: Turn) -> None:
        began = time.thread_time()
        delivery = turn.delivery
        records, bounds = turn.records, delivery.bounds
        built = build(
            records, delivery.header, bounds, self._writer.prices_of, len(records) + MAX_EXTRA_ROWS
        )
        # The others of them have a turn of their own.
        delivery.taken -= len(records) - built.records
        guard, organization = self._guard, delivery.sender
        turn.rows = [guard.bounded(row, organization) for row in built.rows]
        for record, reason in built.unreadable:
            self._writer.quarantine_record(msgspec.msgpack.encode(record), delivery.header, reason)
        delivery.dropped += built.dropped
        self.state.dropped_example = built.dropped_example or self.state.dropped_example
        delivery.set_aside += built.set_aside
        self.count_lost(built.set_aside, organization)
        self.meter.charge(organization, time.thread_time() - began)

    def _write(self, turns: Iterable[Turn]) -> None:
        rows = [row for turn in turns for row in turn.rows or ()]
        if rows:
            result = self._writer.write(rows)
            self.state.stored += result.stored
            for turn in turns:
                own = turn.rows or ()
                self.meter.charge(turn.delivery.sender, _ROW_SECONDS * len(own))
                if result.refusals:
                    found = (result.refusals.get(row.event_id) for row in own)
                    turn.delivery.set_aside.update(reason for reason in found if reason)
        if self._losses and time.monotonic() - self._counted_at >= _COUNTED_EVERY_SECONDS:
            self._count_losses()

    def _count_losses(self) -> None:
        """Note what is lost; what could not be noted now is noted later."""
        self._counted_at = time.monotonic()
        for (organization, reason), records in list(self._losses.items()):
            self._writer.count_loss("", reason, records, organization)
            with self._wake:
                self._losses[organization, reason] -= records
                if not self._losses[organization, reason]:
                    del self._losses[organization, reason]

    def _settle(self, turns: Sequence[Turn]) -> None:
        """Let every sender know whose request is done, with one call for each loop."""
        over = [
            delivery for delivery in {turn.delivery: None for turn in turns} if delivery.is_over
        ]
        with self._wake:
            for delivery in over:
                self._queues.remove(delivery)
                self._release(delivery)
        for delivery in over:
            if not delivery.reason:
                self.state.dropped += delivery.dropped
                counted(self.state.set_aside, delivery.set_aside)
        for loop in {delivery.loop for delivery in over}:
            own = [delivery for delivery in over if delivery.loop is loop]
            # A loop that ended has nobody who waits any more.
            if not loop.is_closed():
                loop.call_soon_threadsafe(_tell, own)


def _tell(deliveries: Iterable[Delivery]) -> None:
    """Tell the senders that have not given up; on their loop."""
    for delivery in deliveries:
        if not delivery.outcome.done():
            delivery.outcome.set_result(delivery.reason)
