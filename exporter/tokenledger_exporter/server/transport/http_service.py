"""OTLP over HTTP, as an ASGI application: /v1/traces and /v1/logs, /health and /ready, budgets.

A request is refused as early as possible: by its path, its token, its headers, and last by its
body, which is decompressed as it arrives. A refusal closes the connection, unless an admitted
sender is asked to retry. The rest of a refused body is read and discarded first, so that the sender
can read the answer.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.access.hosts import UNKNOWN_HOST
from tokenledger_exporter.server.budgets.service import DOCUMENT, MAX_BODY_BYTES
from tokenledger_exporter.server.certificates import organization_in_certificate
from tokenledger_exporter.server.decoding.decoded_request import MalformedError, TooLargeError
from tokenledger_exporter.server.decoding.decompress import ENCODINGS, Inflater
from tokenledger_exporter.server.responses import JSON, PROTOBUF, Refusal, RefusedError, success
from tokenledger_exporter.server.transport.http_connection import CONNECTION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    from tokenledger_exporter.access.hosts import AllowedHosts
    from tokenledger_exporter.db.availability import Availability
    from tokenledger_exporter.server.admission import Service
    from tokenledger_exporter.server.budgets.service import BudgetService
    from tokenledger_exporter.server.decoding.decoded_request import DecodedRequest
    from tokenledger_exporter.server.transport.http_connection import TimedProtocol

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

_SIGNALS: Final = {"/v1/traces": "traces", "/v1/logs": "logs"}
_STATE_PATHS: Final = {"/health", "/ready"}
_CONTENT_TYPES: Final = frozenset({PROTOBUF, JSON})
_FRESH_SECONDS: Final = 3.0
_CLOSE: Final = (b"connection", b"close")
# If such a header appears twice, a proxy may have checked the other value.
_SINGLE_HEADERS: Final = frozenset(
    {b"authorization", b"content-encoding", b"content-length", b"content-type", b"host"}
)


class _BodyReader:
    """Reads a request's body, chunk by chunk."""

    def __init__(self, receive: Receive) -> None:
        self._receive: Final = receive
        self.is_over = False

    async def __call__(self) -> Message:
        """The next chunk."""
        message = await self._receive()
        self.is_over = not message.get("more_body", False)
        return {"body": b"", **message}

    async def whole(self, max_bytes: int) -> bytes | None:
        """A body of limited size; `None` if the sender has disconnected.

        Raises:
            RefusedError: it is larger.
        """
        body = b""
        while not self.is_over:
            message = await self()
            if message["type"] == "http.disconnect":
                return None
            body += message["body"]
            if len(body) > max_bytes:
                raise RefusedError(Refusal(413, f"the body has more than {max_bytes} bytes"))
        return body


