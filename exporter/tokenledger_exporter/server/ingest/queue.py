"""Writes the records of many requests in one COPY, and reports the result to each request.

A request waits here until its rows are committed. The waiting records and bytes are limited, and
each sender has a share of both. Requests beyond the share are rejected, and OTLP clients retry
them. Senders take turns, and a large request needs several. While the database is unavailable,
requests that an attempt could not write are refused at once, with the same reason. If a transaction
with rows of several senders fails, it is retried for each sender alone, so that one sender's bad
rows do not block the others.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from tokenledger_exporter.errors import LedgerError
from tokenledger_exporter.log import warn
from tokenledger_exporter.server.ingest.row_building import build
from tokenledger_exporter.server.ingest.sender_queues import (
    MAX_EXTRA_ROWS,
    PendingRequest,
    Portion,
    SenderQueues,
    split_by_sender,
)
from tokenledger_exporter.server.responses import add_counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tokenledger_exporter.domain.span_record import SpanRecord, SpoolHeader
    from tokenledger_exporter.server.ingest.bounds import RequestBounds
    from tokenledger_exporter.server.ingest.cardinality import CardinalityGuard
    from tokenledger_exporter.server.ingest.fair_share import Budget, WorkMeter
    from tokenledger_exporter.server.ingest.sender_queues import Portion
    from tokenledger_exporter.store.writer import BatchWriter

ANSWER_SECONDS: Final = 4.0
"""How long a request waits for its COMMIT; the Collector gives up after 5 s by default."""

# Approximate time to write a row; the time of the COMMIT itself is charged to no sender.
_ROW_SECONDS: Final = 0.000_05
_FIRST_PAUSE, _MAX_PAUSE = 0.25, 2.0
_SEPARATE_SECONDS: Final = 10.0
_LOSS_PERIOD_SECONDS: Final = 1.0
_MAX_LOSSES: Final = 1_024
_OTHER: Final = "for other reasons"
_QUICK_SECONDS: Final = 1.0
_MAX_FAILURES: Final = 3


class QueueFullError(Exception):
    """The queue or the sender's share of it is full."""


class UnavailableError(Exception):
    """The rows were not committed; the text says why."""


@dataclass(slots=True)
class QueueStats:
    """Counters since the start.

    Args:
        received: spans and log records that describe a model call.
        stored: rows written to the ledger.
        dropped: spans and log records that describe no model call.
        dropped_example: description of the last span that was dropped for its operation.
        quarantined: number of calls without a row in the ledger, by reason.
        refused: number of refused requests, by HTTP status.
        outcome_at: when the last attempt to write ended, by the monotonic clock.
        last_error: why the last attempt to write failed; "" if it succeeded.
    """

    received: int = 0
    stored: int = 0
    dropped: int = 0
    dropped_example: str = ""
    quarantined: Counter[str] = field(default_factory=Counter[str])
    refused: Counter[str] = field(default_factory=Counter[str])
    outcome_at: float = -math.inf
    last_error: str = ""


