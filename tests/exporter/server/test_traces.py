"""Spans of any sender become rows, and a request is answered once they are committed."""

from __future__ import annotations

import gzip
import sys
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from support.ledger_rows import ask
from support.otlp_requests import COST, as_json, body, call, request_of
from support.otlp_service import until

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from support.otlp_service import Running

JSON = {"content-type": "application/json"}


def rows(url: str, user: str) -> list[tuple[object, ...]]:
    query = f"SELECT cost_usd, app_name, settled FROM token_ledger_events WHERE user_id = '{user}'"
    return ask(url, query)


def exporter_of(service: Running, name: str) -> SpanExporter:
    if name.startswith("http"):
        kind = Compression.Gzip if name.endswith("gzip") else Compression.NoCompression
        return HttpExporter(f"{service.endpoint}/v1/traces", compression=kind)
    compression = grpc.Compression.Gzip if name.endswith("gzip") else grpc.Compression.NoCompression
    address = f"127.0.0.1:{service.grpc_port}"
    return GrpcExporter(address, insecure=True, compression=compression)


@pytest.mark.parametrize("name", ["http", "http gzip", "grpc", "grpc gzip"])
def test_a_span_from_the_python_sdk_is_a_priced_row(
    service: Running, ledger_url: str, name: str
) -> None:
    finished = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(finished))
    attributes: dict[str, str | int] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.response.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 1_000,
        "gen_ai.usage.output_tokens": 100,
        "user.id": f"sdk {name}",
    }
    provider.get_tracer("my.app").start_span("chat gpt-4o", attributes=attributes).end()
    sender = exporter_of(service, name)
    assert sender.export(finished.get_finished_spans()) is SpanExportResult.SUCCESS
    sender.shutdown()
    # The row exists when the answer arrives, so the test does not wait.
    assert [row[0] for row in rows(ledger_url, f"sdk {name}")] == [COST]


def test_json_and_zstd_give_the_same_row_as_protobuf(service: Running, ledger_url: str) -> None:
    sent = request_of(call({"user.id": "formats"}))
    json_body = as_json(sent)
    compressed = zstd.compress(sent.SerializeToString())
    assert service.ask("/v1/traces", json_body, JSON).body == b"{}"
    assert service.ask("/v1/traces", compressed, {"content-encoding": "zstd"}).status == 200
    assert service.ask("/v1/traces", sent.SerializeToString()).status == 200
    # Three reports of one span are one row.
    assert rows(ledger_url, "formats") == [(COST, "shop", True)]


def test_gzip_with_several_members_is_read_completely(service: Running, ledger_url: str) -> None:
    data = body(call({"user.id": "members"}))
    compressed = gzip.compress(data[:50]) + gzip.compress(data[50:])
    assert service.ask("/v1/traces", compressed, {"content-encoding": "gzip"}).status == 200
    assert len(rows(ledger_url, "members")) == 1


def test_a_request_sent_twice_is_stored_once(service: Running, ledger_url: str) -> None:
    sent = body(call({"user.id": "twice"}), call({"user.id": "twice"}))
    for _ in range(2):
        assert service.ask("/v1/traces", sent).body == b""
    assert len(rows(ledger_url, "twice")) == 2


def test_spans_that_are_not_model_calls_are_accepted_and_dropped(
    service: Running, ledger_url: str
) -> None:
    other = call({"user.id": "dropped"})
    del other.attributes[:5]
    before = ask(ledger_url, "SELECT count(*) FROM token_ledger_events")
    answer = service.ask("/v1/traces", body(other))
    assert (answer.status, answer.body) == (200, b"")
    assert ask(ledger_url, "SELECT count(*) FROM token_ledger_events") == before
    assert b'"dropped": 0' not in service.ask("/health").body


def test_quarantined_spans_are_reported_and_the_others_are_stored(
    service: Running, ledger_url: str
) -> None:
    """A span without ids cannot be deduplicated, and one from the future has no partition."""
    nameless = call({"user.id": "quarantined"})
    nameless.trace_id = bytes(16)
    future = call({"user.id": "quarantined"}, start_ns=time.time_ns() + 3 * 86_400 * 10**9)
    answer = service.ask("/v1/traces", body(nameless, future, call({"user.id": "quarantined"})))
    partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
    assert answer.status == 200
    assert partial.rejected_spans == 2
    assert "1: the trace id or span id is missing" in partial.error_message
    assert "1: the time is before 2015 or more than a day ahead" in partial.error_message
    assert len(rows(ledger_url, "quarantined")) == 1
    query = "SELECT count(*) FROM token_ledger_rejected WHERE event->>'user_id' = 'quarantined'"
    assert ask(ledger_url, query) == [(1,)]
    # The span without any row is counted as a loss with the next batch.
    lost = (
        "SELECT sum(records) FROM token_ledger_losses WHERE reason LIKE 'the trace id or span id%'"
    )
    until(lambda: service.accepts(body(call())) and ask(ledger_url, lost) == [(1,)])


def test_the_same_span_with_other_usage_is_reported_as_a_conflict(
    service: Running, ledger_url: str
) -> None:
    span = call({"user.id": "conflict"})
    assert service.ask("/v1/traces", body(span)).body == b""
    span.attributes[4].value.int_value = 101
    answer = service.ask("/v1/traces", as_json(request_of(span)), JSON)
    assert b'"rejectedSpans": "1"' in answer.body
    assert b"different usage" in answer.body
    assert rows(ledger_url, "conflict") == [(COST, "shop", True)]


@pytest.mark.parametrize(
    ("path", "headers", "data", "status"),
    [
        ("/v1/metrics", {}, b"", 404),
        ("/v1/traces", {"content-type": "text/plain"}, b"", 415),
        ("/v1/traces", {"content-encoding": "br"}, b"", 415),
        ("/v1/traces", {}, b"\x0a\xff", 400),
        ("/v1/traces", JSON, b"{", 400),
        ("/v1/traces", {"content-encoding": "gzip"}, b"not gzip", 400),
        ("/v1/traces", {"content-encoding": "gzip"}, gzip.compress(b"x" * 999, mtime=0)[:-4], 400),
        ("/v1/traces", {"content-encoding": "zstd"}, b"not zstd", 400),
        ("/v1/traces", {"content-encoding": "zstd"}, zstd.compress(b"x" * 999)[:-4], 400),
        ("/v1/traces", {}, b"x" * (4 * 1_048_576 + 1), 413),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_request_that_cannot_be_read_is_refused_with_a_reason(
    service: Running, path: str, headers: dict[str, str], data: bytes, status: int
) -> None:
    answer = service.ask(path, data, headers)
    assert answer.status == status
    assert answer.body


def test_only_post_is_allowed(service: Running) -> None:
    answer = service.ask("/v1/traces")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


def test_an_empty_request_is_accepted(service: Running) -> None:
    assert service.ask("/v1/traces", b"").status == 200
    assert service.ask("/v1/traces", gzip.compress(b""), {"content-encoding": "gzip"}).status == 200


def test_health_and_ready_report_the_state(service: Running) -> None:
    assert service.ask("/health").status == 200
    assert b'"status": "ok"' in service.ask("/ready").body
    assert service.ask("/ready", method="HEAD").body == b""
