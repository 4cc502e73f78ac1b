"""Calls told by hand: checks what was told, and books it through the same path as any call.

A value that is none is left off, reported once, and the rest is booked.
"""

from __future__ import annotations

import importlib
import json
import math
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tokenledger.failures import report
from tokenledger.precedence import NOTHING, clean
from tokenledger.tracing import CallTracer
from tokenledger_semconv import attributes as names
from tokenledger_semconv.tokens import MOST_COUNTED

if TYPE_CHECKING:
    from tokenledger.precedence import Layer
    from tokenledger.reading import Found

SUCCESS: Final = "success"
"""The status of a call that went well; any other is a failed one."""

_NANOSECONDS: Final = 1_000_000_000
_NANOSECONDS_PER_MILLISECOND: Final = 1_000_000
# Seconds beyond the year 5138 are milliseconds or nanoseconds by mistake.
_MAX_EPOCH_SECONDS: Final = 100_000_000_000
# A year: what is longer was told in another unit, and would begin before there were computers.
_LONGEST_MILLISECONDS: Final = 366 * 24 * 3_600 * 1_000
# Beyond these a plain decimal is digits without end: `Decimal("1e999999999")` would be a gigabyte.
_MOST_DOLLARS: Final = 10**12
_MOST_DECIMALS: Final = 100
# What the conventions ask for where a failure has no class of its own.
_OTHER_ERROR: Final = "_OTHER"
_TRACER: Final = CallTracer("track")


@dataclass(frozen=True, slots=True)
class Booking:
    """One call as it was told.

    Args:
        operation: the kind of call, in the convention's words.
        provider: who answered; "" leaves it for the exporter to find.
        model: the model that answered; "" if nobody said.
        answer: what it used, as span attributes.
        attribution: whom it was made for.
        started_ns: when it began, in nanoseconds since 1970; 0 is as long ago as it took.
        took_ns: how long it took, in nanoseconds.
        failed: whether it failed.
        reported_cost: US dollars the caller names, as plain decimal text; "" if none.
    """

    operation: str
    provider: str
    model: str
    answer: Found
    attribution: Layer = field(default_factory=lambda: NOTHING)
    started_ns: int = 0
    took_ns: int = 0
    failed: bool = False
    reported_cost: str = ""


def book(booking: Booking, *, has_stable_identity: bool = False) -> None:
    """Make the call's span, which becomes its row.

    Args:
        booking: the call.
        has_stable_identity: the same booking is the same row, however often it is booked.
    """
    model = clean(booking.model)
    told: Found = {names.OPERATION_NAME: clean(booking.operation)}
    if booking.provider:
        told[names.PROVIDER_NAME] = clean(booking.provider)
    if model:
        told[names.REQUEST_MODEL] = model
    if booking.reported_cost:
        told[names.REPORTED_COST] = booking.reported_cost
    if has_stable_identity:
        told[names.CALL_ID] = _identity(booking)
    found: Found = dict(booking.answer)
    if model:
        found.setdefault(names.RESPONSE_MODEL, model)
    if booking.failed:
        found[names.ERROR_TYPE] = _OTHER_ERROR
    started = booking.started_ns or time.time_ns() - booking.took_ns
    call = _TRACER.start(told, per_call=booking.attribution, start_time_ns=started)
    call.finish(found, end_time_ns=started + booking.took_ns)


class Checked:
    """Reads what one function was told; what is wrong is reported under its name.

    Args:
        place: the function's name.
    """

    __slots__ = ("_place",)

    def __init__(self, place: str) -> None:
        self._place = place

    def count(self, name: str, value: object) -> int | None:
        """A token count, or nothing where the value is none."""
        if value is None:
            return None
        if type(value) is int and 0 <= value <= MOST_COUNTED:
            return value
        self._refuse(name, value, f"count from 0 to {MOST_COUNTED:,}")
        return None

    def nanoseconds(self, name: str, milliseconds: Any) -> int:  # noqa: ANN401 - whatever was told
        """A duration given in milliseconds; 0 where it is none."""
        if milliseconds is None:
            return 0
        told = math.nan
        if not isinstance(milliseconds, (str, bytes)):
            with suppress(TypeError, ValueError, OverflowError):
                told = float(milliseconds)
        if not 0 <= told <= _LONGEST_MILLISECONDS:
            self._refuse(name, milliseconds, "duration")
            return 0
        return round(told * _NANOSECONDS_PER_MILLISECOND)

    def moment(self, name: str, value: Any) -> int:  # noqa: ANN401 - whatever was told
        """A time as nanoseconds since 1970; 0 where it is none.

        Args:
            name: what it is called.
            value: a datetime (UTC if it is naive), its ISO 8601 text, or seconds since 1970.
        """
        if value is None:
            return 0
        seconds: object = value
        if not isinstance(value, (int, float)):
            seconds = _epoch_seconds(value)
        if type(seconds) is int and 0 < seconds < _MAX_EPOCH_SECONDS:
            return seconds * _NANOSECONDS
        if type(seconds) is float and 0 < seconds < _MAX_EPOCH_SECONDS:
            # Microseconds are what a datetime and the ledger keep; a float knows no more.
            return round(seconds * 1_000_000) * 1_000
        self._refuse(name, value, "time")
        return 0

    def dollars(self, name: str, value: object) -> str:
        """An amount as plain decimal text, every digit of it; "" where it is none."""
        if value is None:
            return ""
        decimal: Any = importlib.import_module("decimal")
        try:
            # By its text: a float's own digits are what its author wrote.
            amount = decimal.Decimal(str(value))
        except (decimal.InvalidOperation, ValueError):
            amount = decimal.Decimal("NaN")
        is_amount = amount.is_finite() and 0 <= amount < _MOST_DOLLARS
        if isinstance(value, bool) or not is_amount or amount.as_tuple().exponent < -_MOST_DECIMALS:
            self._refuse(name, value, "amount of 0 or more")
            return ""
        return f"{amount:f}"

    def _refuse(self, name: str, value: object, wanted: str) -> None:
        report(f"{self._place}({name}=)", f"{type(value).__name__} that is no {wanted}")


def _epoch_seconds(value: object) -> float | None:
    # Loaded here: an app that never says when a call was made need not wait for it.
    datetimes: Any = importlib.import_module("datetime")
    if isinstance(value, str):
        try:
            # Python 3.10 does not know the Z that everybody writes.
            value = datetimes.datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
        except ValueError:
            return None
    if not isinstance(value, datetimes.datetime):
        return None
    moment: Any = value
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetimes.timezone.utc)
    seconds = float(moment.timestamp())
    return seconds if math.isfinite(seconds) else None


def _identity(booking: Booking) -> str:
    """The same for the same booking: its checked values, in an order that is always the same."""
    hashlib: Any = importlib.import_module("hashlib")
    told = json.dumps(
        [
            booking.operation,
            booking.provider,
            booking.model,
            sorted(booking.answer.items()),
            sorted(booking.attribution.items()),
            booking.started_ns,
            booking.took_ns,
            booking.failed,
            booking.reported_cost,
        ],
        default=str,
    )
    return str(hashlib.blake2b(told.encode(), digest_size=16).hexdigest())
