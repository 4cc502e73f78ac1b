"""Requests with model calls whose price is known: gpt-4o, 1,000 tokens in and 100 out."""

from __future__ import annotations

import itertools
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
import base64
import json
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict

COST: Final = (Decimal("2.50") * 1_000 + Decimal("10.00") * 100) / 1_000_000
"""What one call costs: $2.50 a million tokens in, $10 out."""

_numbers = itertools.count(1)
_SECOND: Final = 1_000_000_000


def pairs(told: Mapping[str, str | int]) -> Iterable[KeyValue]:
    for key, value in told.items():
        if isinstance(value, str):
            yield KeyValue(key=key, value=AnyValue(string_value=value))
        else:
            yield KeyValue(key=key, value=AnyValue(int_value=value))


def call(told: Mapping[str, str | int] | None = None, *, start_ns: int = 0) -> Span:
    """A call of its own, which ended a minute ago."""
    started = start_ns or time.time_ns() - 60 * _SECOND
    number = next(_numbers)
    return Span(
        trace_id=number.to_bytes(8, "big") + time.time_ns().to_bytes(8, "big"),
        span_id=number.to_bytes(8, "big"),
        start_time_unix_nano=started,
        end_time_unix_nano=started + _SECOND,
        attributes=pairs(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",
                "gen_ai.response.model": "gpt-4o",
                "gen_ai.usage.input_tokens": 1_000,
                "gen_ai.usage.output_tokens": 100,
                **(told or {}),
            }
        ),
    )


def request_of(*spans: Span, scope: str = "my.app") -> ExportTraceServiceRequest:
    group = ScopeSpans(scope=InstrumentationScope(name=scope), spans=spans)
    resource = Resource(attributes=pairs({"service.name": "shop"}))
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=resource, scope_spans=[group])]
    )


def body(*spans: Span) -> bytes:
    return request_of(*spans).SerializeToString()


def as_json(request: ExportTraceServiceRequest) -> bytes:
    """OTLP/JSON: protobuf's, with the ids in hexadecimal."""
    told: dict[str, Any] = MessageToDict(request)
    for of_resource in told.get("resourceSpans", ()):
        for group in of_resource.get("scopeSpans", ()):
            for span in group.get("spans", ()):
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = base64.b64decode(span[name]).hex()
    return json.dumps(told).encode()


def nested(depth: int) -> bytes:
    """Arrays in arrays as encoded bytes: the stock class cannot build them that deep."""
    data = b""
    for _ in range(depth):
        data = b"\x2a" + length(inner := b"\x0a" + length(data) + data) + inner
    return data


def wrapped(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return bytes([number << 3 | 2]) + length(data) + data


def deep_request(depth: int) -> bytes:
    """A request with one span that has one attribute, so deep."""
    pair = wrapped(1, b"x") + wrapped(2, nested(depth))
    span = wrapped(1, b"t" * 16) + wrapped(2, b"s" * 8) + wrapped(9, pair)
    return wrapped(1, wrapped(2, wrapped(2, span)))


def deep_json(depth: int) -> bytes:
    """The same in OTLP/JSON."""
    value = '{"arrayValue":{"values":[' * depth + "]}}" * depth
    span = f'{{"attributes":[{{"key":"x","value":{value}}}]}}'
    return f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}'.encode()


def length(data: bytes) -> bytes:
    """A protobuf varint of how long some bytes are."""
    number, out = len(data), bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