class HttpService:
    """The ASGI application of one worker.

    Args:
        service: handles the requests.
        hosts: the allowed Host headers.
        readiness: asks the database whether it takes rows.
        budgets: answers the requests about budgets.
    """

    def __init__(
        self,
        service: Service,
        hosts: AllowedHosts,
        readiness: Availability,
        budgets: BudgetService,
    ) -> None:
        self._service: Final = service
        self._budgets: Final = budgets
        self._readiness: Final = readiness
        self._hosts: Final = hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        connection: TimedProtocol = scope["state"][CONNECTION]
        content_type, body_reader = JSON, _BodyReader(receive)
        try:
            headers = _headers(scope["headers"])
            content_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
            self._check_host(headers.get(b"host"))
            if scope["path"] in _STATE_PATHS and scope["method"] in {"GET", "HEAD"}:
                await self._send_state(scope["path"], scope["method"], headers, connection, send)
                return
            if self._budgets.answers(scope["path"]):
                content_type = JSON
                await self._send_budgets(scope, headers, body_reader, connection, send)
                return
            signal = _signal(scope["method"], scope["path"])
            body = await self._handle(signal, content_type, headers, body_reader, connection)
        except RefusedError as error:
            refusal = error.refusal
            self._service.queue.stats.refused[str(refusal.status)] += 1
            stays_open = bool(refusal.retry_seconds) and connection.sender is not None
            await _refuse(
                refusal,
                content_type if content_type in _CONTENT_TYPES else JSON,
                send,
                stays_open=stays_open,
            )
            if not stays_open:
                await _end(body_reader, send, self._service.max_body_bytes)
        else:
            if body is not None:
                await _send(200, content_type, body, [], send)

    async def _handle(
        self,
        signal: str,
        content_type: bytes,
        headers: dict[bytes, bytes],
        body_reader: _BodyReader,
        connection: TimedProtocol,
    ) -> bytes | None:
        """The body of the answer; `None` if the sender has disconnected."""
        service = self._service
        header = service.identify(_authorizations(headers), self._certified(connection))
        encoding = headers.get(b"content-encoding", b"").strip().lower().decode("latin-1")
        self._check_headers(content_type, encoding, headers)
        sender = header.organization
        connection.admit(sender)
        with service.admitted(sender):
            decoded = await self._receive(signal, content_type, encoding, body_reader, sender)
            if decoded is None:
                return None
            return success(signal, content_type, await service.store(decoded, header))

    async def _send_budgets(
        self,
        scope: Message,
        headers: dict[bytes, bytes],
        body_reader: _BodyReader,
        connection: TimedProtocol,
        send: Send,
    ) -> None:
        """Answer a request about budgets; the document needs no token."""
        budgets, path = self._budgets, scope["path"]
        budgets.check(scope["method"], path)
        if path == DOCUMENT:
            await _send(200, JSON, budgets.document(), [_CLOSE], send)
            return
        header = self._service.identify(_authorizations(headers), self._certified(connection))
        if scope["method"] == "POST":
            content_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
            if content_type != JSON or b"content-encoding" in headers:
                reason = "unsupported body; send uncompressed application/json"
                raise RefusedError(Refusal(415, reason))
        sender = header.organization
        connection.admit(sender)
        self._service.reserve_memory(sender, MAX_BODY_BYTES)
        try:
            body = await body_reader.whole(MAX_BODY_BYTES)
            if body is None:
                return
            status, answer = await budgets.answer(path, scope["query_string"], body, sender)
        finally:
            self._service.reserve_memory(sender, -MAX_BODY_BYTES)
        await _send(status, JSON, answer, [], send)

    async def _receive(
        self, signal: str, content_type: bytes, encoding: str, body_reader: _BodyReader, sender: str
    ) -> DecodedRequest | None:
        """The decoded body; `None` if the sender has disconnected."""
        service = self._service
        inflater = Inflater(encoding, service.max_body_bytes)
        reserved = 0
        try:
            while not body_reader.is_over:
                message = await body_reader()
                if message["type"] == "http.disconnect":
                    return None
                growth = service.decompress(inflater, message["body"], sender)
                service.reserve_memory(sender, growth)
                reserved += growth
            # No name refers to the body, so that it is freed right after decoding.
            return await service.decode(signal, content_type, inflater.finish(), sender)
        except TooLargeError as error:
            raise RefusedError(Refusal(413, str(error))) from None
        except MalformedError as error:
            raise RefusedError(Refusal(400, str(error))) from None
        finally:
            service.reserve_memory(sender, -reserved)

    def _certified(self, connection: TimedProtocol) -> str | None:
        part = self._service.limits.certificate_part
        return organization_in_certificate(connection.certificate, part) if part else None

    def _check_headers(
        self, content_type: bytes, encoding: str, headers: dict[bytes, bytes]
    ) -> None:
        if content_type not in _CONTENT_TYPES:
            reason = "unsupported content type; send application/x-protobuf or application/json"
            raise RefusedError(Refusal(415, reason))
        if encoding not in ENCODINGS:
            raise RefusedError(Refusal(415, "unsupported Content-Encoding; use gzip, zstd or none"))
        max_bytes = self._service.max_body_bytes
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > max_bytes:
            raise RefusedError(
                Refusal(413, f"the body has more than {max_bytes} bytes; send smaller batches")
            )

    def _check_host(self, host: bytes | None) -> None:
        if not self._hosts.allow(host):
            raise RefusedError(Refusal(421, UNKNOWN_HOST))

    async def _send_state(
        self,
        path: str,
        method: str,
        headers: dict[bytes, bytes],
        connection: TimedProtocol,
        send: Send,
    ) -> None:
        """Answer `/health` (this worker runs) or `/ready` (the database accepts rows)."""
        queue = self._service.queue
        stats = queue.stats
        reason = "the queue is full" if queue.is_full else stats.last_error
        if path == "/ready" and not queue.is_full and not _is_fresh(stats.outcome_at):
            # No request shows whether the database takes rows now.
            reason = await self._readiness.reason()
        status_text = "unavailable" if reason and path == "/ready" else "ok"
        report: dict[str, object] = {"status": status_text}
        counters = {
            "reason": reason or None,
            "waiting": queue.waiting,
            "received": stats.received,
            "stored": stats.stored,
            "dropped": stats.dropped,
            "dropped_example": stats.dropped_example,
            "set_aside": dict(stats.quarantined),
            "refused": dict(stats.refused),
        }
        if self._service.is_operator(_authorizations(headers), self._certified(connection)):
            report |= counters
        status = 503 if path == "/ready" and reason else 200
        body = b"" if method == "HEAD" else json.dumps(report).encode()
        await _send(status, JSON, body, [_CLOSE] if connection.sender is None else [], send)


