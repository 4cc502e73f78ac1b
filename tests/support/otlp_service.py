"""Runs `tokenledger serve` as a process, and sends requests to it."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import psycopg
import pytest

from support.otlp_requests import body, call
from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    import grpc

_BIN: Final = Path(sys.executable).parent
_SECONDS: Final = 60.0


@dataclass
class Running:
    """A running service."""

    process: subprocess.Popen[str]
    port: int
    grpc_port: int
    lines: deque[str] = field(default_factory=deque[str])

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "",
    ) -> Answer:
        """Send a request on a new connection; the default content type is protobuf."""
        all_headers = {"content-type": "application/x-protobuf", **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_SECONDS)
        with contextlib.closing(connection):
            connection.request(
                method or ("GET" if body is None else "POST"), path, body, all_headers
            )
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())

    def accepts(self, body: bytes) -> bool:
        """Whether a request is accepted."""
        return self.ask("/v1/traces", body).status == 200

    def accepts_from(self, token: str) -> bool:
        """Whether a call from the sender with a token is accepted."""
        headers = {"authorization": f"Bearer {token}"}
        return self.ask("/v1/traces", body(call()), headers).status == 200

    def rss_mib(self) -> float:
        """Resident memory of the main process."""
        return self._memory_mib("VmRSS")

    def peak_rss_mib(self) -> float:
        """Peak resident memory since its start."""
        return self._memory_mib("VmHWM")

    def _memory_mib(self, name: str) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(rf"{name}:\s+(\d+) kB", status)
        assert match
        return int(match[1]) / 1024


@dataclass(frozen=True)
class Answer:
    """An answer of the service."""

    status: int
    headers: dict[str, str]
    body: bytes


@contextlib.contextmanager
def serving(
    database_url: str,
    *arguments: str,
    grpc: bool = False,
    speaks_tls: bool = False,
    descriptors: int = 0,
    **variables: str,
) -> Generator[Running]:
    """Run a service during the block, then stop it with SIGTERM and check its output."""
    grpc_port = free_port() if grpc else 0
    command = [
        *(str(_BIN / "tokenledger"), "serve", "--port", "0", "--grpc-port", str(grpc_port)),
        *("--database-url", database_url, *arguments),
    ]
    if descriptors:
        command = ["sh", "-c", 'ulimit -n "$0"; exec "$@"', str(descriptors), *command]
    process = subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    running = Running(process, 0, grpc_port)
    assert process.stderr
    for line in process.stderr:
        running.lines.append(line)
        if match := re.search(r"OTLP/HTTP on \S+:(\d+)", line):
            running.port = int(match[1])
            break
    reader = threading.Thread(target=running.lines.extend, args=[process.stderr])
    reader.start()
    try:
        if not running.port:
            process.wait(_SECONDS)
            pytest.fail("".join(running.lines))
        until(lambda: _answers(running, speaks_tls=speaks_tls))
        yield running
    finally:
        process.terminate()
        process.wait(_SECONDS)
        reader.join()
        process.stderr.close()
    assert process.returncode in {0, -15}, "".join(running.lines)
    assert "Traceback" not in "".join(running.lines), "".join(running.lines)


def _answers(running: Running, *, speaks_tls: bool) -> bool:
    if speaks_tls:
        socket.create_connection(("127.0.0.1", running.port)).close()
        return True
    return running.ask("/health").status == 200


def until(condition: Callable[[], Any], seconds: float = _SECONDS) -> None:
    """Wait until a condition in another process is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if condition():
                return
        # The other process cannot notify us.
        time.sleep(0.02)
    pytest.fail("the condition did not become true in time")


def exporting(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
    """The export method for traces, with plain bytes as request and response."""
    method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    # The type stubs require serializers.
    untyped = cast("Any", channel)
    export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = untyped.unary_unary(method)
    return export


@contextlib.contextmanager
def unavailable(server: str, url: str) -> Generator[None]:
    """During the block the database refuses connections; existing ones are terminated."""
    name = url.rpartition("/")[2]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        yield
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
