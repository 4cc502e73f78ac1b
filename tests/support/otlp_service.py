"""`tokenledger serve` as a process of its own, and requests as senders make them."""

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

import pytest

from support.otlp_requests import body, call
from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    import grpc

from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Generator


_BIN: Final = Path(sys.executable).parent
_SECONDS: Final = 60.0


@dataclass
class Running:
    """A service that listens."""

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
        """One request on a connection of its own; protobuf unless the headers say otherwise."""
        told = {"content-type": "application/x-protobuf", **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_SECONDS)
        with contextlib.closing(connection):
            connection.request(method or ("GET" if body is None else "POST"), path, body, told)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())

    def takes(self, body: bytes) -> bool:
        """Whether a request is taken."""
        return self.ask("/v1/traces", body).status == 200

    def takes_as(self, token: str) -> bool:
        """Whether a call of a token's sender is taken."""
        told = {"authorization": f"Bearer {token}"}
        return self.ask("/v1/traces", body(call()), told).status == 200

    def rss_mib(self) -> float:
        """Resident memory of the process that was started."""
        return self._memory_mib("VmRSS")

    def peak_rss_mib(self) -> float:
        """The most it had since it was started."""
        return self._memory_mib("VmHWM")

    def _memory_mib(self, name: str) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{name}:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024


@dataclass(frozen=True)
class Answer:
    """What came back."""

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
    """Serve while the block runs, then end as an operator would, and find nothing wrong."""
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
        if found := re.search(r"OTLP/HTTP on \S+:(\d+)", line):
            running.port = int(found[1])
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


def until(holds: Callable[[], Any], seconds: float = _SECONDS) -> None:
    """Wait for a condition of another process."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if holds():
                return
        # Another process, which has no way to tell us.
        time.sleep(0.02)
    pytest.fail("it did not come true in time")


def exporting(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
    """The method of traces, which takes and gives plain bytes here."""
    method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    # The stubs know no channel without serializers.
    untyped = cast("Any", channel)
    export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = untyped.unary_unary(method)
    return export


@contextlib.contextmanager
def away(server: str, url: str) -> Generator[None]:
    """The database lets nobody in, and those who were in are out."""
    name = url.rpartition("/")[2]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        yield
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
