"""From the facts of a call and the price book to one ledger row.

The row's identity is derived, never drawn, so that a resend is the same row.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from datetime import datetime, timedelta, timezone
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, SafeUUID

import msgspec

from tokenledger_exporter.dialects import read_call
from tokenledger_exporter.dialects.bounds import MOST_NAME_LETTERS
from tokenledger_exporter.pricing.charge import charge
from tokenledger_exporter.rating import anthropic_models, openai_tools
from tokenledger_semconv import attributes
from tokenledger_semconv.dimensions import DIMENSIONS
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from tokenledger_exporter.dialects import CallFacts
    from tokenledger_exporter.domain.span_record import SpanRecord, SpoolHeader
    from tokenledger_exporter.pricing.book import PriceBook
    from tokenledger_exporter.pricing.charge import Charge

_dimensions: Final = itemgetter(*(d.column for d in DIMENSIONS if d.attribute))
_ENCODER: Final = msgspec.json.Encoder()
_PACKER: Final = msgspec.msgpack.Encoder()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND: Final = timedelta(microseconds=1)
_UNFINISHED_NOTE: Final = "the call was sent and its end was never seen"
_MAX_INTEGER: Final = 2**63 - 1
_NO_TOKENS: Final = TokenVector()
# A call that seems to have taken longer, or less than no time, was told of by a clock that is off.
_LONGEST_NS: Final = 86_400 * 10**9
_LONGEST_MS: Final = _LONGEST_NS / 1e6


class LedgerRow(msgspec.Struct, frozen=True, gc=False):
    """One row of `token_ledger_events`; fields are its columns, in COPY order.

    Counts stand in the order of the token vector, amounts in that of `Charge`, and whom the call is
    for in that of the dimensions, so that each is taken over as it is.
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
        """The whole row as JSON text, for the tables that keep rows set aside."""
        finite = {name: _finite(value) for name, value in msgspec.structs.asdict(self).items()}
        return json.dumps(finite, default=_plain, allow_nan=False)


@cache
def _month(year: int, month: int) -> str:
    return f"{year:04}_{month:02}"


COLUMNS: Final = LedgerRow.__struct_fields__
"""Columns the writer fills, in order; the others have defaults."""


def build_rows(
    record: SpanRecord, header: SpoolHeader, prices_of: Callable[[str], PriceBook]
) -> list[LedgerRow]:
    """The priced row of a span's call, and one for whatever its answer bills at other rates.

    Empty if the span tells of no billable call.

    Args:
        record: the span.
        header: whose span it is.
        prices_of: gives a provider's price book.
    """
    call = read_call(record, header)
    if call is None:
        return []
    source = header.source.encode()
    event_id, started_ns = _identity(record, call.dimensions["organization_id"], source)
    started = _moment(started_ns)
    first, *further = (
        each
        for part in anthropic_models.parts_of(call, started)
        for each in openai_tools.parts_of(part)
    )
    rows = [_row(record, first, event_id, started, charge(first, started, prices_of), source)]
    for number, part in enumerate(further, start=1):
        part_id = _event_id(started_ns, event_id.bytes + number.to_bytes(4, "big"))
        money = charge(part, started, prices_of)
        rows.append(_row(record, part, part_id, started, money, source, is_whole=False))
    return rows