class IngestQueue:
    """The waiting requests and the thread that writes them.

    Invariant under `_wake`: `slots` and `memory` include every request that is queued or being
    written.

    Args:
        writer: used only by the thread.
        guard: used only by the thread.
        slots: budget of waiting records.
        memory: budget of bytes, including requests that are still being read.
        meter: measures the work for each sender.
    """

    def __init__(
        self,
        writer: BatchWriter,
        guard: CardinalityGuard,
        slots: Budget,
        memory: Budget,
        meter: WorkMeter,
    ) -> None:
        self.stats: Final = QueueStats()
        self.memory: Final = memory
        self.meter: Final = meter
        self._slots: Final = slots
        self._writer: Final = writer
        self._guard: Final = guard
        self._wake: Final = threading.Condition()
        self._queues: Final = SenderQueues(meter.is_over)
        self._isolate_senders_until = 0.0
        self._losses_counted_at = -_LOSS_PERIOD_SECONDS
        self._stopping = False
        self._losses: Counter[tuple[str, str]] = Counter()
        self._thread: Final = threading.Thread(target=self._run, name="tokenledger-ingest")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Try once to write the waiting requests, and stop. Do not call it on the event loop."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self._thread.join()

    @property
    def waiting(self) -> int:
        """Number of records that are not committed yet."""
        return self._slots.used

    @property
    def is_full(self) -> bool:
        """Whether every request is refused at the moment."""
        return self._slots.used >= self._slots.total

    def has_room(self, sender: str) -> bool:
        """Whether the sender may add a request."""
        return self._slots.has_room(sender) and self.memory.has_room(sender)

    async def commit(
        self, records: Sequence[SpanRecord], header: SpoolHeader, size: int, bounds: RequestBounds
    ) -> Counter[str]:
        """Wait until the records are committed.

        Returns:
            The number of quarantined calls by reason.

        Raises:
            QueueFullError: too many records wait already; nothing was queued.
            UnavailableError: the records were not committed in time; sending them again is safe.
        """
        loop = asyncio.get_running_loop()
        request = PendingRequest(records, header, size, bounds, loop, loop.create_future())
        if not self._slots.acquire(request.sender, len(records)):
            raise QueueFullError
        if not self.memory.acquire(request.sender, size):
            self._slots.release(request.sender, len(records))
            raise QueueFullError
        with self._wake:
            self._queues.add(request)
            self._wake.notify()
        try:
            reason = await asyncio.wait_for(request.outcome, ANSWER_SECONDS)
        except (TimeoutError, asyncio.TimeoutError):
            reason = self.stats.last_error or "the database did not answer in time"
        if reason:
            raise UnavailableError(reason)
        return request.quarantined

    def count_lost(self, reasons: Counter[str], organization: str) -> None:
        """Count calls without any row; the ledger gets the counts with the next batch."""
        if reasons:
            with self._wake:
                for reason, number in reasons.items():
                    key = organization, reason
                    is_separate = key in self._losses or len(self._losses) < _MAX_LOSSES
                    self._losses[key if is_separate else (organization, _OTHER)] += number

    def _run(self) -> None:
        pause, failures = 0.0, 0
        while True:
            portions, is_last = self._next_portions(pause)
            if portions:
                failures = 0 if self._attempt(portions) else failures + 1
                # While each sender has its own transactions, one that fails delays no other.
                must_wait = failures and (failures >= _MAX_FAILURES or not self._isolates_senders)
                pause = min(max(_FIRST_PAUSE, pause * 2), _MAX_PAUSE) if must_wait else 0.0
            elif is_last:
                self._close()
                return

    def _close(self) -> None:
        try:
            self._count_losses()
        except LedgerError as error:
            warn("losses_uncounted", str(error), records=self._losses.total())
        self._writer.close()

    def _next_portions(self, pause: float) -> tuple[list[Portion], bool]:
        """Wait for records to write, and whether the queue has ended; empty only at the end."""
        with self._wake:
            if pause:
                self._wake.wait_for(lambda: self._stopping, pause)
            self._wake.wait_for(lambda: self._queues or self._stopping)
            self._wake.wait_for(self._has_ready_sender, _MAX_PAUSE)
            for request in self._queues.drop_finished():
                self._release(request)
            portions = self._queues.next_portions(one_sender=self._isolates_senders)
            return portions, self._stopping and not self._queues

    def _has_ready_sender(self) -> bool:
        return self._stopping or self._queues.has_ready_sender()

    @property
    def _isolates_senders(self) -> bool:
        """Whether each sender has separate transactions at the moment."""
        return time.monotonic() < self._isolate_senders_until

    def _release(self, request: PendingRequest) -> None:
        self._slots.release(request.sender, len(request.records))
        self.memory.release(request.sender, request.size)

    def _attempt(self, portions: Sequence[Portion]) -> bool:
        """Write the portions; returns whether any was written."""
        started = time.monotonic()
        reason = self._store(portions)
        groups = split_by_sender(portions) if reason else []
        if len(groups) > 1:
            self._isolate_senders_until = time.monotonic() + _SEPARATE_SECONDS
        wrote = not reason
        if len(groups) > 1 and time.monotonic() - started < _QUICK_SECONDS:
            wrote = self._store_separately(groups)
        elif reason:
            for portion in portions:
                portion.request.reason = reason
        self._note_outcome(reason if not wrote else "")
        with self._wake:
            for sender in {portion.request.sender for portion in portions}:
                sent = (portion.request for portion in portions if portion.request.sender == sender)
                self._queues.note(sender, failed=all(request.reason for request in sent))
        self._finish(portions)
        return wrote

    def _store_separately(self, groups: Sequence[Sequence[Portion]]) -> bool:
        """Write each group alone; returns whether any was written. Stop after a few failures."""
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
                    pending.extend(split_by_sender(group))
                    continue
            for portion in group:
                portion.request.reason = reason
        if wrote and failures:
            warn("requests_failed", "some requests could not be written; the others were")
        return wrote

    def _note_outcome(self, reason: str) -> None:
        if reason and reason != self.stats.last_error:
            warn("ledger_unreachable", f"{reason}; senders will retry", reason=reason)
        elif self.stats.last_error and not reason:
            warn("ledger_back", "the ledger accepts rows again")
        self.stats.last_error = reason
        self.stats.outcome_at = time.monotonic()

    def _store(self, portions: Sequence[Portion]) -> str:
        """Write rows in one transaction; returns why nothing was written, or ""."""
        try:
            for portion in portions:
                if portion.rows is None:
                    self._build(portion)
            self._write(portions)
        except LedgerError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - the thread must go on; the senders retry
            return f"unexpected {type(error).__name__} while writing the ledger"
        return ""

    def _build(self, portion: Portion) -> None:
        started = time.thread_time()
        request = portion.request
        records, bounds = portion.records, request.bounds
        built = build(
            records, request.header, bounds, self._writer.prices_of, len(records) + MAX_EXTRA_ROWS
        )
        # The records that were not built are written in a later portion.
        request.taken -= len(records) - built.records
        guard, organization = self._guard, request.sender
        portion.rows = [guard.limit(row, organization) for row in built.rows]
        for record, reason in built.unreadable:
            self._writer.quarantine_record(msgspec.msgpack.encode(record), request.header, reason)
        request.dropped += built.dropped
        self.stats.dropped_example = built.dropped_example or self.stats.dropped_example
        request.quarantined += built.quarantined
        self.count_lost(built.quarantined, organization)
        self.meter.charge(organization, time.thread_time() - started)

    def _write(self, portions: Iterable[Portion]) -> None:
        rows = [row for portion in portions for row in portion.rows or ()]
        if rows:
            result = self._writer.write(rows)
            self.stats.stored += result.stored
            for portion in portions:
                portion_rows = portion.rows or ()
                self.meter.charge(portion.request.sender, _ROW_SECONDS * len(portion_rows))
                if result.refusals:
                    reasons = (result.refusals.get(row.event_id) for row in portion_rows)
                    portion.request.quarantined.update(reason for reason in reasons if reason)
        if self._losses and time.monotonic() - self._losses_counted_at >= _LOSS_PERIOD_SECONDS:
            self._count_losses()

    def _count_losses(self) -> None:
        """Write the counts of losses to the ledger; the rest is tried again later."""
        self._losses_counted_at = time.monotonic()
        for (organization, reason), records in list(self._losses.items()):
            self._writer.count_loss("", reason, records, organization)
            with self._wake:
                self._losses[organization, reason] -= records
                if not self._losses[organization, reason]:
                    del self._losses[organization, reason]

    def _finish(self, portions: Sequence[Portion]) -> None:
        """Report the result to each finished request, with one call per event loop."""
        finished = [
            request
            for request in {portion.request: None for portion in portions}
            if request.is_finished
        ]
        with self._wake:
            for request in finished:
                self._queues.remove(request)
                self._release(request)
        for request in finished:
            if not request.reason:
                self.stats.dropped += request.dropped
                add_counts(self.stats.quarantined, request.quarantined)
        for loop in {request.loop for request in finished}:
            on_loop = [request for request in finished if request.loop is loop]
            # Nothing waits on a loop that has ended.
            if not loop.is_closed():
                loop.call_soon_threadsafe(_set_outcomes, on_loop)


def _set_outcomes(requests: Iterable[PendingRequest]) -> None:
    """Resolve the requests that still wait; runs on their event loop."""
    for request in requests:
        if not request.outcome.done():
            request.outcome.set_result(request.reason)
