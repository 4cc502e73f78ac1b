"""Builds one ledger row from a call and the price book.

The row's identity is derived from its content, never random, so that a resend is the same row.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenledger_exporter.dialects import read_call
from tokenledger_exporter.dialects.bounds import MAX_STORED_NAME_LENGTH
from tokenledger_exporter.domain.ledger_row import COLUMNS, LedgerRow
from tokenledger_exporter.pricing.charge import charge
from tokenledger_exporter.rating import anthropic_models, openai_tools
from tokenledger_exporter.rating.billed_amounts import as_billed
from tokenledger_exporter.rating.identity import event_id_of, identity_of, span_event_id, usage_hash
from tokenledger_semconv import attributes
from tokenledger_semconv.dimensions import DIMENSIONS
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from tokenledger_exporter.dialects import CallFacts
    from tokenledger_exporter.domain.span_record import SpanRecord, SpoolHeader
    from tokenledger_exporter.pricing.book import PriceBook
    from tokenledger_exporter.pricing.charge import Charge

_dimensions: Final = itemgetter(*(d.column for d in DIMENSIONS if d.attribute))
_ENCODER: Final = msgspec.json.Encoder()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND: Final = timedelta(microseconds=1)
_UNFINISHED_NOTE: Final = "the call was sent, but no response was recorded"
_NO_TOKENS: Final = TokenVector()
# A longer duration, or a negative one, comes from a clock that is off.
_MAX_DURATION_NS: Final = 86_400 * 10**9
_MAX_DURATION_MS: Final = _MAX_DURATION_NS / 1e6


def build_rows(
    record: SpanRecord, header: SpoolHeader, prices_of: Callable[[str], PriceBook]
) -> list[LedgerRow]:
    """The priced row of a span's call, and one for each part that is billed at other rates.

    The list is empty if the span is not a billable call.

    Args:
        record: the span.
        header: the header of its segment.
        prices_of: returns a provider's price book.
    """
    call = read_call(record, header)
    if call is None:
        return []
    call = as_billed(call)
    source = header.source.encode()
    event_id, started_ns = identity_of(record, call.dimensions["organization_id"], source)
    started = _timestamp(started_ns)
    first, *others = (
        billed
        for part in anthropic_models.parts_of(call, started)
        for billed in openai_tools.parts_of(part)
    )
    if others and first.reported_cost_usd is not None:
        first = _without_reported_cost(first)
    rows = [_row(record, first, event_id, started, charge(first, started, prices_of), source)]
    for number, part in enumerate(others, start=1):
        part_id = event_id_of(started_ns, event_id.bytes + number.to_bytes(4, "big"))
        money = charge(part, started, prices_of)
        rows.append(_row(record, part, part_id, started, money, source, is_whole=False))
    return rows


def _row(  # noqa: PLR0913, PLR0917 - called once per row, by position
    record: SpanRecord,
    call: CallFacts,
    event_id: UUID,
    started: datetime,
    money: Charge,
    source: bytes,
    *,
    is_whole: bool = True,
) -> LedgerRow:
    """One row; a part of a call has no duration and no ancestors."""
    tokens = call.tokens if call.tokens.is_plausible else _NO_TOKENS
    took_ns = record.end_ns - record.start_ns
    is_timed = is_whole and 0 <= took_ns <= _MAX_DURATION_NS
    status = "error" if call.failed else "success"
    usage = call.usage
    texts = (
        record.scope[:MAX_STORED_NAME_LENGTH],
        call.provider,
        call.model,
        call.request_model,
        call.operation,
        call.response_id,
        call.service_tier,
        call.inference_geo,
        call.error_type,
        source.decode(),
        _json(call.details),
        _json(call.metadata),
        *_dimensions(call.dimensions),
    )
    note = money.note
    if not _are_storable(note, usage or "", *texts):
        note = _clean(note)
        usage, texts = usage and _clean(usage), tuple(map(_clean, texts))
    # In the order of the columns: by name, it would take twice as long.
    values: tuple[Any, ...] = (
        event_id,
        started,
        _timestamp(min(max(record.end_ns, record.start_ns), record.start_ns + _MAX_DURATION_NS)),
        took_ns / 1e6 if is_timed else None,
        call.time_to_first_token_ms,
        usage_hash(call, status, tokens),
        record.trace_id.hex(),
        f"{record.span_id:016x}",
        _ancestors(record, source) if record.ancestors and is_whole else [],
        status,
        tokens.total_tokens,
        *tokens,
        call.reported_cost_usd,
        *money.amounts,
        money.status,
        money.price_id,
        note,
        usage,
        *texts,
    )
    return LedgerRow(*values)


def _without_reported_cost(call: CallFacts) -> CallFacts:
    """The first part of a call: the cost that the provider reports is that of all parts."""
    details = {**call.details, attributes.REPORTED_COST: f"{call.reported_cost_usd:f}"}
    return msgspec.structs.replace(call, reported_cost_usd=None, details=details)


def unmeasured(row: LedgerRow) -> LedgerRow:
    """The row of a call whose end was never recorded: sent, but without a cost."""
    costs: dict[str, Any] = {name: None for name in COLUMNS if name.endswith("cost_usd")}
    status = {"cost_status": "unmeasured", "price_id": "", "cost_note": _UNFINISHED_NOTE}
    return msgspec.structs.replace(row, **costs, **status)


def _ancestors(record: SpanRecord, source: bytes) -> list[UUID]:
    return [
        span_event_id(record.trace_id, span_id, start_ns, source)
        for span_id, start_ns in record.ancestors
    ]


def _json(values: Mapping[str, object]) -> str:
    return _ENCODER.encode(values).decode() if values else "{}"


def _are_storable(*texts: str) -> bool:
    """Whether Postgres can store the texts: no NUL, also not escaped inside JSON."""
    text = "".join(texts)
    return "\x00" not in text and ("\\" not in text or "\\u0000" not in text)


def _timestamp(nanoseconds: int) -> datetime:
    # Integer microseconds: a float holds today's nanoseconds with a precision of 256 ns.
    return _EPOCH + _MICROSECOND * (nanoseconds // 1000)


def _clean(text: str) -> str:
    """The text with each NUL replaced, so that Postgres can store it."""
    return text.replace("\x00", "\ufffd").replace("\\u0000", "\\ufffd")
