"""Requests with model calls of a known cost: gpt-4o, 1,000 input and 100 output tokens."""

from __future__ import annotations

import base64
import itertools
import json
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COST: Final = (Decimal("2.50") * 1_000 + Decimal("10.00") * 100) / 1_000_000
"""The cost of one call: $2.50 per million input tokens, $10 per million output tokens."""

_numbers = itertools.count(1)
_SECOND: Final = 1_000_000_000


def pairs(fields: Mapping[str, str | int]) -> Iterable[KeyValue]:
    for key, value in fields.items():
        if isinstance(value, str):
            yield KeyValue(key=key, value=AnyValue(string_value=value))
        else:
            yield KeyValue(key=key, value=AnyValue(int_value=value))


def call(fields: Mapping[str, str | int] | None = None, *, start_ns: int = 0) -> Span:
    """A new call that started a minute ago."""
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
                **(fields or {}),
            }
        ),
    )


def below(parent: Span, child: Span) -> Span:
    """The child as a span below the parent, in its trace."""
    child.trace_id, child.parent_span_id = parent.trace_id, parent.span_id
    return child


def other(fields: Mapping[str, str | int]) -> Span:
    """A new span that is not a model call."""
    span = call()
    del span.attributes[:]
    span.attributes.extend(pairs(fields))
    return span


def request_of(
    *spans: Span, scope: str = "my.app", resource: Mapping[str, str | int] | None = None
) -> ExportTraceServiceRequest:
    group = ScopeSpans(scope=InstrumentationScope(name=scope), spans=spans)
    owner = Resource(attributes=pairs({"service.name": "shop", **(resource or {})}))
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=owner, scope_spans=[group])]
    )


def body(*spans: Span) -> bytes:
    return request_of(*spans).SerializeToString()


def as_json(request: ExportTraceServiceRequest) -> bytes:
    """The request as OTLP/JSON, which is protobuf's JSON with hexadecimal ids."""
    message: dict[str, Any] = MessageToDict(request)
    for resource_spans in message.get("resourceSpans", ()):
        for group in resource_spans.get("scopeSpans", ()):
            for span in group.get("spans", ()):
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = base64.b64decode(span[name]).hex()
    return json.dumps(message).encode()


def nested(depth: int) -> bytes:
    """Encoded nested arrays; protobuf's own class cannot build them this deep."""
    data = b""
    for _ in range(depth):
        data = b"\x2a" + length(inner := b"\x0a" + length(data) + data) + inner
    return data


def wrapped(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return bytes([number << 3 | 2]) + length(data) + data


def deep_request(depth: int) -> bytes:
    """A request with one span that has one deeply nested attribute."""
    pair = wrapped(1, b"x") + wrapped(2, nested(depth))
    span = wrapped(1, b"t" * 16) + wrapped(2, b"s" * 8) + wrapped(9, pair)
    return wrapped(1, wrapped(2, wrapped(2, span)))


def deep_json(depth: int) -> bytes:
    """The same in OTLP/JSON."""
    value = '{"arrayValue":{"values":[' * depth + "]}}" * depth
    span = f'{{"attributes":[{{"key":"x","value":{value}}}]}}'
    return f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}'.encode()


def length(data: bytes) -> bytes:
    """The length of some bytes as a protobuf varint."""
    number, out = len(data), bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