def _is_fresh(outcome_at: float) -> bool:
    """Whether an attempt to write is so recent that it shows what the database does now."""
    return time.monotonic() - outcome_at < _FRESH_SECONDS


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name.

    Raises:
        RefusedError: a header that must be unique appears twice.
    """
    headers: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name in headers and name in _SINGLE_HEADERS:
            raise RefusedError(
                Refusal(400, f"the {name.decode('latin-1')} header appears twice; send it once")
            )
        headers[name] = value
    return headers


def _authorizations(headers: dict[bytes, bytes]) -> list[str]:
    authorization = headers.get(b"authorization")
    return [] if authorization is None else [authorization.decode("latin-1")]


def _signal(method: str, path: str) -> str:
    signal = _SIGNALS.get(path)
    if path == "/v1/metrics":
        raise RefusedError(Refusal(404, "metrics are not read; set OTEL_METRICS_EXPORTER=none"))
    if signal is None:
        raise RefusedError(Refusal(404, "unknown path; use /v1/traces or /v1/logs"))
    if method != "POST":
        raise RefusedError(Refusal(405, "method not allowed; use POST"))
    return signal


async def _refuse(refusal: Refusal, content_type: bytes, send: Send, *, stays_open: bool) -> None:
    """Send a refusal; if the connection is to be closed, `_end` completes the answer."""
    headers: list[tuple[bytes, bytes]] = [] if stays_open else [_CLOSE]
    if refusal.retry_seconds:
        headers.append((b"retry-after", str(refusal.retry_seconds).encode()))
    if refusal.status == 401:  # noqa: PLR2004 - RFC 9110, 15.5.2: this header is required
        headers.append((b"www-authenticate", b"Bearer"))
    if refusal.status == 405:  # noqa: PLR2004 - RFC 9110, 15.5.6: this header is required
        headers.append((b"allow", refusal.allowed_method.encode()))
    await _send(
        refusal.status,
        content_type,
        refusal.body(content_type),
        headers,
        send,
        is_open=not stays_open,
    )


async def _end(body_reader: _BodyReader, send: Send, max_bytes: int) -> None:
    """Discard the rest of a refused body, up to the size limit, and close the connection.

    If the connection were closed earlier, it would be reset before the sender reads the answer.
    """
    left = max_bytes
    while left > 0 and not body_reader.is_over:
        left -= len((await body_reader())["body"])
    await send({"type": "http.response.body", "body": b""})


async def _send(  # noqa: PLR0913 - the parts of an answer
    status: int,
    content_type: bytes,
    body: bytes,
    headers: list[tuple[bytes, bytes]],
    send: Send,
    *,
    is_open: bool = False,
) -> None:
    all_headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body, "more_body": is_open})
