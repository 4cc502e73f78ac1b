"""Derives a row's identity from the call, so that a resend is the same row."""

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


def identity_of(record: SpanRecord, organization_id: str, source: bytes) -> tuple[UUID, int]:
    """Of the span, or of the call's own id within its organization; and when the call began.

    A result that is fetched twice is told by two spans; only the provider's clock, where the
    emitter gives it with a call id, makes them one row. What comes with a tenant's token has
    identities of its own: nobody takes the place of a row by naming its span.
    """
    found, started_ns = record.attributes, record.start_ns
    if attributes.CALL_ID not in found:
        return span_event_id(record.trace_id, record.span_id, started_ns, source), started_ns
    clock_ns, call_id = found.get(attributes.CALL_STARTED_NS), found[attributes.CALL_ID]
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


def event_id_of(started_ns: int, told: bytes) -> UUID:
    """UUIDv8: 48 bits of start milliseconds, then a hash, so that keys arrive nearly in order."""
    hashed = _EVENT_HASH.copy()
    hashed.update(told)
    value = (started_ns // 1_000_000 & (1 << 48) - 1) << 80 | int.from_bytes(hashed.digest(), "big")
    # As its constructor does, without the questions it asks first.
    made = object.__new__(UUID)
    _set_int(made, value & _UNVERSIONED | _VERSION)
    _set_safety(made, SafeUUID.unknown)
    return made


def usage_hash(call: CallFacts, status: str, tokens: TokenVector) -> bytes:
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
