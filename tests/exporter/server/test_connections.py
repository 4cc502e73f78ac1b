"""Limits of a connection, with and without a token."""

from __future__ import annotations

import contextlib
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from support.otlp_requests import body, call
from support.otlp_service import serving, until
from tokenledger_exporter.access.tokens import new_token, token_line
from tokenledger_exporter.server.admission import REQUEST_SECONDS
from tokenledger_exporter.server.transport.http_connection import ANONYMOUS_IDLE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Generator

    from support.otlp_service import Running

ACME = new_token()
TRACES = b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n"
BEARER = f"authorization: Bearer {ACME}\r\n".encode()
HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def service(ledger_url: str) -> Generator[Running]:
    with serving(ledger_url, TOKENLEDGER_SERVER_TOKENS=token_line("acme", ACME)) as running:
        yield running


def connect(service: Running, seconds: float = 20) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=seconds)


def post(data: bytes, headers: bytes = BEARER) -> bytes:
    return TRACES + headers + f"content-length: {len(data)}\r\n\r\n".encode() + data


def _send_endlessly(connection: socket.socket) -> None:
    while True:
        connection.sendall(post(b"") * 4)


def read_to_end(connection: socket.socket) -> bytes:
    """Everything that the service sends until it closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65_536):
            received += data
    return received


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (post(b"", b""), b"401"),
        (post(b"x" * 1_000_000, b""), b"401"),
        (post(b"\x0a\xff"), b"400"),
        (post(b"", BEARER + b"content-encoding: br\r\n"), b"415"),
        (b"GET /other HTTP/1.1\r\nhost: localhost\r\n\r\n", b"404"),
        (HEALTH, b"200"),
    ],
    ids=["401", "401 with a body", "400", "415", "404", "health"],
)
def test_a_request_that_is_not_admitted_is_answered_and_closed(
    service: Running, sent: bytes, status: bytes
) -> None:
    with connect(service, ANONYMOUS_IDLE_SECONDS - 1) as connection:
        connection.sendall(sent)
        answer = read_to_end(connection)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"\r\nconnection: close\r\n" in answer


def test_a_senders_connection_stays_open(service: Running) -> None:
    with connect(service) as connection:
        for _ in range(3):
            connection.sendall(post(body(call())))
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


def test_pipelined_requests_are_answered_in_order(service: Running) -> None:
    with connect(service) as connection:
        connection.sendall(post(body(call())) * 3 + post(b"\x0a\xff"))
        answers = read_to_end(connection)
    assert [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]] == [
        b"200",
        b"200",
        b"200",
        b"400",
    ]


def test_pipelined_requests_with_unread_answers_take_no_memory(service: Running) -> None:
    before = service.rss_mib()
    with ExitStack() as stack:
        for _ in range(40):
            connection = stack.enter_context(connect(service))
            with contextlib.suppress(ConnectionError):
                for _ in range(20):
                    connection.sendall(HEALTH * 2_000)
        assert service.accepts_from(ACME)
        assert service.rss_mib() - before < 16


def test_a_sender_that_reads_no_answers_is_disconnected(service: Running) -> None:
    """The service stops reading from it and closes the connection after the timeout."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(REQUEST_SECONDS + 5)
        connection.connect(("127.0.0.1", service.port))
        started = time.monotonic()
        with pytest.raises((ConnectionError, TimeoutError)):
            _send_endlessly(connection)
        assert time.monotonic() - started < REQUEST_SECONDS + 4


@pytest.mark.parametrize(
    "flood",
    [
        b"x: y\r\n" * 200,
        b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 200,
        b"transfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 40_000,
    ],
    ids=["headers", "trailers", "tiny chunks of a body"],
)
def test_a_flood_of_headers_or_chunks_closes_the_connection(service: Running, flood: bytes) -> None:
    with connect(service, REQUEST_SECONDS - 2) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(TRACES + BEARER + flood)
        assert b" 200" not in read_to_end(connection)


def test_anonymous_connections_do_not_block_senders(ledger_url: str) -> None:
    """With few descriptors, and many anonymous connections that stay open."""
    line = token_line("acme", ACME)
    with (
        serving(ledger_url, descriptors=300, TOKENLEDGER_SERVER_TOKENS=line) as service,
        ExitStack() as stack,
    ):
        sender = stack.enter_context(connect(service))
        sender.sendall(post(body(call())))
        assert sender.recv(65_536).startswith(b"HTTP/1.1 200")
        for number in range(600):
            with contextlib.suppress(ConnectionError):
                anonymous = stack.enter_context(connect(service))
                anonymous.sendall(post(b"", b"") if number % 2 else b"GET")
        assert service.accepts_from(ACME)
        sender.sendall(post(body(call())))
        assert sender.recv(65_536).startswith(b"HTTP/1.1 200")


def test_an_idle_anonymous_connection_is_closed_soon(service: Running) -> None:
    with connect(service, REQUEST_SECONDS + 2) as connection:
        started = time.monotonic()
        assert read_to_end(connection) == b""
        assert time.monotonic() - started < REQUEST_SECONDS + 1


@pytest.mark.parametrize(
    "headers",
    [
        BEARER + b"authorization: Bearer other\r\n",
        BEARER + BEARER,
        BEARER + b"content-type: application/json\r\n",
        BEARER + b"content-encoding: gzip\r\ncontent-encoding: identity\r\n",
    ],
    ids=["two tokens", "the same token twice", "content type", "encoding"],
)
def test_a_duplicate_header_is_refused(service: Running, headers: bytes) -> None:
    with connect(service) as connection:
        connection.sendall(post(b"", headers))
        assert read_to_end(connection).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"evil.example", b"421"),
        (b"evil.example:4318", b"421"),
        (b"localhost.evil.example", b"421"),
        (b"127.0.0.1.evil.example", b"421"),
        (b"", b"421"),
        (b"localhost", b"200"),
        (b"LOCALHOST:4318", b"200"),
        (b"127.0.0.1:4318", b"200"),
        (b"[::1]:4318", b"200"),
        (b"ledger.internal:4318", b"200"),
    ],
)
def test_without_tokens_an_unknown_host_is_refused(
    open_service: Running, host: bytes, status: bytes
) -> None:
    with connect(open_service) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: " + host + b"\r\n\r\n")
        assert read_to_end(connection).startswith(b"HTTP/1.1 " + status)


def test_with_tokens_any_host_is_answered(service: Running) -> None:
    with connect(service) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: ledger.example\r\n\r\n")
        assert read_to_end(connection).startswith(b"HTTP/1.1 200")


@pytest.fixture(scope="module")
def open_service(ledger_url: str) -> Generator[Running]:
    with serving(ledger_url, "--server-name", "ledger.internal") as running:
        yield running


def test_an_anonymous_client_cannot_fill_the_log(ledger_url: str) -> None:
    with serving(ledger_url) as service:
        for _ in range(300):
            with connect(service) as connection:
                connection.sendall(b"\x00 nothing\r\n\r\n")
                read_to_end(connection)
        until(lambda: service.accepts(body(call())))
    assert 1 <= sum("Invalid HTTP" in line for line in service.lines) <= 10
