"""Many spans through a gateway whose Collector and ledger die on the way: `make many-spans`.

The sender is an app's exporter: it sends a batch again until somebody takes it. Meanwhile the
Collector, the service and Postgres are killed with -9 and started again, and Postgres ends every
session, at moments spread over the run. In the end every span is one row.
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
from tokenledger_exporter.embedded.postgres import EmbeddedPostgres, temporary_home
from tokenledger_exporter.maintenance.install import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPANS_A_BATCH: Final = 500

_TOLD: Final[dict[str, str | int]] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 1_000,
    "gen_ai.usage.output_tokens": 100,
}
_SENDERS: Final = 4
_PAUSE_SECONDS: Final = 0.2
_PATIENCE_SECONDS: Final = 1_800.0
_END_SESSIONS: Final = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    " AND datname = current_database()"
)


@dataclass
class Counted:
    """What became of the spans.

    Args:
        sent: spans whose batch somebody took.
        rows: rows of the ledger.
        different: different spans among them.
        tries: batches sent, those nobody took among them.
        faults: kills and ended sessions.
        seconds: from the first batch to the last row.
    """

    sent: int = 0
    rows: int = 0
    different: int = 0
    tries: int = 0
    faults: int = 0
    seconds: float = 0.0


def run(server: EmbeddedPostgres, folder: Path, count: int) -> Counted:
    """Send so many spans, with a fault in every seventh of them, and count."""
    counted, lock = Counted(), threading.Lock()
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
        batches = iter(range(0, count, SPANS_A_BATCH))
        port = int(collector.endpoint.rpartition(":")[2])

        def send() -> None:
            while True:
                with lock:
                    first = next(batches, None)
                if first is None:
                    return
                size = min(SPANS_A_BATCH, count - first)
                tries = _send(port, _body(size))
                with lock:
                    counted.sent += size
                    counted.tries += tries

        began = time.monotonic()
        senders = [threading.Thread(target=send) for _ in range(_SENDERS)]
        for thread in senders:
            thread.start()
        try:
            for share, fault in _faults(service, collector, server):
                wait_until(
                    lambda share=share: counted.sent >= count * share,  # type: ignore[misc]
                    "the senders go on",
                    _PATIENCE_SECONDS,
                )
                fault()
                counted.faults += 1
            for thread in senders:
                thread.join()
            wait_until(
                lambda: _rows(database_url)[0] >= count, "every span is a row", _PATIENCE_SECONDS
            )
            counted.seconds = time.monotonic() - began
        finally:
            collector.stop()
            service.stop()
    counted.rows, counted.different = _rows(database_url)
    return counted


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
    question = "SELECT count(*), count(DISTINCT event_id) FROM token_ledger_events"
    try:
        [(rows, different)] = ask(database_url, question)
    except psycopg.OperationalError:
        return 0, 0
    return rows, different


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
        for key, value in _TOLD.items():
            told = span.attributes.add(key=key)
            if isinstance(value, int):
                told.value.int_value = value
            else:
                told.value.string_value = value
    return request.SerializeToString()


def _send(port: int, body: bytes) -> int:
    """Send a batch until it is taken; returns the tries."""
    tries = 0
    headers = {"content-type": "application/x-protobuf"}
    while True:
        tries += 1
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("POST", "/v1/traces", body, headers)
            if connection.getresponse().status == http.client.OK:
                return tries
        except (OSError, http.client.HTTPException):
            # Killed while it answered, or not up yet: the batch may have arrived or not.
            pass
        finally:
            connection.close()
        time.sleep(_PAUSE_SECONDS)


def main() -> int:
    """Run with as many spans as the arguments say; 1 if one is missing or there twice."""
    asked = argparse.ArgumentParser(prog="make many-spans")
    asked.add_argument("--spans", type=int, default=1_000_000)
    count = asked.parse_args().spans
    with (
        temporary_home() as home,
        EmbeddedPostgres(home / "server") as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        migrate(server.database_url)
        found = run(server, Path(folder), count)
    print(  # noqa: T201 - what the target is for
        f"{count:,} spans sent in {found.tries:,} requests of up to {SPANS_A_BATCH}, with "
        f"{found.faults} faults on the way: {found.rows:,} rows, {found.different:,} different, "
        f"{found.seconds:.0f} s, {count / found.seconds:,.0f} spans a second"
    )
    return 0 if found.rows == found.different == count else 1


if __name__ == "__main__":
    raise SystemExit(main())
