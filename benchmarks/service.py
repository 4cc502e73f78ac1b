"""What the OTLP service takes: `make bench`, or `python -m benchmarks.service`.

End to end: ready requests of 100 spans from a process of their own, each answered after its COMMIT,
next to psql's own copy of the same rows into a table without an index, in the same round. Decoding:
next to the simplest decoding with the stock protobuf classes. Memory: with the database away.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks import children, write_path
from benchmarks.sending import write_bodies
from benchmarks.spans import chat_spans
from support.otlp_service import serving, until
from tokenledger_exporter.dialects.allowlist import MARKS
from tokenledger_exporter.dialects.attribute_filter import allowed_attributes
from tokenledger_exporter.dialects.span_source import resource_attributes
from tokenledger_exporter.domain.span_record import SpanRecord
from tokenledger_exporter.embedded.postgres import temporary_postgres
from tokenledger_exporter.maintenance.install import migrate
from tokenledger_exporter.pricing.book import PriceBook
from tokenledger_exporter.pricing.catalog.genai_prices import package_rows
from tokenledger_exporter.server.decoding.otlp_protobuf import decode_traces

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.sdk.trace import ReadableSpan

    from support.otlp_service import Running

_A_REQUEST: Final = 100
_SPANS: Final = 40_000
_CONNECTIONS: Final = 64
_MEMORY_CONNECTIONS: Final = 400
_WORKERS: Final = (1, 2)
_SECOND: Final = 1_000_000_000
# Calls of just now, as traffic is, are summed up by the slice; late ones sum whole hours again.
_AGES: Final = {"just now": _SPANS // 1_000 * _SECOND, "an hour ago": 3_600 * _SECOND}
_MEMORY_RATE: Final = 10_000
_MEMORY_SECONDS: Final = 20
_DECODED: Final = 2_000
_WARM_REQUESTS: Final = 12


def main(rounds: int = 3) -> None:
    """Measure and print the three figures."""
    _print_throughput(rounds)
    _print_decoding()
    _print_memory()


def _print_throughput(rounds: int) -> None:
    book = PriceBook(package_rows())
    ceilings: list[float] = []
    rates: dict[tuple[str, int], list[float]] = {
        (age, workers): [] for age in _AGES for workers in _WORKERS
    }
    with (
        temporary_postgres(write_path.SERVER) as url,
        tempfile.TemporaryDirectory() as folder,
    ):
        migrate(url)
        file = Path(folder) / "bodies"
        bench = write_path.Bench(url, Path(folder), chat_spans(_SPANS), 5_000, book)
        for _ in range(rounds):
            ceilings.append(bench.ceiling().rows_per_second)
            for (age, workers), found in rates.items():
                bench.empty()
                write_bodies(file, _bodies(chat_spans(_SPANS, ago_ns=_AGES[age])))
                found.append(_sent(url, file, workers))
    print(f"\nOTLP/HTTP, requests of {_A_REQUEST} spans, answered after COMMIT, gRPC off")
    print(f"  psql \\copy, no index                   {max(ceilings):10,.0f} rows/s = 1")
    for (age, workers), found in rates.items():
        ratios = sorted(rate / ceiling for rate, ceiling in zip(found, ceilings, strict=True))
        printed_rate = f"{max(found):10,.0f} spans/s, of the same round's ceiling "
        what = f"spans of {age}, {workers} worker(s)"
        print(f"  {what:38} {printed_rate}{ratios[0]:.2f} to {ratios[-1]:.2f} (aim: >= 0.2)")


def _sent(url: str, file: Path, workers: int) -> float:
    """Spans a second, all of them committed."""
    with serving(url, "--workers", str(workers)) as service:
        warm = next(iter(_bodies(chat_spans(_A_REQUEST, seed=2))))
        for _ in range(_WARM_REQUESTS):
            assert service.ask("/v1/traces", warm).status == 200
        sent = _send(service, file, 0)
    assert sent["statuses"] == {"200": _SPANS // _A_REQUEST}, sent
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM token_ledger_events").fetchone()
    assert found == (_SPANS + _A_REQUEST,), found
    seconds: float = sent["seconds"]
    return _SPANS / seconds


def _send(
    service: Running, file: Path, per_second: float, connections: int = _CONNECTIONS
) -> dict[str, Any]:
    words = [sys.executable, "-m", "benchmarks.sending", str(service.port), str(file)]
    done = subprocess.run(
        [*words, str(connections), str(per_second)],
        check=True,
        capture_output=True,
        text=True,
        env=children.environment(),
    )
    sent: dict[str, Any] = json.loads(done.stdout)
    return sent


def _bodies(spans: Sequence[ReadableSpan]) -> list[bytes]:
    return [
        encode_spans(spans[place : place + _A_REQUEST]).SerializeToString()
        for place in range(0, len(spans), _A_REQUEST)
    ]


def _print_decoding() -> None:
    bodies = _bodies(chat_spans(_DECODED))
    stock, ours = _turns(bodies, (stock_reading, lambda body: decode_traces(body).records))
    print("\none span of a request to the record that is priced")
    print(f"  stock protobuf classes {stock:6.1f} us = 1")
    print(f"  slim descriptor        {ours:6.1f} us = {ours / stock:.2f} (aim: <= 0.45)")


def _turns(
    bodies: Sequence[bytes], readings: Sequence[Callable[[bytes], list[SpanRecord]]]
) -> list[float]:
    """Microseconds of CPU time a span, the best of interleaved rounds."""
    best = [float("inf")] * len(readings)
    # As the service does: what is there before a request is no rubbish of it.
    gc.freeze()
    for _ in range(15):
        for place, read in enumerate(readings):
            began = time.process_time()
            count = sum(len(read(body)) for body in bodies)
            assert count == _DECODED
            best[place] = min(best[place], (time.process_time() - began) / _DECODED * 1e6)
    return best


def stock_reading(body: bytes) -> list[SpanRecord]:
    """The same records, read as anybody would with the classes of opentelemetry-proto."""
    found: list[SpanRecord] = []
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        attributes_of_resource = {
            pair.key: _value(pair.value) for pair in of_resource.resource.attributes
        }
        for group in of_resource.scope_spans:
            resource = resource_attributes(attributes_of_resource, {})
            for span in group.spans:
                attributes = {pair.key: _value(pair.value) for pair in span.attributes}
                if not MARKS.isdisjoint(attributes):
                    found.append(
                        SpanRecord(
                            span.trace_id,
                            int.from_bytes(span.span_id, "big"),
                            int.from_bytes(span.parent_span_id, "big"),
                            span.start_time_unix_nano,
                            span.end_time_unix_nano,
                            group.scope.name,
                            span.status.code == span.status.STATUS_CODE_ERROR,
                            allowed_attributes(attributes),
                            resource,
                        )
                    )
    return found


def _value(value: AnyValue) -> Any:  # noqa: ANN401 - whatever an attribute may hold
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value) for pair in value.kvlist_value.values}
    return getattr(value, kind) if kind else None


def _print_memory() -> None:
    """The database is there when the service starts, and gone when the spans come."""
    spans = chat_spans(_MEMORY_RATE)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bodies"
        write_bodies(file, _bodies(spans) * _MEMORY_SECONDS)
        with temporary_postgres(write_path.SERVER) as url:
            migrate(url)
            name = url.rpartition("/")[2]
            with serving(url) as service:
                warm = next(iter(_bodies(spans)))
                assert service.ask("/v1/traces", warm).status == 200
                before = service.rss_mib()
                server = psycopg.connect(f"{url.rpartition('/')[0]}/template1", autocommit=True)
                server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
                server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    [name],
                )
                rate = _MEMORY_RATE / _A_REQUEST
                sent = _send(service, file, rate, _MEMORY_CONNECTIONS)
                after = service.rss_mib()
                server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
                server.close()
                until(lambda: service.accepts(warm))
    seconds = sent["sent_seconds"]
    rate = _MEMORY_RATE * _MEMORY_SECONDS / seconds
    print(f"\ndatabase away, {rate:,.0f} spans/s for {seconds:.0f} s")
    print(f"  resident memory {before:.0f} -> {after:.0f} MiB (aim: < 150), {sent['statuses']}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