def _row(  # noqa: PLR0913, PLR0917 - asked once a row, by position
    record: SpanRecord,
    call: CallFacts,
    event_id: UUID,
    started: datetime,
    money: Charge,
    source: bytes,
    *,
    is_whole: bool = True,
) -> LedgerRow:
    """One row; of a part of a call, how long it took and who else told of it is not known."""
    tokens = call.tokens if call.tokens.is_plausible else _NO_TOKENS
    took_ns = record.end_ns - record.start_ns
    is_timed = is_whole and 0 <= took_ns <= _LONGEST_NS
    status = "error" if call.failed else "success"
    usage = call.usage
    texts = (
        record.scope[:MOST_NAME_LETTERS],
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
    # Column by column, in their order: by name, each would cost as much again.
    values: tuple[Any, ...] = (
        event_id,
        started,
        _moment(min(max(record.end_ns, record.start_ns), record.start_ns + _LONGEST_NS)),
        took_ns / 1e6 if is_timed else None,
        call.time_to_first_token_ms,
        _usage_hash(call, status, tokens),
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


def unmeasured(row: LedgerRow) -> LedgerRow:
    """What is known of a call that never ended: that it was sent, when, by whom and for whom."""
    nothing: dict[str, Any] = {name: None for name in COLUMNS if name.endswith("cost_usd")}
    told = {"cost_status": "unmeasured", "price_id": "", "cost_note": _UNFINISHED_NOTE}
    return msgspec.structs.replace(row, **nothing, **told)


def _ancestors(record: SpanRecord, source: bytes) -> list[UUID]:
    return [
        _span_event_id(record.trace_id, span_id, start_ns, source)
        for span_id, start_ns in record.ancestors
    ]


def _json(told: Mapping[str, object]) -> str:
    return _ENCODER.encode(told).decode() if told else "{}"


def _are_storable(*texts: str) -> bool:
    """Whether none holds what Postgres cannot: a NUL, also escaped inside JSON."""
    text = "".join(texts)
    return "\x00" not in text and ("\\" not in text or "\\u0000" not in text)


def _identity(record: SpanRecord, organization_id: str, source: bytes) -> tuple[UUID, int]:
    """Of the span, or of the call's own id within its organization; and when the call began.

    A result that is fetched twice is told by two spans; only the provider's clock, where the
    emitter gives it with a call id, makes them one row. What comes with a tenant's token has
    identities of its own: nobody takes the place of a row by naming its span.
    """
    found, started_ns = record.attributes, record.start_ns
    if attributes.CALL_ID not in found:
        return _span_event_id(record.trace_id, record.span_id, started_ns, source), started_ns
    clock_ns, call_id = found.get(attributes.CALL_STARTED_NS), found[attributes.CALL_ID]
    if type(clock_ns) is int and 0 < clock_ns <= _MAX_INTEGER:
        started_ns = clock_ns
    if not call_id:
        return _span_event_id(record.trace_id, record.span_id, started_ns, source), started_ns
    name = f"{organization_id}\x1f{call_id}".encode()
    return _event_id(started_ns, source + b"\x1e" + name if source else name), started_ns


def _span_event_id(trace_id: bytes, span_id: int, started_ns: int, source: bytes) -> UUID:
    span = _SPAN.pack(trace_id, span_id, started_ns & _MAX_INTEGER)
    return _event_id(started_ns, span + source)


def _event_id(started_ns: int, told: bytes) -> UUID:
    """UUIDv8: 48 bits of start milliseconds, then a hash, so that keys arrive nearly in order."""
    hashed = _EVENT_HASH.copy()
    hashed.update(told)
    value = (started_ns // 1_000_000 & (1 << 48) - 1) << 80 | int.from_bytes(hashed.digest(), "big")
    # As its constructor does, without the questions it asks first.
    made = object.__new__(UUID)
    _set_int(made, value & _UNVERSIONED | _VERSION)
    _set_safety(made, SafeUUID.unknown)
    return made


# A UUID refuses to be changed by name.
_set_int: Final = vars(UUID)["int"].__set__
_set_safety: Final = vars(UUID)["is_safe"].__set__


# A hash object is copied in a third of the time it is made in.
_EVENT_HASH: Final = hashlib.blake2b(digest_size=10, person=b"tl-event")
_USAGE_HASH: Final = hashlib.blake2b(digest_size=16, person=b"tl-usage")
_SPAN: Final = struct.Struct(">16sQQ")

# The bits of a UUID that say version 8 (custom) and variant 1 (RFC 9562, read 2026-11-25).
_VERSION: Final = 0x8 << 76 | 0x2 << 62
_UNVERSIONED: Final = ~(0xF << 76 | 0x3 << 62)


# The counts every release knew. Later ones are told only where they have a value: the hash of a row
# without them stays what it was, so that a resend of such a row is still known.
_FIRST_COUNTS: Final = 13
_NO_LATER_COUNTS: Final = (None,) * (len(TokenVector._fields) - _FIRST_COUNTS)


def _usage_hash(call: CallFacts, status: str, tokens: TokenVector) -> bytes:
    """Two tellings of a call that agree in what is hashed here are one and the same.

    The cost is not among it, because a resend may meet another price book.
    """
    later = tokens[_FIRST_COUNTS:]
    told: tuple[object, ...] = (
        call.provider,
        call.model,
        call.operation,
        call.service_tier,
        status,
        call.error_type,
        call.response_id,
        tokens[:_FIRST_COUNTS],
    )
    if later != _NO_LATER_COUNTS or call.inference_geo:
        names = TokenVector._fields[_FIRST_COUNTS:]
        counted = [pair for pair in zip(names, later, strict=True) if pair[1] is not None]
        told = (*told, counted, call.inference_geo)
    hashed = _USAGE_HASH.copy()
    hashed.update(_PACKER.encode(told))
    return hashed.digest()


def _moment(nanoseconds: int) -> datetime:
    # Integer microseconds: a float holds today's nanoseconds only to 256 ns.
    return _EPOCH + _MICROSECOND * (nanoseconds // 1000)


def _clean(text: str) -> str:
    """Text Postgres can hold."""
    return text.replace("\x00", "\ufffd").replace("\\u0000", "\\ufffd")


def _finite(value: object) -> object:
    """The value; None for a number that JSON has no word for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
