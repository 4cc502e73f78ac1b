"""Derives a row's id and usage hash from its call, so that a resend is the same row."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Final
from uuid import UUID, SafeUUID

import msgspec

from tokenledger_semconv import attributes
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from tokenledger_exporter.dialects import CallFacts
    from tokenledger_exporter.domain.span_record import SpanRecord

_PACKER: Final = msgspec.msgpack.Encoder()
_MAX_INTEGER: Final = 2**63 - 1
# UUID forbids setting attributes by name.
_set_int: Final = vars(UUID)["int"].__set__
_set_safety: Final = vars(UUID)["is_safe"].__set__
# Copying a hash object takes a third of the time of creating one.
_EVENT_HASH: Final = hashlib.blake2b(digest_size=10, person=b"tl-event")
_USAGE_HASH: Final = hashlib.blake2b(digest_size=16, person=b"tl-usage")
_SPAN: Final = struct.Struct(">16sQQ")
# The bits of a UUID that say version 8 (custom) and variant 1 (RFC 9562, read 2026-11-25).
_VERSION: Final = 0x8 << 76 | 0x2 << 62
_UNVERSIONED: Final = ~(0xF << 76 | 0x3 << 62)
# The counts of the first release. Later counts are hashed only if they have a value: the hash of a
# row without them stays the same, so a resend of it is still recognized.
_FIRST_COUNTS: Final = 13
_NO_LATER_COUNTS: Final = (None,) * (len(TokenVector._fields) - _FIRST_COUNTS)


def identity_of(record: SpanRecord, organization_id: str, source: bytes) -> tuple[UUID, int]:
    """The id of a call's row, and when the call began, in nanoseconds since 1970.

    The id comes from the call's own id within its organization, if the emitter reports one, else
    from the span. A result that is fetched twice is reported by two spans: the provider's start
    time, which the emitter reports with the call id, makes them one row. Reports that come with a
    tenant's token have ids of their own, so that naming another's span cannot replace its row.
    """
    span_attributes, started_ns = record.attributes, record.start_ns
    if attributes.CALL_ID not in span_attributes:
        return span_event_id(record.trace_id, record.span_id, started_ns, source), started_ns
    clock_ns = span_attributes.get(attributes.CALL_STARTED_NS)
    call_id = span_attributes[attributes.CALL_ID]
    if type(clock_ns) is int and 0 < clock_ns <= _MAX_INTEGER:
        started_ns = clock_ns
    if not call_id:
        return span_event_id(record.trace_id, record.span_id, started_ns, source), started_ns
    name = f"{organization_id}\x1f{call_id}".encode()
    return event_id_of(started_ns, source + b"\x1e" + name if source else name), started_ns


def span_event_id(trace_id: bytes, span_id: int, started_ns: int, source: bytes) -> UUID:
    """The id of a row that is identified by its span."""
    span = _SPAN.pack(trace_id, span_id, started_ns & _MAX_INTEGER)
    return event_id_of(started_ns, span + source)


def event_id_of(started_ns: int, identity: bytes) -> UUID:
    """UUIDv8: 48 bits of start milliseconds, then a hash, so that keys arrive nearly in order."""
    hashed = _EVENT_HASH.copy()
    hashed.update(identity)
    value = (started_ns // 1_000_000 & (1 << 48) - 1) << 80 | int.from_bytes(hashed.digest(), "big")
    # What the constructor does, without its checks of the arguments.
    event_id = object.__new__(UUID)
    _set_int(event_id, value & _UNVERSIONED | _VERSION)
    _set_safety(event_id, SafeUUID.unknown)
    return event_id


def usage_hash(call: CallFacts, status: str, tokens: TokenVector) -> bytes:
    """Rows with an equal usage hash are the same report; a resend is ignored.

    The cost is not part of it, because a resend may be priced by another price book.
    """
    later = tokens[_FIRST_COUNTS:]
    hashed_values: tuple[object, ...] = (
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
        hashed_values = (*hashed_values, counted, call.inference_geo)
    hashed = _USAGE_HASH.copy()
    hashed.update(_PACKER.encode(hashed_values))
    return hashed.digest()
