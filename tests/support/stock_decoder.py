"""A reference decoder: protobuf's own classes, then the encoder of spans in the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode

from tokenledger_exporter.recorder.encode import encode_span, is_model_call
from tokenledger_exporter.recorder.inherited import inherited_in
from tokenledger_exporter.spool.codec import decode_record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from tokenledger_exporter.domain.span_record import SpanRecord


def records(body: bytes) -> list[SpanRecord]:
    """The records of a request's model calls."""
    spans: list[ReadableSpan] = []
    for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = Resource(attributes(resource_spans.resource.attributes))
        for group in resource_spans.scope_spans:
            scope = InstrumentationScope(
                group.scope.name, attributes=attributes(group.scope.attributes)
            )
            spans += [_span(proto_span, resource, scope) for proto_span in group.spans]
    attribution_above = inherited_in(spans)
    return [
        decode_record(encode_span(span, attribution_above(span)))
        for span in spans
        if is_model_call(span)
    ]


def attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes by name, without values that SDKs cannot set."""
    values = ((pair.key, _plain(pair.value)) for pair in pairs)
    return {key: value for key, value in values if value is not None}


def _plain(value: AnyValue) -> Any:  # noqa: ANN401 - any type of an attribute value
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_plain(item) for item in value.array_value.values)
    if kind is None or kind in {"kvlist_value", "bytes_value"}:
        return None
    return getattr(value, kind)


def _span(span: Span, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    trace_id = int.from_bytes(span.trace_id, "big")
    parent = int.from_bytes(span.parent_span_id, "big")
    return ReadableSpan(
        span.name,
        context=SpanContext(trace_id, int.from_bytes(span.span_id, "big"), is_remote=False),
        parent=SpanContext(trace_id, parent, is_remote=False) if parent else None,
        attributes=attributes(span.attributes),
        events=[Event(event.name, attributes(event.attributes)) for event in span.events],
        resource=resource,
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
        status=Status(
            StatusCode.ERROR if span.status.code == span.status.STATUS_CODE_ERROR else StatusCode.OK
        ),
        instrumentation_scope=scope,
    )
