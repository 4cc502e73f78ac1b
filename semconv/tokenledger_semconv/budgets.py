"""How a ledger refuses a model call before it is sent: what both packages say to each other.

The app's side asks a `BudgetGuard` before each call. The ledger's side answers with a hold on the
money that the call may cost, with a refusal, or that no budget matches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

CallAttributes: TypeAlias = Mapping[str, object]
"""Span attribute -> value as OpenTelemetry defines it, of one model call."""

Reason: TypeAlias = Literal["limit", "unpriced", "outage"]
"""Why a call is refused: it may pass the limit, it has no price, or its budget cannot be asked."""


class RoundTrip(Enum):
    """The type of `ROUND_TRIP`."""

    ROUND_TRIP = "round trip"


ROUND_TRIP: Final = RoundTrip.ROUND_TRIP
"""The answer of `try_reserve` that only `reserve` can tell."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call may not be sent.

    Args:
        budget: the name of the budget.
        key: the value of the dimension that the budget is split by; "" if it is not split.
        limit_usd: the limit, in US dollars.
        spent_usd: what the calls that ended have cost, in US dollars.
        reserved_usd: the estimates of the calls in flight, in US dollars.
        needed_usd: the estimate of the refused call, in US dollars; 0 if it has no price.
        resets_at: when the budget's period ends, with a time zone; `None` is never.
        remedy: how to raise the limit, as a clause without a period: "raise it with ...".
        reason: why it is refused.
    """

    budget: str
    key: str
    limit_usd: Decimal
    spent_usd: Decimal
    reserved_usd: Decimal
    needed_usd: Decimal
    resets_at: datetime | None
    remedy: str
    reason: Reason


class Hold(Protocol):
    """The money that one call in flight may cost. It ends with one `finish` or one `release`."""

    def bind(self, trace_id: int, span_id: int) -> None:
        """Note a span of the call; called once for every span, after they start."""
        ...

    def finish(self, attributes: CallAttributes, *, failed: bool) -> None:
        """Settle the call, which ended. Never raises.

        It may run in any thread, and in a garbage collection during any line of any other code, so
        it waits for no lock that its own thread could hold.

        Args:
            attributes: the attributes at its end, merged over those at its start.
            failed: whether it failed.
        """
        ...

    def release(self) -> None:
        """Free the money of a request that was never sent. Never raises."""
        ...


class BudgetGuard(Protocol):
    """Decides whether a call may be sent. Any thread may ask it."""

    def try_reserve(
        self, attributes: CallAttributes, input_characters: int
    ) -> Hold | Refusal | RoundTrip | None:
        """Decide without any I/O, within microseconds.

        Args:
            attributes: the call's span attributes at its start: its merged attribution, provider,
                model and operation, and the request's settings, like `gen_ai.request.max_tokens`.
            input_characters: the length of the text in the request.

        Returns:
            `None` if no budget matches; `ROUND_TRIP` if `reserve` must be asked.
        """
        ...

    def reserve(self, attributes: CallAttributes, input_characters: int) -> Hold | Refusal | None:
        """Decide, possibly after one round trip to the database, which blocks the thread.

        Args:
            attributes: as for `try_reserve`.
            input_characters: as for `try_reserve`.
        """
        ...
