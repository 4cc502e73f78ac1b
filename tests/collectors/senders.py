"""Spans for a Collector, by the OTLP exporters of the Python SDK."""

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
"""Whose spans they are."""

_SECONDS: Final = 20
_TRIES: Final = 100


def model_calls(count: int, *, failed: bool = False, **more: str) -> list[ReadableSpan]:
    """Ended gpt-4o calls of 1,000 tokens in and 100 out, one trace each."""
    return _ended(count, "chat gpt-4o", chat_attributes(**more), failed=failed)


def requests(count: int) -> list[ReadableSpan]:
    """Ended spans that are no model calls."""
    return _ended(count, "GET /", {"http.request.method": "GET"}, failed=False)


def _ended(count: int, name: str, told: dict[str, Any], *, failed: bool) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": SERVICE}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("some.instrumentation")
    for _ in range(count):
        span = tracer.start_span(name, attributes=told)
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end()
    return list(exporter.get_finished_spans())


def send(
    spans: Sequence[ReadableSpan], endpoint: str, *, by: Literal["http", "grpc"] = "http"
) -> None:
    """Send them once; whoever answers has taken all of them."""
    exporter = _exporter(endpoint, by)
    try:
        assert exporter.export(spans) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()


def _exporter(endpoint: str, by: Literal["http", "grpc"]) -> SpanExporter:
    if by == "grpc":
        return GrpcExporter(endpoint, insecure=True, timeout=_SECONDS)
    return HttpExporter(f"{endpoint}/v1/traces", timeout=_SECONDS)


class PatientSender:
    """Sends batches as an app's exporter with its own queue does: again until one is taken."""

    def __init__(self, endpoint: str) -> None:
        self._url: Final = f"{endpoint}/v1/traces"
        self.tries = 0

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        """Send them until somebody takes them."""
        for _ in range(_TRIES):
            self.tries += 1
            exporter = HttpExporter(self._url, timeout=2)
            try:
                if exporter.export(spans) is SpanExportResult.SUCCESS:
                    return
            finally:
                exporter.shutdown()  # type: ignore[no-untyped-call]  # OpenTelemetry has no types here
            # The other side is being started again.
            time.sleep(0.1)
        raise AssertionError(f"nobody took them in {_TRIES} tries")
