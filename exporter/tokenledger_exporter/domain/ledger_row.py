"""One row of the ledger: a billed call, or a part of one that is billed at other rates."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal
    from uuid import UUID


class LedgerRow(msgspec.Struct, frozen=True, gc=False):
    """One row of `token_ledger_events`; fields are its columns, in COPY order.

    Counts are in the order of the token vector, amounts in that of `Charge`, and attribution in
    that of the dimensions, so that each group is copied as it is.
    """

    event_id: UUID
    timestamp: datetime
    ended_at: datetime
    duration_ms: float | None
    time_to_first_token_ms: float | None
    usage_hash: bytes
    trace_id: str
    span_id: str
    ancestors: list[UUID]
    status: str
    total_tokens: int | None
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    cache_write_1h_tokens: int | None
    reasoning_tokens: int | None
    audio_input_tokens: int | None
    audio_output_tokens: int | None
    image_input_tokens: int | None
    image_output_tokens: int | None
    web_search_requests: int | None
    file_search_requests: int | None
    code_execution_requests: int | None
    audio_seconds: int | None
    input_characters: int | None
    images: int | None
    cached_audio_tokens: int | None
    cached_image_tokens: int | None
    reported_cost_usd: Decimal | None
    cost_usd: Decimal | None
    input_cost_usd: Decimal | None
    cached_cost_usd: Decimal | None
    cache_write_cost_usd: Decimal | None
    output_cost_usd: Decimal | None
    tool_cost_usd: Decimal | None
    cost_status: str
    price_id: str
    cost_note: str
    usage: str | None
    scope: str
    provider: str
    model: str
    request_model: str
    operation: str
    response_id: str
    service_tier: str
    inference_geo: str
    error_type: str
    token_organization_id: str
    details: str
    metadata: str
    user_id: str
    session_id: str
    organization_id: str
    project: str
    feature: str
    team: str
    cost_center: str
    agent_id: str
    endpoint: str
    app_name: str
    release: str
    environment: str

    @property
    def month(self) -> str:
        """Suffix of the partition the row belongs to, UTC."""
        started = self.timestamp
        return _month(started.year, started.month)

    def as_json(self) -> str:
        """The whole row as JSON text, for the tables of duplicates and quarantined rows."""
        finite = {name: _finite(value) for name, value in msgspec.structs.asdict(self).items()}
        return json.dumps(finite, default=_plain, allow_nan=False)


@cache
def _month(year: int, month: int) -> str:
    return f"{year:04}_{month:02}"


COLUMNS: Final = LedgerRow.__struct_fields__
"""The columns that the writer fills, in order; other columns have defaults."""


def _finite(value: object) -> object:
    """The value; None for NaN and infinity, which JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
