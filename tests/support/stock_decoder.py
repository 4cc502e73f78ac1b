"""The plain reading of a request: the stock classes, then the way of every span in process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode

from tokenledger_exporter.recorder.encode import encode_span, is_model_call
from tokenledger_exporter.spool.codec import decode_record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from tokenledger_exporter.domain.span_record import SpanRecord


def records(body: bytes) -> list[SpanRecord]:
    """The records of a request's model calls."""
    found: list[SpanRecord] = []
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = Resource(attributes(of_resource.resource.attributes))
        for group in of_resource.scope_spans:
            scope = InstrumentationScope(
                group.scope.name, attributes=attributes(group.scope.attributes)
            )
            for one in group.spans:
                span = _span(one, resource, scope)
                if is_model_call(span):
                    found.append(decode_record(encode_span(span)))
    return found


def attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes by name, without those that no SDK can set."""
    told = ((pair.key, _plain(pair.value)) for pair in pairs)
    return {key: value for key, value in told if value is not None}


def _plain(value: AnyValue) -> Any:  # noqa: ANN401 - whatever an attribute may hold
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
        events=[Event(one.name, attributes(one.attributes)) for one in span.events],
        resource=resource,
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
        status=Status(
            StatusCode.ERROR if span.status.code == span.status.STATUS_CODE_ERROR else StatusCode.OK
        ),
        instrumentation_scope=scope,
    )
