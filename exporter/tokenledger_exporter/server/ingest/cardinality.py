"""Keeps one sender from flooding a dimension: past so many values an hour, the rest is `__other__`.

The row and its cost stay; only what it would be grouped by is put together. Each organization has
its own count, and each worker counts for itself.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from tokenledger_exporter.log import warn
from tokenledger_semconv.dimensions import DIMENSIONS

if TYPE_CHECKING:
    from tokenledger_exporter.domain.ledger_row import LedgerRow

OTHER: Final = "__other__"
"""What stands in a column for every further value."""

_HOUR: Final = 3_600.0
# The organization is the sender's own, or the operator's to bound.
_GUARDED: Final = tuple(
    sorted(
        {"provider", "model", "operation"}
        | {d.column for d in DIMENSIONS if d.attribute and d.column != "organization_id"}
    )
)


class CardinalityGuard:
    """Used by one thread.

    Args:
        most: values a dimension may have in an hour, of one organization; 0 for any number.
    """

    def __init__(self, most: int) -> None:
        self._most: Final = most
        self._since = time.monotonic()
        self._seen: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        self._told: set[str] = set()
        self.replaced = 0

    def bounded(self, row: LedgerRow, organization: str) -> LedgerRow:
        """The row, with `__other__` where a dimension has had its values.

        Args:
            row: what is to be stored.
            organization: whose token brought it; "" if any.
        """
        if not self._most:
            return row
        if time.monotonic() - self._since >= _HOUR:
            self._since = time.monotonic()
            self._seen.clear()
            self._told.clear()
        over: dict[str, str] = {}
        for column in _GUARDED:
            value: str = getattr(row, column)
            if value:
                seen = self._seen[organization, column]
                hashed = hash(value)
                if hashed not in seen:
                    if len(seen) >= self._most:
                        over[column] = OTHER
                    else:
                        seen.add(hashed)
        if not over:
            return row
        self.replaced += 1
        for column in over.keys() - self._told:
            self._told.add(column)
            warn("cardinality", f"{column} has over {self._most} values this hour", column=column)
        return replace(row, **over)
