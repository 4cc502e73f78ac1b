"""What clients send about budgets, and what they are answered; OpenAPI describes these types."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec reads the annotations
from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from typing import Annotated

from msgspec import Meta, Struct

from tokenledger_semconv.dimensions import MAX_VALUE_LENGTH

MAX_TOKENS = 1_000_000_000
"""The most tokens that a request may name."""

Usd = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,12}(\.[0-9]{1,12})?$",
        description='US dollars as text, like "0.02"',
        examples=["0.02"],
    ),
]
Amount = Annotated[str, Meta(description="US dollars, exact", examples=["0.02"])]
Value = Annotated[str, Meta(max_length=MAX_VALUE_LENGTH, pattern=r"^[^\u0000]*$")]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_VALUE_LENGTH)]
Count = Annotated[int, Meta(ge=0, le=MAX_TOKENS)]
TraceId = Annotated[str, Meta(pattern="^([0-9a-f]{32})?$", description="W3C trace id, hexadecimal")]
SpanId = Annotated[str, Meta(pattern="^([0-9a-f]{16})?$", description="W3C span id, hexadecimal")]
ReservationId = Annotated[str, Meta(min_length=1, max_length=128)]


class ReserveRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a call may cost, and whose it is. Its size is given by estimate or by tokens."""

    dimensions: Annotated[
        Mapping[Name, Value],
        Meta(max_length=64, description="Dimension -> value", examples=[{"team": "ml"}]),
    ] = {}
    estimate_usd: Usd | None = None
    provider: Value | None = None
    model: Value | None = None
    input_tokens: Count | None = None
    max_output_tokens: Count | None = None
    lifetime_seconds: Annotated[
        int, Meta(ge=1, le=86_400, description="How long the call may take")
    ] = 600
    trace_id: TraceId = ""
    span_id: SpanId = ""


class SettleRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """The call ended. With its trace and span, its row in the ledger replaces the reservation."""

    reservation_id: ReservationId
    cost_usd: Usd | None = None
    trace_id: TraceId = ""
    span_id: SpanId = ""


class ReleaseRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """The call was not sent."""

    reservation_id: ReservationId


class ReservedBudget(Struct):
    """A budget in which the call has reserved."""

    budget: str
    value: str
    limit_usd: Amount
    spent_usd: Amount
    reserved_usd: Amount
    resets_at: datetime | None


class Reservation(Struct):
    """Every matching budget has room, and the money is reserved."""

    reservation_id: str
    reserved_usd: Amount
    budgets: list[ReservedBudget]
    expires_at: datetime | None


class RefusingBudget(Struct):
    """A budget without room. Names and amounts of other organizations' budgets are null."""

    budget: str | None
    value: str | None
    reason: Annotated[str, Meta(description="limit: no room; unpriced: the call has no price")]
    limit_usd: Amount | None
    spent_usd: Amount | None
    reserved_usd: Amount | None
    needed_usd: Amount
    resets_at: datetime | None
    remedy: str


class Refused(Struct):
    """The call must not be sent: nothing was reserved."""

    code: int
    message: str
    budgets: list[RefusingBudget]


class Settled(Struct):
    """The reservation has the cost of its call, or its call is in the ledger."""

    reservation_id: str
    is_in_ledger: bool


class Released(Struct):
    """What was reserved is free."""

    reservation_id: str
    released_usd: Amount


class BudgetState(Struct):
    """One account of a budget in its current period."""

    budget: str
    value: str
    filters: dict[str, list[str]]
    each: str
    period: str
    days: int | None
    timezone: str
    action: str
    is_paused: bool
    limit_usd: Amount
    spent_usd: Amount
    unconfirmed_usd: Amount
    reserved_usd: Amount
    left_usd: Amount
    calls: int
    unpriced_calls: int
    unreserved_calls: int
    starts_at: datetime
    resets_at: datetime | None


class BudgetList(Struct):
    """The accounts that the client may see, the smallest share left first."""

    budgets: list[BudgetState]
    is_cut: bool


class Problem(Struct):
    """Why a request was not answered, as the service's other paths say it."""

    code: int
    message: str
