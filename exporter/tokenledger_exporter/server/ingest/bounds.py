"""Limits on what one request may store: rows, bytes, hours, and spans of one provider response.

Calls beyond a limit are quarantined with the reason, and the rest of the request is stored. Limits
on the request itself are in `decoded_request`.
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

MAX_REQUEST_ROWS: Final = 20_000
"""Rows of one request."""

MAX_REQUEST_ROW_BYTES: Final = 16_777_216
"""Bytes of text in these rows."""

MAX_HOURS: Final = 200
"""Different hours in the calls of one request; each hour has separate roll-up sums."""

MAX_SPAN_REPORTS: Final = 64
"""Spans of one request with the same response id."""

RECORD_BYTES: Final = 2_048
"""Memory of a record and its row, without their texts."""

_MAX_BYTES_PER_CHARACTER: Final = 4


def bytes_of(records: Sequence[SpanRecord], body_bytes: int) -> int:
    """An upper bound of the memory that a request's records need until they are committed.

    A body that is small for its number of records needs no exact count: in memory, one wide
    character makes a text at most four times as large.
    """
    fixed = RECORD_BYTES * len(records)
    if _MAX_BYTES_PER_CHARACTER * body_bytes <= fixed:
        return fixed + _MAX_BYTES_PER_CHARACTER * body_bytes
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
    """Counts what one request has stored so far, against the limits.

    Args:
        max_age_days: maximum age of its calls.
    """

    def __init__(self, max_age_days: int) -> None:
        self._max_age_days: Final = max_age_days
        self._earliest: Final = datetime.now(timezone.utc) - timedelta(days=max_age_days)
        self._rows = self._bytes = 0
        self._hours: Final[set[tuple[int, int]]] = set()
        self._span_reports: Final[Counter[str]] = Counter()

    def refuse(self, rows: Sequence[LedgerRow]) -> str:
        """Why a call's rows exceed a limit; "" if they do not, and are counted."""
        first = rows[0]
        if first.timestamp < self._earliest:
            return f"the call started more than {self._max_age_days} days ago"
        hour = first.timestamp.toordinal(), first.timestamp.hour
        if hour not in self._hours and len(self._hours) >= MAX_HOURS:
            return (
                f"the request's calls span more than {MAX_HOURS} different hours; sort calls by "
                "time"
            )
        response_id = first.response_id
        if response_id and self._span_reports[response_id] >= MAX_SPAN_REPORTS:
            return f"more than {MAX_SPAN_REPORTS} spans of the request have the same response id"
        size = sum(len(row.metadata) + len(row.details) + len(row.usage or "") for row in rows)
        if self._rows + len(rows) > MAX_REQUEST_ROWS or self._bytes + size > MAX_REQUEST_ROW_BYTES:
            limit = f"{MAX_REQUEST_ROWS} rows or {MAX_REQUEST_ROW_BYTES} bytes"
            return f"the request contains more than {limit}; send smaller batches"
        self._hours.add(hour)
        if response_id:
            self._span_reports[response_id] += 1
        self._rows += len(rows)
        self._bytes += size
        return ""
