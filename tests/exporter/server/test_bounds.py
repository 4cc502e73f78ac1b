"""Limits of one request: calls beyond a limit are quarantined, and the others are stored."""

from __future__ import annotations

import gzip
import json
import time
from typing import TYPE_CHECKING, Final

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from support.ledger_rows import ask
from support.otlp_requests import body, call
from support.otlp_service import exporting, serving, unavailable
from support.stalling_client import StallingClient
from tokenledger_exporter.access.tokens import new_token, token_line
from tokenledger_exporter.errors import DatabaseUnreachableError
from tokenledger_exporter.server.decoding.any_value import MAX_ITEMS
from tokenledger_exporter.server.decoding.decoded_request import (
    MAX_RECORDS,
    MAX_SPAN_FIELDS,
    TOO_MANY_FIELDS,
)
from tokenledger_exporter.server.decoding.otlp_json import decode_json_traces
from tokenledger_exporter.server.ingest.bounds import MAX_HOURS, MAX_SPAN_REPORTS
from tokenledger_exporter.store.writer import BatchWriter

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from support.otlp_service import Running

DAY_NS: Final = 86_400_000_000_000
HOUR_NS: Final = DAY_NS // 24
ACME, ANY = new_token(), new_token()


@pytest.fixture(scope="module")
def service(ledger_url: str) -> Generator[Running]:
    lines = f"{token_line('acme', ACME)},{token_line('*', ANY)}"
    with serving(ledger_url, TOKENLEDGER_SERVER_TOKENS=lines) as running:
        yield running


def rejected(service: Running, spans: Sequence[Span], token: str = ACME) -> tuple[int, str]:
    """The number of quarantined spans, and the reasons."""
    headers = {"authorization": f"Bearer {token}", "content-encoding": "gzip"}
    answer = service.ask("/v1/traces", gzip.compress(body(*spans), 1), headers)
    assert answer.status == 200
    partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
    return partial.rejected_spans, partial.error_message


def stored(ledger_url: str, user: str) -> int:
    query = f"SELECT count(*) FROM token_ledger_events WHERE user_id = '{user}'"
    return int(ask(ledger_url, query)[0][0])


def test_a_call_older_than_the_senders_maximum_age_is_quarantined(
    service: Running, ledger_url: str
) -> None:
    now = time.time_ns()
    spans = [call({"user.id": "aged"}, start_ns=now - days * DAY_NS) for days in (1, 29, 31, 399)]
    assert rejected(service, spans) == (2, "2: the call started more than 30 days ago")
    assert stored(ledger_url, "aged") == 2


def test_an_operators_sender_may_report_older_calls(service: Running, ledger_url: str) -> None:
    now = time.time_ns()
    spans = [call({"user.id": "any"}, start_ns=now - days * DAY_NS) for days in (31, 399, 401)]
    assert rejected(service, spans, ANY) == (1, "1: the call started more than 400 days ago")
    assert stored(ledger_url, "any") == 2


def test_calls_beyond_the_maximum_number_of_hours_are_quarantined(
    service: Running, ledger_url: str
) -> None:
    now = time.time_ns()
    spans = [
        call({"user.id": "hours"}, start_ns=now - number * HOUR_NS)
        for number in range(1, MAX_HOURS + 50)
    ]
    count, reason = rejected(service, spans)
    assert (count, stored(ledger_url, "hours")) == (49, MAX_HOURS)
    assert "sort calls by time" in reason


def test_spans_beyond_the_maximum_per_response_id_are_quarantined(service: Running) -> None:
    spans = [
        call({"gen_ai.response.id": "chatcmpl-reported-often"}) for _ in range(MAX_SPAN_REPORTS + 9)
    ]
    count, reason = rejected(service, spans)
    assert (count, "have the same response id" in reason) == (9, True)


@pytest.mark.parametrize("failed", [False, True])
def test_only_the_span_with_too_many_events_is_quarantined(
    service: Running, ledger_url: str, *, failed: bool
) -> None:
    flood = call({"user.id": f"events {failed}"})
    flood.events.extend(Span.Event() for _ in range(MAX_SPAN_FIELDS))
    flood.status.code = Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_OK
    good = call({"user.id": f"events {failed}"})
    assert rejected(service, [flood, good]) == (1, f"1: {TOO_MANY_FIELDS}")
    assert stored(ledger_url, f"events {failed}") == 1


