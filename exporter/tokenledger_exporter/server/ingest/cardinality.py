"""Limits the distinct values of a dimension per hour; further values become `__other__`.

The row and its cost are unaffected; only its group in reports changes. Each organization is counted
separately, and each worker counts for itself.
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
"""The value that replaces every further value."""

_HOUR: Final = 3_600.0
# The organization comes from the token, or from a sender that the operator runs.
_LIMITED_COLUMNS: Final = tuple(
    sorted(
        {"provider", "model", "operation"}
        | {d.column for d in DIMENSIONS if d.attribute and d.column != "organization_id"}
    )
)


class CardinalityGuard:
    """Counts values by dimension and organization. It is not thread-safe.

    Args:
        max_values: values a dimension may have per hour and organization; 0 for any number.
    """

    def __init__(self, max_values: int) -> None:
        self._max_values: Final = max_values
        self._since = time.monotonic()
        self._seen: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        self._warned_columns: set[str] = set()
        self.replaced = 0

    def limit(self, row: LedgerRow, organization: str) -> LedgerRow:
        """The row, with `__other__` in each dimension that has reached its limit.

        Args:
            row: the row to store.
            organization: the organization of the sender's token; "" if it has none.
        """
        if not self._max_values:
            return row
        if time.monotonic() - self._since >= _HOUR:
            self._since = time.monotonic()
            self._seen.clear()
            self._warned_columns.clear()
        replacements: dict[str, str] = {}
        for column in _LIMITED_COLUMNS:
            value: str = getattr(row, column)
            if value:
                seen = self._seen[organization, column]
                hashed = hash(value)
                if hashed not in seen:
                    if len(seen) >= self._max_values:
                        replacements[column] = OTHER
                    else:
                        seen.add(hashed)
        if not replacements:
            return row
        self.replaced += 1
        for column in replacements.keys() - self._warned_columns:
            self._warned_columns.add(column)
            warn(
                "cardinality",
                f"{column} has more than {self._max_values} values in this hour",
                column=column,
            )
        return replace(row, **replacements)
