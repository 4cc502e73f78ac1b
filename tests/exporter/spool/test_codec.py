"""Headers and records as bytes: what any release wrote is read back."""

from __future__ import annotations

import msgspec
import pytest

from tokenledger_exporter.domain.span_record import SpanRecord, SpoolHeader
from tokenledger_exporter.spool.codec import (
    FORMAT_VERSION,
    KNOWN_VERSIONS,
    decode_header,
    decode_record,
    encode_header,
    ended_ns,
)

RECORD = SpanRecord(
    trace_id=bytes(range(16)),
    span_id=7,
    parent_span_id=6,
    start_ns=1_000,
    end_ns=3_000,
    scope="tokenledger.openai",
    failed=False,
    attributes={"gen_ai.request.model": "gpt-4o"},
    resource={"service.name": "shop"},
    ancestors=((6, 900),),
    inherited={"user.id": "u1"},
)
BYTES = msgspec.msgpack.encode(RECORD)


def test_a_record_is_read_back() -> None:
    assert decode_record(BYTES) == RECORD


@pytest.mark.parametrize("mark", [b"\xc1S", b"\xc1C"], ids=["start", "copied start"])
def test_a_start_is_a_record_without_an_end(mark: bytes) -> None:
    assert decode_record(mark + BYTES) == msgspec.structs.replace(RECORD, end_ns=1_000)


def test_a_record_of_an_older_release_has_no_ancestors_and_inherits_nothing() -> None:
    older = msgspec.msgpack.encode(msgspec.msgpack.decode(BYTES)[:-1])
    expected = msgspec.structs.replace(RECORD, inherited=None)
    assert decode_record(older) == expected
    oldest = msgspec.msgpack.encode(msgspec.msgpack.decode(BYTES)[:-2])
    assert decode_record(oldest) == msgspec.structs.replace(expected, ancestors=())


@pytest.mark.parametrize("payload", [b"", b"\xc1S", BYTES[1:], b"\xc1X" + BYTES])
def test_other_bytes_are_no_record(payload: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_record(payload)


def test_a_header_is_read_back() -> None:
    header = SpoolHeader(format_version=2, ledger="abc", app_name="shop", defaults={"team": "a"})
    assert decode_header(encode_header(header)) == header
    assert msgspec.msgpack.decode(encode_header(header))["format_version"] == 2
    with pytest.raises(msgspec.DecodeError):
        decode_header(b"\xc1")


def test_formats_1_and_2_are_read_and_2_is_written() -> None:
    assert FORMAT_VERSION == 2
    assert {1, 2} == KNOWN_VERSIONS


def test_the_end_of_a_record_is_read_from_its_bytes_or_is_0() -> None:
    assert ended_ns(msgspec.msgpack.encode(RECORD)) == 3_000
    assert ended_ns(b"\xff") == 0
