"""The spool's wire format: headers and records as msgpack (0.6 us each with msgspec 0.22)."""

from __future__ import annotations

from typing import Final

import msgspec

from tokenledger_exporter.domain.span_record import SpanRecord, SpoolHeader
from tokenledger_exporter.spool.open_calls import START_MARK, is_start

FORMAT_VERSION: Final = 2
"""Format of header and records; a reader leaves segments of unknown formats in place."""


KNOWN_VERSIONS: Final = frozenset({1, 2})
"""Formats this release reads; format 1 has no records of calls that have not ended."""
_ENCODER: Final = msgspec.msgpack.Encoder()
_RECORD_DECODER: Final = msgspec.msgpack.Decoder(SpanRecord)
_HEADER_DECODER: Final = msgspec.msgpack.Decoder(SpoolHeader)


def decode_record(payload: bytes) -> SpanRecord:
    """A record back from its bytes; raises `msgspec.DecodeError` for anything else."""
    if not is_start(payload):
        return _RECORD_DECODER.decode(payload)
    record = _RECORD_DECODER.decode(payload[len(START_MARK) :])
    return msgspec.structs.replace(record, end_ns=record.start_ns)


def ended_ns(payload: bytes) -> int:
    """When a record's call ended, nanoseconds since 1970; 0 if it cannot be read."""
    try:
        return decode_record(payload).end_ns
    except msgspec.MsgspecError:
        return 0


def encode_header(header: SpoolHeader) -> bytes:
    """The header frame's bytes."""
    return _ENCODER.encode(header)


def decode_header(payload: bytes) -> SpoolHeader:
    """A header back from its bytes; raises `msgspec.DecodeError` for anything else."""
    return _HEADER_DECODER.decode(payload)
