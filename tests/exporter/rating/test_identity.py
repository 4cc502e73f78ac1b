"""A row's id and usage hash, byte by byte: a resend by any release must be the same row."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Any
from uuid import RFC_4122, UUID, SafeUUID

import msgspec
import pytest
from msgspec import structs

from support.ledger_rows import chat_attributes
from tokenledger_exporter.dialects import CallFacts
from tokenledger_exporter.domain.span_record import SpanRecord
from tokenledger_exporter.rating.identity import (
    event_id_of,
    identity_of,
    span_event_id,
    usage_hash,
)
from tokenledger_semconv import attributes
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from tokenledger_exporter.domain.span_record import AttributeValue

TRACE_ID = bytes(range(16))
SPAN_ID = 0x0123456789ABCDEF
# 2026-11-28 12:00:00.123456789 UTC: 1,795,867,200,123 ms.
STARTED_NS = 1_795_867_200_123_456_789
LARGEST = 9_223_372_036_854_775_807
"""The largest integer of 64 bits with a sign, which Postgres and protobuf hold."""
SPAN_BYTES = TRACE_ID + bytes.fromhex("0123456789abcdef") + struct.pack(">Q", STARTED_NS)


def expected_id(milliseconds: int, hashed: bytes) -> UUID:
    """UUIDv8: 12 digits of milliseconds, then digits of the hash around the version and variant."""
    digest = hashlib.blake2b(hashed, digest_size=10, person=b"tl-event").hexdigest()
    variant = "89ab"[int(digest[4], 16) & 0b11]
    return UUID(f"{milliseconds:012x}8{digest[1:4]}{variant}{digest[5:]}")


def span(**more: AttributeValue) -> SpanRecord:
    return SpanRecord(
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
        parent_span_id=0,
        start_ns=STARTED_NS,
        end_ns=STARTED_NS + 1,
        scope="tokenledger.openai",
        failed=False,
        attributes=chat_attributes(**more),
        resource={},
    )


def identified(call_id: str, **more: AttributeValue) -> SpanRecord:
    return structs.replace(
        span(), attributes={**chat_attributes(), attributes.CALL_ID: call_id, **more}
    )


@pytest.mark.parametrize("content", [bytes([number]) for number in range(24)])
def test_an_id_is_the_millisecond_of_the_start_and_a_hash(content: bytes) -> None:
    event_id = event_id_of(STARTED_NS, content)
    assert event_id == expected_id(1_795_867_200_123, content)
    assert (event_id.version, event_id.variant) == (8, RFC_4122)
    assert event_id.is_safe is SafeUUID.unknown


def test_ids_of_an_older_release_stay_the_same() -> None:
    assert str(event_id_of(STARTED_NS, b"x")) == "01a22206-ca7b-8cb0-b6a8-9145ee149f5e"


def test_a_start_with_more_than_48_bits_of_milliseconds_keeps_the_low_ones() -> None:
    too_late = (2**48 + 7) * 1_000_000
    assert event_id_of(too_late, b"x") == expected_id(7, b"x")
    assert event_id_of((2**48 - 1) * 1_000_000, b"x") == expected_id(2**48 - 1, b"x")


def test_a_span_is_hashed_with_its_ids_its_start_and_its_source() -> None:
    expected = expected_id(1_795_867_200_123, SPAN_BYTES + b"acme")
    assert span_event_id(TRACE_ID, SPAN_ID, STARTED_NS, b"acme") == expected


def test_a_start_of_64_bits_is_hashed_without_the_highest() -> None:
    started_ns = 2**63 + 5
    hashed = TRACE_ID + bytes.fromhex("0123456789abcdef") + struct.pack(">Q", 5)
    expected = expected_id(started_ns // 1_000_000 % 2**48, hashed)
    assert span_event_id(TRACE_ID, SPAN_ID, started_ns, b"") == expected


def test_a_call_without_an_id_of_its_own_is_identified_by_its_span() -> None:
    expected = expected_id(1_795_867_200_123, SPAN_BYTES), STARTED_NS
    assert identity_of(span(), "acme", b"") == expected
    assert identity_of(identified(""), "acme", b"") == expected
    clock_only = span(**{attributes.CALL_STARTED_NS: 5_000_000})
    assert identity_of(clock_only, "acme", b"") == expected


def test_a_call_id_identifies_it_within_its_organization() -> None:
    expected = expected_id(1_795_867_200_123, b"acme\x1fbatch-1")
    assert identity_of(identified("batch-1"), "acme", b"") == (expected, STARTED_NS)


def test_a_tenants_report_has_an_id_of_its_own() -> None:
    expected = expected_id(1_795_867_200_123, b"globex\x1eacme\x1fbatch-1")
    assert identity_of(identified("batch-1"), "acme", b"globex") == (expected, STARTED_NS)
    expected = expected_id(1_795_867_200_123, SPAN_BYTES + b"globex")
    assert identity_of(span(), "acme", b"globex") == (expected, STARTED_NS)
    assert identity_of(identified(""), "acme", b"globex") == (expected, STARTED_NS)


@pytest.mark.parametrize("clock_ns", [1, 5_000_000, LARGEST])
def test_the_providers_start_time_comes_with_the_call_id(clock_ns: int) -> None:
    record = identified("batch-1", **{attributes.CALL_STARTED_NS: clock_ns})
    milliseconds = clock_ns // 1_000_000
    expected = expected_id(milliseconds, b"acme\x1fbatch-1"), clock_ns
    assert identity_of(record, "acme", b"") == expected


@pytest.mark.parametrize("clock_ns", [0, -1, LARGEST + 1, True, 5.0, "5"])
def test_an_absurd_start_time_is_ignored(clock_ns: AttributeValue) -> None:
    record = identified("batch-1", **{attributes.CALL_STARTED_NS: clock_ns})
    expected = expected_id(1_795_867_200_123, b"acme\x1fbatch-1"), STARTED_NS
    assert identity_of(record, "acme", b"") == expected


def facts(**fields: Any) -> CallFacts:  # noqa: ANN401 - any field of a call
    defaults: dict[str, Any] = {
        "provider": "openai",
        "model": "gpt-4o",
        "request_model": "gpt-4o",
        "operation": "chat",
        "response_id": "chatcmpl-1",
        "tokens": TokenVector(),
        "missing_usage": "",
        "refused": False,
        "failed": False,
        "error_type": "timeout",
        "service_tier": "flex",
        "time_to_first_token_ms": None,
        "usage": None,
        "estimated": False,
        "reported_cost_usd": None,
        "inference_geo": "",
        "details": {},
        "dimensions": {},
        "metadata": {},
    }
    return CallFacts(**(defaults | fields))


def hash_of(*values: object) -> bytes:
    packed = msgspec.msgpack.encode(values)
    return hashlib.blake2b(packed, digest_size=16, person=b"tl-usage").digest()


NAMES = ("openai", "gpt-4o", "chat", "flex", "priced", "timeout", "chatcmpl-1")
FIRST = TokenVector(*range(1, 14))
"""The 13 counts of the first release."""


def test_the_first_counts_are_hashed_in_their_order() -> None:
    assert usage_hash(facts(), "priced", FIRST) == hash_of(*NAMES, tuple(range(1, 14)))
    assert usage_hash(facts(), "priced", TokenVector()) == hash_of(*NAMES, (None,) * 13)


def test_a_later_count_is_hashed_by_its_name_if_it_has_a_value() -> None:
    tokens = FIRST._replace(audio_seconds=0, cached_image_tokens=7)
    later = [("audio_seconds", 0), ("cached_image_tokens", 7)]
    expected = hash_of(*NAMES, tuple(range(1, 14)), later, "")
    assert usage_hash(facts(), "priced", tokens) == expected


def test_the_place_of_inference_is_hashed() -> None:
    expected = hash_of(*NAMES, tuple(range(1, 14)), [], "eu")
    assert usage_hash(facts(inference_geo="eu"), "priced", FIRST) == expected


@pytest.mark.parametrize(
    "name", ["provider", "model", "operation", "service_tier", "error_type", "response_id"]
)
def test_another_report_has_another_hash(name: str) -> None:
    changed = usage_hash(facts(**{name: "other"}), "priced", FIRST)
    assert changed != usage_hash(facts(), "priced", FIRST)
    assert usage_hash(facts(), "partial", FIRST) != usage_hash(facts(), "priced", FIRST)
