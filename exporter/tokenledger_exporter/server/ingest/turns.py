"""Whose records are written next: the requests that wait, by sender, and their turns.

A sender alone fills a COPY. While others send as well each has a turn of some records in every
COPY, so that a large request of one delays the others by no more than that.
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

MAX_ROWS: Final = 5_000
"""Records of one COPY."""

MAX_TURN_BYTES: Final = 8_388_608
"""Memory these may take, the last one's own apart."""

TURN_ROWS: Final = 64
"""Records of one sender in a COPY while others send as well."""

MAX_EXTRA_ROWS: Final = 50
"""Rows a turn may have beside one of each record."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 2.0
_OVER_SECONDS: Final = 0.05
_ALONE_SECONDS: Final = 2.0


@dataclass(slots=True, eq=False)
class Delivery:
    """One request on its way.

    Args:
        records: its model calls.
        header: whose they are.
        size: bytes they take.
        bounds: what the request may still ask for.
        loop: where its sender waits.
        outcome: done once it is known what became of it: "" if it is committed, else why not.
        taken: records that were tried so far.
        reason: why it failed, once it did.
        set_aside: why calls are not written.
        dropped: calls that turned out to be none.
    """

    records: Sequence[SpanRecord]
    header: SpoolHeader
    size: int
    bounds: RequestBounds
    loop: asyncio.AbstractEventLoop
    outcome: asyncio.Future[str]
    taken: int = 0
    reason: str = ""
    set_aside: Counter[str] = field(default_factory=Counter[str])
    dropped: int = 0

    @property
    def sender(self) -> str:
        """Whose it is."""
        return self.header.organization

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left to be written."""
        return self.taken >= len(self.records) or bool(self.reason) or self.outcome.done()


@dataclass(slots=True)
class Turn:
    """Some records of a delivery, written together."""

    delivery: Delivery
    records: Sequence[SpanRecord]
    rows: list[LedgerRow] | None = None

    @property
    def size(self) -> int:
        """Bytes they take."""
        delivery = self.delivery
        return delivery.size * len(self.records) // max(1, len(delivery.records))


class Queues:
    """Deliveries by sender; whoever waits longest for a turn comes first. Used under a lock.

    Args:
        is_over: whether a sender causes most of a busy worker's work; it lets the others pass.
    """

    def __init__(self, is_over: Callable[[str], bool]) -> None:
        self._is_over: Final = is_over
        self._over_at: float = 0.0
        self._of: Final[dict[str, deque[Delivery]]] = {}
        self._failing: Final[dict[str, tuple[float, float]]] = {}
        self._last_sender = ""
        self._alone_since = 0.0

    def __bool__(self) -> bool:
        return bool(self._of)

    def add(self, delivery: Delivery) -> None:
        """Let one wait behind its sender's others."""
        self._of.setdefault(delivery.sender, deque()).append(delivery)

    def has_turn(self) -> bool:
        """Whether anybody may be written now: who failed alone has to wait."""
        return bool(self._ready())

    def note(self, sender: str, *, failed: bool) -> None:
        """Take note of whether all of a sender's turns failed, or some were written."""
        if not failed:
            self._failing.pop(sender, None)
            return
        _, pause = self._failing.get(sender, (0.0, 0.0))
        pause = min(max(_FIRST_PAUSE, pause * 2), _LONGEST_PAUSE)
        self._failing[sender] = time.monotonic() + pause, pause

    def remove(self, delivery: Delivery) -> None:
        """Take one out."""
        queue = self._of[delivery.sender]
        queue.remove(delivery)
        if not queue:
            del self._of[delivery.sender]

    def drop_over(self) -> list[Delivery]:
        """Take out those whose senders gave up."""
        over = [each for queue in self._of.values() for each in queue if each.is_over]
        for delivery in over:
            self.remove(delivery)
        return over

    def next_turns(self, *, one_sender: bool) -> list[Turn]:
        """Some records of every sender, or of the first alone."""
        turns: list[Turn] = []
        rows = size = 0
        most = self._most_each()
        for sender in self._next_senders():
            if rows >= MAX_ROWS or size >= MAX_TURN_BYTES or (one_sender and turns):
                break
            found = self._turns_of(sender, most)
            turns += found
            rows += sum(len(turn.records) for turn in found)
            size += sum(turn.size for turn in found)
            # Whoever had a turn is last from now on.
            self._of[sender] = self._of.pop(sender)
        return turns

    def _next_senders(self) -> list[str]:
        """Who has a turn; a sender that is over has one every now and then while others wait."""
        ready = self._ready() or list(self._of)
        others = [sender for sender in ready if not self._is_over(sender)]
        now = time.monotonic()
        if others and len(others) < len(ready) and now - self._over_at < _OVER_SECONDS:
            return others
        self._over_at = now
        return ready

    def _ready(self) -> list[str]:
        now = time.monotonic()
        return [each for each in self._of if self._failing.get(each, (0.0, 0.0))[0] <= now]

    def _most_each(self) -> int:
        """Records of one sender in the next COPY."""
        now = time.monotonic()
        senders = list(self._of)
        if senders and senders != [self._last_sender]:
            self._last_sender = senders[0]
            self._alone_since = now
        return MAX_ROWS if now - self._alone_since >= _ALONE_SECONDS else TURN_ROWS

    def _turns_of(self, sender: str, most: int) -> list[Turn]:
        turns: list[Turn] = []
        rows = size = 0
        for delivery in self._of[sender]:
            if rows >= most or size >= MAX_TURN_BYTES or (turns and sender in self._failing):
                break
            if not delivery.is_over:
                share = delivery.size // max(1, len(delivery.records)) + 1
                fits = min(most - rows, max(1, (MAX_TURN_BYTES - size) // share))
                turn = Turn(delivery, delivery.records[delivery.taken :][:fits])
                delivery.taken += len(turn.records)
                turns.append(turn)
                rows += len(turn.records)
                size += turn.size
        return turns


def apart(turns: Sequence[Turn]) -> list[list[Turn]]:
    """The same by sender; those of one sender one by one."""
    groups: dict[str, list[Turn]] = {}
    for turn in turns:
        groups.setdefault(turn.delivery.sender, []).append(turn)
    return [[turn] for turn in turns] if len(groups) == 1 else list(groups.values())