def test_a_span_with_too_many_events_that_is_not_a_call_is_dropped(service: Running) -> None:
    flood = Span(trace_id=b"\x01" * 16, span_id=b"\x01" * 8)
    flood.events.extend(Span.Event() for _ in range(3 * MAX_SPAN_FIELDS))
    assert rejected(service, [flood]) == (0, "")


def test_too_much_metadata_is_quarantined(service: Running) -> None:
    """60 values of 8,000 characters, a kilobyte when compressed."""
    wide = call({f"tokenledger.metadata.{number}": "x" * 8_000 for number in range(60)})
    count, reason = rejected(service, [wide, call()])
    assert (count, "more than 196608 characters" in reason) == (1, True)


def test_too_long_a_list_is_ignored(service: Running, ledger_url: str) -> None:
    span = call({"user.id": "list"})
    values = [AnyValue(bool_value=True)] * (MAX_ITEMS + 1)
    array = AnyValue(array_value=ArrayValue(values=values))
    span.attributes.append(KeyValue(key="gen_ai.response.finish_reasons", value=array))
    assert rejected(service, [span]) == (0, "")
    assert stored(ledger_url, "list") == 1


def test_calls_beyond_the_maximum_per_request_are_quarantined(service: Running) -> None:
    spans = [
        Span(
            trace_id=b"\x01" * 16,
            span_id=number.to_bytes(8, "big"),
            attributes=[KeyValue(key="gen_ai.provider.name", value=AnyValue(string_value="x"))],
        )
        for number in range(1, MAX_RECORDS + 4)
    ]
    assert rejected(service, spans)[0] >= 3


def test_json_has_the_same_limits() -> None:
    span: dict[str, object] = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "attributes": [{"key": "gen_ai.provider.name", "value": {"stringValue": "openai"}}],
        "events": [{}] * MAX_SPAN_FIELDS,
    }
    sent = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    decoded = decode_json_traces(sent)
    assert (len(decoded.records), dict(decoded.quarantined)) == (0, {TOO_MANY_FIELDS: 1})


def test_a_provider_without_prices_costs_no_query(postgres_server: str, database_url: str) -> None:
    """Shown with an unavailable database, which a provider with prices needs."""
    writer = BatchWriter(database_url)
    writer.prices_of("openai")
    with unavailable(postgres_server, database_url):
        books = {id(writer.prices_of(f"unknown-{number}")) for number in range(1_000)}
        with pytest.raises(DatabaseUnreachableError):
            writer.prices_of("anthropic")
    assert len(books) == 1
    writer.close()


@pytest.mark.parametrize("streams", [8, 120])
def test_stalled_grpc_messages_take_bounded_memory(ledger_url: str, streams: int) -> None:
    """Each message lacks the last byte of 4 MiB; another sender is served meanwhile."""
    lines = f"{token_line('acme', ACME)},{token_line('globex', ANY)}"
    with serving(ledger_url, grpc=True, TOKENLEDGER_SERVER_TOKENS=lines) as service:
        assert service.accepts_from(ACME)
        before = service.rss_mib()
        clients = [StallingClient(service.grpc_port, ANY, streams, 4 * 1_048_576) for _ in range(8)]
        deadline = time.monotonic() + 5
        with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
            while time.monotonic() < deadline:
                assert sum(client.push() for client in clients) >= 0
                token = (("authorization", f"Bearer {ACME}"),)
                assert exporting(channel)(body(call()), metadata=token, timeout=5) == b""
        assert service.peak_rss_mib() - before < 90
        for client in clients:
            client.close()


def test_large_messages_over_grpc_leave_no_memory_behind(ledger_url: str) -> None:
    """A grpc call is a reference cycle: sixty refused messages of 4 MB would hold 240 MB."""
    message = b"\x0a\x00" * 2_000_000
    with serving(ledger_url, grpc=True) as service:
        before = service.rss_mib()
        with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
            for _ in range(60):
                with pytest.raises(grpc.RpcError):
                    exporting(channel)(message, timeout=10)
        assert service.peak_rss_mib() - before < 80
