"""Sends many spans through a gateway while Collector and ledger crash: `make many-spans`.

The sender behaves like an app's exporter and resends a batch until it is accepted. Meanwhile, at
times spread over the run, the Collector, the service and Postgres are killed with -9 and started
again, and Postgres terminates every session. In the end every span is one row.
"""

from __future__ import annotations

import argparse
import http.client
import os
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collectors.otelcol import Collector, Service
from collectors.processes import wait_until
from end_to_end.otlp import Sink
from support.ledger_rows import ask
from support.server_crash import crash
from tokenledger_exporter.embedded.homes import temporary_home
from tokenledger_exporter.embedded.postgres import EmbeddedPostgres
from tokenledger_exporter.maintenance.install import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPANS_PER_BATCH: Final = 500

_ATTRIBUTES: Final[dict[str, str | int]] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 1_000,
    "gen_ai.usage.output_tokens": 100,
}
_SENDERS: Final = 4
_PAUSE_SECONDS: Final = 0.2
_TIMEOUT_SECONDS: Final = 1_800.0
_END_SESSIONS: Final = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    " AND datname = current_database()"
)


@dataclass
class Counts:
    """What happened to the spans.

    Args:
        sent: spans in accepted batches.
        rows: rows of the ledger.
        distinct: distinct spans among the rows.
        attempts: batches sent, including those that were not accepted.
        faults: kills and terminated sessions.
        seconds: time from the first batch to the last row.
    """

    sent: int = 0
    rows: int = 0
    distinct: int = 0
    attempts: int = 0
    faults: int = 0
    seconds: float = 0.0


def run(server: EmbeddedPostgres, folder: Path, count: int) -> Counts:
    """Send spans, with a fault after each seventh of them, and count the results."""
    counts, lock = Counts(), threading.Lock()
    database_url = server.database_url
    with Sink().running() as tracing:
        service = Service(database_url, folder)
        environment = {
            "TOKENLEDGER_ENDPOINT": service.endpoint,
            "TRACING_ENDPOINT": tracing.endpoint,
            "TRACES_PERCENT": "0",
        }
        collector = Collector("gateway", folder, environment)
        service.start()
        collector.start()
        batches = iter(range(0, count, SPANS_PER_BATCH))
        port = int(collector.endpoint.rpartition(":")[2])

        def send() -> None:
            while True:
                with lock:
                    first = next(batches, None)
                if first is None:
                    return
                size = min(SPANS_PER_BATCH, count - first)
                attempts = _send(port, _body(size))
                with lock:
                    counts.sent += size
                    counts.attempts += attempts

        started_at = time.monotonic()
        senders = [threading.Thread(target=send) for _ in range(_SENDERS)]
        for thread in senders:
            thread.start()
        try:
            for share, fault in _faults(service, collector, server):
                wait_until(
                    lambda share=share: counts.sent >= count * share,  # type: ignore[misc]
                    "the senders continue",
                    _TIMEOUT_SECONDS,
                )
                fault()
                counts.faults += 1
            for thread in senders:
                thread.join()
            wait_until(
                lambda: _rows(database_url)[0] >= count, "every span is a row", _TIMEOUT_SECONDS
            )
            counts.seconds = time.monotonic() - started_at
        finally:
            collector.stop()
            service.stop()
    counts.rows, counts.distinct = _rows(database_url)
    return counts


def _faults(
    service: Service, collector: Collector, server: EmbeddedPostgres
) -> Iterator[tuple[float, Callable[[], object]]]:
    def crash_service() -> None:
        service.kill()
        service.start()

    def crash_collector() -> None:
        collector.kill()
        collector.start()

    def crash_database() -> None:
        crash(server)
        server.start()

    def end_sessions() -> None:
        ask(server.database_url, _END_SESSIONS)

    faults = (
        *(crash_service, crash_collector, crash_database),
        *(end_sessions, crash_collector, crash_service),
    )
    for number, fault in enumerate(faults, start=1):
        yield number / (len(faults) + 1), fault


def _rows(database_url: str) -> tuple[int, int]:
    query = "SELECT count(*), count(DISTINCT event_id) FROM token_ledger_events"
    try:
        [(rows, distinct)] = ask(database_url, query)
    except psycopg.OperationalError:
        return 0, 0
    return rows, distinct


def _body(size: int) -> bytes:
    request = ExportTraceServiceRequest()
    scope_spans = request.resource_spans.add().scope_spans.add()
    scope_spans.scope.name = "some.instrumentation"
    started = time.time_ns()
    trace_id = os.urandom(16)
    for _ in range(size):
        span = scope_spans.spans.add(
            trace_id=trace_id,
            span_id=os.urandom(8),
            name="chat gpt-4o",
            start_time_unix_nano=started,
            end_time_unix_nano=started + 1_000_000_000,
        )
        for key, value in _ATTRIBUTES.items():
            attribute = span.attributes.add(key=key)
            if isinstance(value, int):
                attribute.value.int_value = value
            else:
                attribute.value.string_value = value
    return request.SerializeToString()


def _send(port: int, body: bytes) -> int:
    """Send a batch until it is accepted; returns the number of attempts."""
    attempts = 0
    headers = {"content-type": "application/x-protobuf"}
    while True:
        attempts += 1
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("POST", "/v1/traces", body, headers)
            if connection.getresponse().status == http.client.OK:
                return attempts
        except (OSError, http.client.HTTPException):
            # The service was killed or is not up yet, so the batch may or may not have arrived.
            pass
        finally:
            connection.close()
        time.sleep(_PAUSE_SECONDS)


def main() -> int:
    """Run with the number of spans in `--spans`; returns 1 if a span is missing or duplicated."""
    parser = argparse.ArgumentParser(prog="make many-spans")
    parser.add_argument("--spans", type=int, default=1_000_000)
    count = parser.parse_args().spans
    with (
        temporary_home() as home,
        EmbeddedPostgres(home / "server") as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        migrate(server.database_url)
        counts = run(server, Path(folder), count)
    print(  # noqa: T201 - the output of the make target
        f"{count:,} spans sent in {counts.attempts:,} requests of up to {SPANS_PER_BATCH}, with "
        f"{counts.faults} faults: {counts.rows:,} rows, {counts.distinct:,} distinct, "
        f"{counts.seconds:.0f} s, {count / counts.seconds:,.0f} spans per second"
    )
    return 0 if counts.rows == counts.distinct == count else 1


if __name__ == "__main__":
    raise SystemExit(main())
