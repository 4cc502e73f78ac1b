"""Calls that the app reports itself: checks the values, and records the call like any other.

An invalid value is left out and reported once; the rest is recorded.
"""

from __future__ import annotations

import json
import math
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tokenledger._attribution.layers import NOTHING, clean
from tokenledger._calls.tracer import CallTracer
from tokenledger._guard import report_invalid
from tokenledger._state import RUNTIME
from tokenledger_semconv import attributes as names
from tokenledger_semconv.tokens import MAX_COUNT

if TYPE_CHECKING:
    from tokenledger._attribution.layers import Layer
    from tokenledger._usage.fields import Attributes

SUCCESS: Final = "success"
"""The status of a successful call; any other status means failure."""

_NANOSECONDS: Final = 1_000_000_000
_NANOSECONDS_PER_MILLISECOND: Final = 1_000_000
# Seconds beyond the year 5138 are milliseconds or nanoseconds by mistake.
_MAX_EPOCH_SECONDS: Final = 100_000_000_000
# A year: a longer duration was given in another unit.
_MAX_MILLISECONDS: Final = 366 * 24 * 3_600 * 1_000
# Beyond these, plain decimal text is too long: `Decimal("1e999999999")` would be a gigabyte.
_MAX_DOLLARS: Final = 10**12
_MAX_DECIMALS: Final = 100
_MAX_DIGITS: Final = 18
# The conventions require this if a failure has no class of its own.
_OTHER_ERROR: Final = "_OTHER"
_TRACER: Final = CallTracer("track")
_COST_SOURCE: Final = "track"
_BEFORE_INIT: Final = "a call reported before init()"
_NO_LEDGER: Final = "no ledger is open; call tokenledger.init() or tokenledger.configure() first"


@dataclass(frozen=True, slots=True)
class ManualCall:
    """One call as the app reported it.

    Args:
        operation: the kind of call, in the convention's words.
        provider: the provider that answered; "" leaves it to the exporter.
        model: the model that answered; "" if unknown.
        usage: its usage, as span attributes.
        attribution: its attribution.
        started_ns: when it began, in nanoseconds since 1970; 0 means that it ended just now.
        duration_ns: how long it took, in nanoseconds.
        failed: whether it failed.
        reported_cost: the caller's own cost in US dollars, as plain decimal text; "" if none.
    """

    operation: str
    provider: str
    model: str
    usage: Attributes
    attribution: Layer = field(default_factory=lambda: NOTHING)
    started_ns: int = 0
    duration_ns: int = 0
    failed: bool = False
    reported_cost: str = ""


def record_call(manual_call: ManualCall, *, has_stable_identity: bool = False) -> None:
    """Make the call's span, which becomes its row.

    Args:
        manual_call: the call.
        has_stable_identity: whether equal bookings are one row.
    """
    model = clean(manual_call.model)
    start: Attributes = {names.OPERATION_NAME: clean(manual_call.operation)}
    if manual_call.provider:
        start[names.PROVIDER_NAME] = clean(manual_call.provider)
    if model:
        start[names.REQUEST_MODEL] = model
    if manual_call.reported_cost:
        start[names.REPORTED_COST] = manual_call.reported_cost
        start[names.COST_SOURCE] = _COST_SOURCE
    if has_stable_identity:
        start[names.CALL_ID] = _identity(manual_call)
    attributes: Attributes = dict(manual_call.usage)
    if model:
        attributes.setdefault(names.RESPONSE_MODEL, model)
    if manual_call.failed:
        attributes[names.ERROR_TYPE] = _OTHER_ERROR
    started = manual_call.started_ns or time.time_ns() - manual_call.duration_ns
    call = _TRACER.start(start, per_call=manual_call.attribution, start_time_ns=started)
    if RUNTIME.setup.ledger is None and not call.is_traced:
        report_invalid(_BEFORE_INIT, _NO_LEDGER)
    call.finish(attributes, end_time_ns=started + manual_call.duration_ns)


