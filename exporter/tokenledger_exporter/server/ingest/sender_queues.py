"""The waiting requests by sender, and which of their records are written next.

A single sender may fill a COPY. If several send, each gets a portion of every COPY, so that one
sender's large request delays the others only by that portion.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import SpanRecord, SpoolHeader
    from tokenledger_exporter.server.ingest.bounds import RequestBounds

MAX_BATCH_RECORDS: Final = 5_000
"""Records of one COPY."""

MAX_BATCH_BYTES: Final = 8_388_608
"""Memory of these records, without the last one."""

SENDER_RECORDS: Final = 64
"""Records of one sender in a COPY while others send as well."""

MAX_EXTRA_ROWS: Final = 50
"""Rows a portion may have in addition to one per record."""

_FIRST_PAUSE, _MAX_PAUSE = 0.25, 2.0
_BUSY_SENDER_SECONDS: Final = 0.05
_SINGLE_SENDER_SECONDS: Final = 2.0


@dataclass(slots=True, eq=False)
class PendingRequest:
    """One request whose records are being written.

    Args:
        records: its model calls.
        header: the header of its records, with the organization.
        size: memory of the records in bytes.
        bounds: what the request may still store.
        loop: the event loop on which its sender waits.
        outcome: set when the request is finished: "" if it is committed, else the reason.
        taken: number of records in portions so far.
        reason: why it failed; "" if it did not.
        quarantined: number of calls that are not written, by reason.
        dropped: number of records that describe no model call.
    """

    records: Sequence[SpanRecord]
    header: SpoolHeader
    size: int
    bounds: RequestBounds
    loop: asyncio.AbstractEventLoop
    outcome: asyncio.Future[str]
    taken: int = 0
    reason: str = ""
    quarantined: Counter[str] = field(default_factory=Counter[str])
    dropped: int = 0

    @property
    def sender(self) -> str:
        """The organization of the sender."""
        return self.header.organization

    @property
    def is_finished(self) -> bool:
        """Whether nothing of it is left to write."""
        return self.taken >= len(self.records) or bool(self.reason) or self.outcome.done()


@dataclass(slots=True)
class Portion:
    """Some records of a request that are written together."""

    request: PendingRequest
    records: Sequence[SpanRecord]
    rows: list[LedgerRow] | None = None

    @property
    def size(self) -> int:
        """Memory of the records in bytes."""
        request = self.request
        return request.size * len(self.records) // max(1, len(request.records))


class SenderQueues:
    """Waiting requests by sender, in round-robin order. The caller holds a lock.

    Args:
        is_over: whether a sender causes most of the work of a busy worker; others go first.
    """

    def __init__(self, is_over: Callable[[str], bool]) -> None:
        self._is_over: Final = is_over
        self._over_at: float = 0.0
        self._by_sender: Final[dict[str, deque[PendingRequest]]] = {}
        self._failing: Final[dict[str, tuple[float, float]]] = {}
        self._last_sender = ""
        self._single_sender_since = 0.0

    def __bool__(self) -> bool:
        return bool(self._by_sender)

    def add(self, request: PendingRequest) -> None:
        """Add a request behind the sender's others."""
        self._by_sender.setdefault(request.sender, deque()).append(request)

    def has_ready_sender(self) -> bool:
        """Whether a sender is ready; a sender that failed alone waits first."""
        return bool(self._ready())

    def note(self, sender: str, *, failed: bool) -> None:
        """Note whether all of a sender's portions failed."""
        if not failed:
            self._failing.pop(sender, None)
            return
        _, pause = self._failing.get(sender, (0.0, 0.0))
        pause = min(max(_FIRST_PAUSE, pause * 2), _MAX_PAUSE)
        self._failing[sender] = time.monotonic() + pause, pause

    def remove(self, request: PendingRequest) -> None:
        """Remove a request."""
        queue = self._by_sender[request.sender]
        queue.remove(request)
        if not queue:
            del self._by_sender[request.sender]

    def drop_finished(self) -> list[PendingRequest]:
        """Remove and return the requests whose senders gave up."""
        finished = [
            item for queue in self._by_sender.values() for item in queue if item.is_finished
        ]
        for request in finished:
            self.remove(request)
        return finished

    def next_portions(self, *, one_sender: bool) -> list[Portion]:
        """The next records of every sender, or of the first sender only."""
        batch: list[Portion] = []
        count = size = 0
        max_records = self._max_sender_records()
        for sender in self._next_senders():
            if count >= MAX_BATCH_RECORDS or size >= MAX_BATCH_BYTES or (one_sender and batch):
                break
            portions = self._portions_of(sender, max_records)
            batch += portions
            count += sum(len(portion.records) for portion in portions)
            size += sum(portion.size for portion in portions)
            # This sender goes to the end of the order.
            self._by_sender[sender] = self._by_sender.pop(sender)
        return batch

    def _next_senders(self) -> list[str]:
        """The senders of the next batch; one that causes most of the work is not in every batch."""
        ready = self._ready() or list(self._by_sender)
        others = [sender for sender in ready if not self._is_over(sender)]
        now = time.monotonic()
        if others and len(others) < len(ready) and now - self._over_at < _BUSY_SENDER_SECONDS:
            return others
        self._over_at = now
        return ready

    def _ready(self) -> list[str]:
        now = time.monotonic()
        return [name for name in self._by_sender if self._failing.get(name, (0.0, 0.0))[0] <= now]

    def _max_sender_records(self) -> int:
        """Maximum number of records of one sender in the next COPY."""
        now = time.monotonic()
        senders = list(self._by_sender)
        if senders and senders != [self._last_sender]:
            self._last_sender = senders[0]
            self._single_sender_since = now
        return (
            MAX_BATCH_RECORDS
            if now - self._single_sender_since >= _SINGLE_SENDER_SECONDS
            else SENDER_RECORDS
        )

    def _portions_of(self, sender: str, max_records: int) -> list[Portion]:
        portions: list[Portion] = []
        count = size = 0
        for request in self._by_sender[sender]:
            if (
                count >= max_records
                or size >= MAX_BATCH_BYTES
                or (portions and sender in self._failing)
            ):
                break
            if not request.is_finished:
                record_bytes = request.size // max(1, len(request.records)) + 1
                by_size = max(1, (MAX_BATCH_BYTES - size) // record_bytes)
                limit = min(max_records - count, by_size)
                portion = Portion(request, request.records[request.taken :][:limit])
                request.taken += len(portion.records)
                portions.append(portion)
                count += len(portion.records)
                size += portion.size
        return portions


def split_by_sender(portions: Sequence[Portion]) -> list[list[Portion]]:
    """Group portions by sender; portions of a single sender become groups of one."""
    groups: dict[str, list[Portion]] = {}
    for portion in portions:
        groups.setdefault(portion.request.sender, []).append(portion)
    return [[portion] for portion in portions] if len(groups) == 1 else list(groups.values())
