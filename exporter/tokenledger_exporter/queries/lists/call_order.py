"""The orders of a list of calls, and the cursors of its pages.

A cursor is the place of a call in one order, so it is refused in another.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from datetime import timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries.paging import (
    cursor_of,
    cursor_parts,
    invalid_cursor,
    place_in,
)
from tokenledger_exporter.sql import fragment, statements

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import LiteralString

_SQL: Final = statements("lists")
_UNKNOWN: Final = "-Infinity"
# Postgres takes more digits; no cost has as many.
_AMOUNT: Final = re.compile(r"-?[0-9]{1,100}(\.[0-9]{1,100})?|-Infinity", re.ASCII)


def _amount(text: str) -> Decimal:
    if not _AMOUNT.fullmatch(text):
        raise ValueError(text)
    return Decimal(text)


@dataclass(frozen=True, slots=True)
class CallOrder:
    """An order of calls: highest first, unknown values last, and of equal ones the newest first.

    Args:
        name: its sort key.
        column: what it sorts by.
        rank: SQL of the value; "" sorts by time alone.
        read: reads the value in a cursor.
    """

    name: str
    column: str
    rank: LiteralString = ""
    read: Callable[[str], Decimal | float] = float

    def cursor(self, call: Mapping[str, Any]) -> str:
        """The place of a call, which needs its timestamp, its id and the column of the order."""
        if not self.rank:
            return cursor_of(call["timestamp"], call["event_id"])
        value: Decimal | float | None = call[self.column]
        text = _UNKNOWN if value is None else f"{value:f}" if isinstance(value, Decimal) else value
        moment = call["timestamp"].astimezone(timezone.utc).isoformat()
        place = json.dumps([self.name, str(text), moment, call["event_id"].hex])
        return base64.urlsafe_b64encode(place.encode()).decode()

    def place(self, cursor: str) -> dict[str, object]:
        """The parameters of the place that a cursor names.

        Raises:
            InvalidRequestError: it is not a cursor, or one of another order.
        """
        parts = cursor_parts(cursor)
        name, *values = parts[:-2] or ["time"]
        if name != self.name:
            raise InvalidRequestError(
                f"the cursor is not one of calls sorted by {self.name}; omit it to start from the "
                "first page"
            )
        place: dict[str, object] = {}
        if self.rank:
            place["rank"] = self._value(values)
        place["timestamp"], place["event_id"] = place_in(parts[-2:])
        return place

    def _value(self, values: list[object]) -> Decimal | float:
        try:
            [text] = values
            return self.read(str(text))
        except ValueError:
            raise invalid_cursor() from None


CALL_ORDERS: Final = {
    order.name: order
    for order in (
        CallOrder("time", "timestamp"),
        CallOrder("cost", "cost_usd", fragment(_SQL["cost_rank"]), _amount),
        CallOrder("duration", "duration_ms", fragment(_SQL["duration_rank"])),
    )
}
"""Sort key -> order of a list of calls."""


def call_order(name: str) -> CallOrder:
    """The order that a sort key names.

    Raises:
        InvalidRequestError: it is unknown; the message lists the sort keys.
    """
    if name not in CALL_ORDERS:
        raise InvalidRequestError(f"unknown sort key {name!r}; use one of {', '.join(CALL_ORDERS)}")
    return CALL_ORDERS[name]