class ArgumentValidator:
    """Checks the arguments of one function; an invalid one is reported under its name.

    Args:
        place: the function's name.
    """

    __slots__ = ("_place", "refused")

    def __init__(self, place: str) -> None:
        self._place = place
        self.refused: list[str] = []
        """Arguments that decide the price and were left out."""

    def count(self, name: str, value: object) -> int | None:
        """A token count; `None` if the value is missing or invalid."""
        if value is None:
            return None
        count = value if type(value) is int else _whole(value)
        if count is not None and 0 <= count <= MAX_COUNT:
            return count
        self._reject(name, value, f"a whole number from 0 to {MAX_COUNT:,}")
        self.refused.append(name)
        return None

    def nanoseconds(self, name: str, milliseconds: Any) -> int:  # noqa: ANN401 - whatever was passed
        """A duration in milliseconds, as nanoseconds; 0 if it is missing or invalid."""
        if milliseconds is None:
            return 0
        duration = math.nan
        if not isinstance(milliseconds, (str, bytes)):
            with suppress(TypeError, ValueError, OverflowError):
                duration = float(milliseconds)
        if not 0 <= duration <= _MAX_MILLISECONDS:
            self._reject(name, milliseconds, "a duration in milliseconds")
            return 0
        return round(duration * _NANOSECONDS_PER_MILLISECOND)

    def timestamp(self, name: str, value: Any) -> int:  # noqa: ANN401 - whatever was passed
        """A time as nanoseconds since 1970; 0 if it is missing or invalid.

        Args:
            name: the name of the argument.
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
            # A datetime and the ledger store microseconds; a float is not more precise.
            return round(seconds * 1_000_000) * 1_000
        self._reject(name, value, "a time")
        # The time decides the price.
        self.refused.append(name)
        return 0

    def dollars(self, name: str, value: object) -> str:
        """An amount as plain decimal text with all its digits; "" if it is missing or invalid."""
        if value is None:
            return ""
        # Loaded here: an app that never reports a cost does not need it.
        from decimal import Decimal, InvalidOperation

        try:
            # By its text, which has the digits that the author of a float wrote.
            amount = Decimal(str(value))
        except (InvalidOperation, ValueError):
            amount = Decimal("NaN")
        is_amount = amount.is_finite() and 0 <= amount < _MAX_DOLLARS
        exponent: Any = amount.as_tuple().exponent
        if isinstance(value, bool) or not is_amount or exponent < -_MAX_DECIMALS:
            self._reject(name, value, "an amount of 0 or more")
            return ""
        return f"{amount:f}"

    def _reject(self, name: str, value: object, expected: str) -> None:
        # The value itself is not logged: it may be content.
        problem = f"it must be {expected}; its type is {type(value).__name__}"
        report_invalid(f"{self._place}({name}=)", problem)


def _whole(value: Any) -> int | None:  # noqa: ANN401 - whatever was passed
    """A count as a plain integer: of numpy, Decimal, a whole float, or text; else `None`."""
    if isinstance(value, (bool, bytes)) or type(value).__name__ == "bool_":
        return None
    try:
        if isinstance(value, str):
            digits = value.strip()
            is_count = len(digits) <= _MAX_DIGITS and digits.isascii() and digits.isdigit()
            return int(digits) if is_count else None
        # Compared first: `int(Decimal("1e999999999"))` would fill the memory.
        count = int(value) if 0 <= value <= MAX_COUNT else None
    except (TypeError, ValueError, ArithmeticError):
        return None
    return count if count == value else None


def _epoch_seconds(value: object) -> float | None:
    # Loaded here: an app that never reports when a call was made does not need it.
    from datetime import datetime, timezone

    if isinstance(value, str):
        try:
            # Python 3.10 does not accept the Z.
            value = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    if value.tzinfo is None:
        value = value.replace(tzinfo=timezone.utc)
    seconds = value.timestamp()
    return seconds if math.isfinite(seconds) else None


def _identity(manual_call: ManualCall) -> str:
    """The same for equal bookings: a hash of the checked values, in a fixed order."""
    # Loaded here: only calls of the past need it.
    from hashlib import blake2b

    values = json.dumps(
        [
            manual_call.operation,
            manual_call.provider,
            manual_call.model,
            sorted(manual_call.usage.items()),
            sorted(manual_call.attribution.items()),
            manual_call.started_ns,
            manual_call.duration_ns,
            manual_call.failed,
            manual_call.reported_cost,
        ],
        default=str,
    )
    return blake2b(values.encode(), digest_size=16).hexdigest()
