"""How much one request may ask of the ledger, in rows, bytes, hours and tellings of one answer.

What goes beyond is set aside with its reason, and the rest of the request is stored. How large the
request itself may be is `received`'s business.
"""

from __future__ import annotations

import sys
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import SpanRecord

MAX_ROWS: Final = 20_000
"""Rows one request may become."""

MAX_ROW_BYTES: Final = 16_777_216
"""Text of these rows."""

MAX_HOURS: Final = 200
"""Different hours of the calls of one request: each has partitions and sums of its own."""

MAX_SPAN_REPORTS: Final = 64
"""Spans of one request that name the same answer of a provider."""

RECORD_BYTES: Final = 2_048
"""What a record takes in memory beside its texts, its row included."""

_WIDEST: Final = 4


def bytes_of(records: Sequence[SpanRecord], body_bytes: int) -> int:
    """Upper bound of the memory a request's records take until they are committed.

    Counted value by value only where the body is large for what it holds: in memory one wide letter
    makes a text four times as large.
    """
    fixed = RECORD_BYTES * len(records)
    if _WIDEST * body_bytes <= fixed:
        return fixed + _WIDEST * body_bytes
    return fixed + sum(map(_bytes_of_texts, records))


def _bytes_of_texts(record: SpanRecord) -> int:
    count = 0
    for key, value in record.attributes.items():
        if isinstance(value, str):
            count += sys.getsizeof(key) + sys.getsizeof(value)
        elif isinstance(value, list):
            count += sum(map(sys.getsizeof, value))
    return count


class RequestBounds:
    """What one request has taken so far.

    Args:
        most_age_days: how long ago its calls may have begun.
    """

    def __init__(self, most_age_days: int) -> None:
        self._days: Final = most_age_days
        self._earliest: Final = datetime.now(timezone.utc) - timedelta(days=most_age_days)
        self._rows = self._bytes = 0
        self._hours: Final[set[tuple[int, int]]] = set()
        self._tellings: Final[Counter[str]] = Counter()

    def refuse(self, rows: Sequence[LedgerRow]) -> str:
        """Why a call's rows are not stored; "" counts them as taken."""
        first = rows[0]
        if first.timestamp < self._earliest:
            return f"the call began over {self._days} days ago"
        hour = first.timestamp.toordinal(), first.timestamp.hour
        if hour not in self._hours and len(self._hours) >= MAX_HOURS:
            return f"the request's calls are of over {MAX_HOURS} hours: send them sorted by time"
        response_id = first.response_id
        if response_id and self._tellings[response_id] >= MAX_SPAN_REPORTS:
            return f"over {MAX_SPAN_REPORTS} spans of the request name the same response id"
        size = sum(len(row.metadata) + len(row.details) + len(row.usage or "") for row in rows)
        if self._rows + len(rows) > MAX_ROWS or self._bytes + size > MAX_ROW_BYTES:
            return f"the request is over {MAX_ROWS} rows or {MAX_ROW_BYTES} bytes: send less"
        self._hours.add(hour)
        if response_id:
            self._tellings[response_id] += 1
        self._rows += len(rows)
        self._bytes += size
        return ""
