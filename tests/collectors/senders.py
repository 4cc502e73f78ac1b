"""Spans for a Collector, sent by the OTLP exporters of the Python SDK."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Literal

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

from support.ledger_rows import chat_attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

SERVICE: Final = "sender"
"""The service name of the spans."""

_SECONDS: Final = 20
_MAX_ATTEMPTS: Final = 100


def model_calls(count: int, *, failed: bool = False, **attributes: str) -> list[ReadableSpan]:
    """Finished gpt-4o calls of 1,000 input and 100 output tokens, each in its own trace."""
    return _finished_spans(count, "chat gpt-4o", chat_attributes(**attributes), failed=failed)


def requests(count: int) -> list[ReadableSpan]:
    """Finished spans that are not model calls."""
    return _finished_spans(count, "GET /", {"http.request.method": "GET"}, failed=False)


def request_with_a_call(user: str) -> list[ReadableSpan]:
    """A model call, the step above it, and the request above both, which names the user."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": SERVICE}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("some.instrumentation")
    call: dict[str, Any] = dict(chat_attributes())
    with (
        tracer.start_as_current_span("POST /ask", attributes={"enduser.id": user}),
        tracer.start_as_current_span("answer"),
    ):
        tracer.start_span("chat gpt-4o", attributes=call).end()
    return list(exporter.get_finished_spans())


def _finished_spans(
    count: int, name: str, attributes: dict[str, Any], *, failed: bool
) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": SERVICE}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("some.instrumentation")
    for _ in range(count):
        span = tracer.start_span(name, attributes=attributes)
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end()
    return list(exporter.get_finished_spans())


def send(
    spans: Sequence[ReadableSpan], endpoint: str, *, by: Literal["http", "grpc"] = "http"
) -> None:
    """Send the spans once; the receiver must accept all of them."""
    exporter = _exporter(endpoint, by)
    try:
        assert exporter.export(spans) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()


def _exporter(endpoint: str, by: Literal["http", "grpc"]) -> SpanExporter:
    if by == "grpc":
        return GrpcExporter(endpoint, insecure=True, timeout=_SECONDS)
    return HttpExporter(f"{endpoint}/v1/traces", timeout=_SECONDS)


class RetryingSender:
    """Resends each batch until it is accepted, as an app's exporter with a queue does."""

    def __init__(self, endpoint: str) -> None:
        self._url: Final = f"{endpoint}/v1/traces"
        self.attempts = 0

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        """Send the spans until they are accepted."""
        for _ in range(_MAX_ATTEMPTS):
            self.attempts += 1
            exporter = HttpExporter(self._url, timeout=2)
            try:
                if exporter.export(spans) is SpanExportResult.SUCCESS:
                    return
            finally:
                exporter.shutdown()  # type: ignore[no-untyped-call]  # untyped in OpenTelemetry
            # The receiver is restarting.
            time.sleep(0.1)
        raise AssertionError(f"the spans were not accepted in {_MAX_ATTEMPTS} attempts")
