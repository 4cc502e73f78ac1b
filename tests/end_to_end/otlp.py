"""A real OTLP receiver (rotel) that hands on what it gets to a sink which decodes it."""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from typing_extensions import override

from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Generator

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Arrived:
    """One span as it came out of the receiver."""

    trace_id: str
    span_id: str
    scope: str
    name: str
    attributes: dict[str, Any]


class Receiver:
    """rotel and the sink behind it; `spans` is complete after the block.

    Args:
        folder: where its files go.
        to: where it forwards to instead of the sink.
    """

    def __init__(self, folder: Path, to: str = "") -> None:
        self._folder: Final = folder
        self._sink: Final = Sink()
        self._to: Final = to or self._sink.endpoint
        self._http_port: Final = free_port()
        self._grpc_port: Final = free_port()

    @property
    def endpoint(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` takes for HTTP."""
        return f"http://127.0.0.1:{self._http_port}"

    @property
    def grpc_endpoint(self) -> str:
        """The same for gRPC."""
        return f"http://127.0.0.1:{self._grpc_port}"

    @property
    def spans(self) -> list[Arrived]:
        """Everything the receiver handed on."""
        return self._sink.spans

    @contextlib.contextmanager
    def running(self) -> Generator[None]:
        """Receive while the block runs, and hand everything on before it ends."""
        with (
            self._sink.running(),
            subprocess.Popen(self._command(), stdout=subprocess.DEVNULL) as process,
        ):
            try:
                self._await(process)
                yield
            finally:
                # On SIGTERM rotel sends on what it holds, then ends.
                process.terminate()
                _end(process)

    def _command(self) -> list[str]:
        return [
            *(str(_agent()), "start"),
            *("--pid-file", str(self._folder / "rotel.pid")),
            *("--log-file", str(self._folder / "rotel.log")),
            *("--otlp-grpc-endpoint", f"127.0.0.1:{self._grpc_port}"),
            *("--otlp-http-endpoint", f"127.0.0.1:{self._http_port}"),
            *("--exporter", "otlp", "--otlp-exporter-protocol", "http"),
            *("--otlp-exporter-endpoint", self._to),
        ]

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            assert process.poll() is None, "rotel did not start"
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self._http_port), timeout=1).close()
                return
            # Another program, which has no way to tell us that it listens.
            time.sleep(_PAUSE_SECONDS)
        pytest.fail("rotel does not listen")


class Sink(ThreadingHTTPServer):
    """An OTLP/HTTP backend that keeps what is posted to it."""

    daemon_threads = False

    def __init__(self) -> None:
        self.bodies: Final[list[bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def endpoint(self) -> str:
        """What an OTLP/HTTP exporter is given."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def spans(self) -> list[Arrived]:
        """Everything that came in so far."""
        return [span for body in list(self.bodies) for span in _decoded(body)]

    @contextlib.contextmanager
    def running(self) -> Generator[Sink]:
        """Take requests while the block runs."""
        thread = threading.Thread(target=self.serve_forever, args=[0.02])
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        zipped = self.headers.get("content-encoding") == "gzip"
        assert isinstance(self.server, Sink)
        self.server.bodies.append(gzip.decompress(body) if zipped else body)
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


def _agent() -> Path:
    """The receiver's program, which its wheel has for some interpreters and systems only."""
    found = importlib.util.find_spec("rotel")
    for folder in (found.submodule_search_locations if found else None) or ():
        return Path(folder) / "rotel-agent"
    return pytest.skip("rotel has no wheel for this interpreter")


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def _decoded(body: bytes) -> list[Arrived]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        Arrived(
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            scope=scope_spans.scope.name,
            name=span.name,
            attributes={pair.key: _plain(pair.value) for pair in span.attributes},
        )
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    ]


def _plain(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None
