"""From the facts of a call and the price book to one ledger row.

The row's identity is derived, never drawn, so that a resend is the same row.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from tokenledger_exporter.costing import cost_columns
from tokenledger_exporter.dialects import read_call
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from tokenledger_exporter.prices import PriceBook
    from tokenledger_exporter.records import SpanRecord, SpoolHeader

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MAX_INTEGER: Final = 2**63 - 1


class LedgerRow(msgspec.Struct, frozen=True):
    """One row of `token_ledger_events`; fields are its columns, in COPY order."""

    event_id: UUID
    timestamp: datetime
    ended_at: datetime
    usage_hash: bytes
    trace_id: str
    span_id: str
    scope: str
    provider: str
    model: str
    request_model: str
    operation: str
    endpoint: str
    response_id: str
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    cache_write_1h_tokens: int | None
    reasoning_tokens: int | None
    audio_input_tokens: int | None
    cached_audio_tokens: int | None
    audio_output_tokens: int | None
    image_input_tokens: int | None
    cached_image_tokens: int | None
    image_output_tokens: int | None
    web_search_requests: int | None
    file_search_requests: int | None
    code_execution_requests: int | None
    audio_seconds: int | None
    input_characters: int | None
    images: int | None
    cost_usd: Decimal | None
    input_cost_usd: Decimal | None
    cached_cost_usd: Decimal | None
    cache_write_cost_usd: Decimal | None
    output_cost_usd: Decimal | None
    tool_cost_usd: Decimal | None
    reported_cost_usd: Decimal | None
    cost_status: str
    cost_note: str
    price_id: str
    service_tier: str
    inference_geo: str
    user_id: str
    session_id: str
    organization_id: str
    feature: str
    team: str
    project: str
    cost_center: str
    agent_id: str
    app_name: str
    release: str
    environment: str
    status: str
    error_type: str
    duration_ms: float
    time_to_first_token_ms: float | None
    usage: str | None
    details: str
    metadata: str
    ancestors: list[UUID] = []

    @property
    def month(self) -> str:
        """Suffix of the partition the row belongs to, UTC."""
        started = self.timestamp
        return _month(started.year, started.month)

    def as_json(self) -> str:
        """The whole row as JSON text, for the tables that keep rows set aside."""
        return json.dumps(msgspec.structs.asdict(self), default=_plain)


@cache
def _month(year: int, month: int) -> str:
    return f"{year:04}_{month:02}"


COLUMNS: Final = LedgerRow.__struct_fields__
"""Columns the writer fills, in order; the others have defaults."""


def build_row(
    record: SpanRecord, header: SpoolHeader, prices_of: Callable[[str], PriceBook]
) -> LedgerRow | None:
    """The priced row of a span; `None` if the span tells of no billable call.

    Args:
        record: the span.
        header: whose span it is.
        prices_of: gives a provider's price book.
    """
    call = read_call(record, header)
    if call is None:
        return None
    started_ns = _started_ns(record)
    started = _moment(started_ns)
    money = cost_columns(call, started, prices_of)
    tokens = {name: _bounded(value) for name, value in call.tokens._asdict().items()}
    values: dict[str, Any] = {
        "timestamp": started,
        "ended_at": _moment(record.end_ns),
        "trace_id": record.trace_id.hex(),
        "span_id": f"{record.span_id:016x}",
        "scope": record.scope,
        "provider": call.provider,
        "model": call.model,
        "request_model": call.request_model,
        "operation": call.operation,
        "response_id": call.response_id,
        **tokens,
        "total_tokens": _bounded(call.tokens.total_tokens),
        **money,
        "reported_cost_usd": call.reported_cost_usd,
        "service_tier": call.service_tier,
        "inference_geo": call.inference_geo,
        **call.dimensions,
        "status": "error" if call.failed else "success",
        "error_type": call.error_type,
        "duration_ms": (record.end_ns - record.start_ns) / 1e6,
        "time_to_first_token_ms": call.time_to_first_token_ms,
        "usage": call.usage,
        "details": json.dumps(call.details),
        "metadata": json.dumps(call.metadata),
    }
    values = {
        name: _clean(value) if isinstance(value, str) else value for name, value in values.items()
    }
    identity = _identity(record, started_ns, values["organization_id"])
    ancestors = [
        _event_id(start_ns, _span_identity(record.trace_id, span_id, start_ns))
        for span_id, start_ns in record.ancestors
    ]
    return LedgerRow(
        event_id=identity, usage_hash=_usage_hash(values), ancestors=ancestors, **values
    )


def _started_ns(record: SpanRecord) -> int:
    """When the call began: by the provider's clock where the emitter gives it with a call id.

    A result that is fetched twice is told by two spans; only that clock makes them one row.
    """
    told = record.attributes.get(attributes.CALL_STARTED_NS)
    if type(told) is int and 0 < told <= _MAX_INTEGER and attributes.CALL_ID in record.attributes:
        return told
    return record.start_ns


def _identity(record: SpanRecord, started_ns: int, organization_id: str) -> UUID:
    """UUIDv8: 48 bits of start milliseconds, then a hash, so that keys arrive nearly in order."""
    call_id = record.attributes.get(attributes.CALL_ID)
    if call_id:
        told = f"{organization_id}\x1f{call_id}"
    else:
        told = _span_identity(record.trace_id, record.span_id, started_ns)
    return _event_id(started_ns, told)


def _span_identity(trace_id: bytes, span_id: int, started_ns: int) -> str:
    return f"{trace_id.hex()}\x1f{span_id:x}\x1f{started_ns}"


def _event_id(started_ns: int, told: str) -> UUID:
    digest = hashlib.blake2b(told.encode(), digest_size=10, person=b"tl-event").digest()
    value = (started_ns // 1_000_000 & (1 << 48) - 1) << 80 | int.from_bytes(digest, "big")
    value = value & ~(0xF << 76) | 0x8 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


# Two tellings of a call that agree in these are one and the same; the cost is not among them,
# because a resend may meet another price book.
_BILLING_FIELDS: Final = (
    *("provider", "model", "operation", "service_tier", "status", "error_type", "response_id"),
    *("input_tokens", "output_tokens", "total_tokens", "cached_tokens", "cache_write_tokens"),
    *("cache_write_1h_tokens", "reasoning_tokens", "audio_input_tokens", "audio_output_tokens"),
    *("image_input_tokens", "image_output_tokens", "web_search_requests"),
    *("file_search_requests", "code_execution_requests"),
)
# These are told only where they have a value: the hash of a row without them stays what it was
# before the columns were there, so that a resend of such a row is still known.
_LATER_BILLING_FIELDS: Final = (
    *("cached_audio_tokens", "cached_image_tokens", "audio_seconds", "input_characters", "images"),
    "inference_geo",
)


def _usage_hash(values: dict[str, Any]) -> bytes:
    later = [name for name in _LATER_BILLING_FIELDS if values[name] not in {None, ""}]
    told = [f"{values[name]}" for name in _BILLING_FIELDS]
    told += [f"{name}={values[name]}" for name in later]
    text = "\x1f".join(told)
    return hashlib.blake2b(text.encode(), digest_size=16, person=b"tl-usage").digest()


def _moment(nanoseconds: int) -> datetime:
    # Integer microseconds: a float holds today's nanoseconds only to 256 ns.
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def _bounded(count: int | None) -> int | None:
    return None if count is None else min(count, _MAX_INTEGER)


def _clean(text: str) -> str:
    """Text Postgres can hold: no NUL, in the column or escaped inside JSON."""
    return text.replace("\x00", "\ufffd").replace("\\u0000", "\\ufffd")


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
