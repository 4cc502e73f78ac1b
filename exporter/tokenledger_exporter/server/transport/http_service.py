"""OTLP over HTTP, as an ASGI application: /v1/traces and /v1/logs, /health and /ready.

A request is refused as early as it can be: by its path, its token, its headers, and only then by
its body, which is unpacked as it comes. A refusal ends the connection, unless an admitted sender is
asked to come back. What is left of a refused body is thrown away before, so that the sender gets to
read the answer.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.server.decoding.decoded_request import MalformedError, TooLargeError
from tokenledger_exporter.server.decoding.decompress import ENCODINGS, Inflater
from tokenledger_exporter.server.responses import JSON, PROTOBUF, Refusal, RefusedError, success
from tokenledger_exporter.server.transport.certificates import named_in_certificate
from tokenledger_exporter.server.transport.request_timeout import CONNECTION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    from tokenledger_exporter.server.admission import Service
    from tokenledger_exporter.server.decoding.decoded_request import Received
    from tokenledger_exporter.server.transport.hosts import Hosts
    from tokenledger_exporter.server.transport.request_timeout import TimedProtocol

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

_SIGNALS: Final = {"/v1/traces": "traces", "/v1/logs": "logs"}
_PLACES: Final = {"/health", "/ready"}
_CONTENT_TYPES: Final = frozenset({PROTOBUF, JSON})
_CLOSE: Final = (b"connection", b"close")
# Of two that differ, a proxy may have looked at the other one.
_SINGLE: Final = frozenset(
    {b"authorization", b"content-encoding", b"content-length", b"content-type", b"host"}
)


class _Incoming:
    """A request's body, piece by piece."""

    def __init__(self, receive: Receive) -> None:
        self._receive: Final = receive
        self.is_over = False

    async def __call__(self) -> Message:
        """The next piece."""
        message = await self._receive()
        self.is_over = not message.get("more_body", False)
        return {"body": b"", **message}


class HttpService:
    """The ASGI application of one worker.

    Args:
        service: what takes the requests.
        hosts: which Host headers are answered.
    """

    def __init__(self, service: Service, hosts: Hosts) -> None:
        self._service: Final = service
        self._hosts: Final = hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        connection: TimedProtocol = scope["state"][CONNECTION]
        kind, incoming = JSON, _Incoming(receive)
        try:
            headers = _headers(scope["headers"])
            kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
            self._hosts.check(headers.get(b"host"))
            if scope["path"] in _PLACES and scope["method"] in {"GET", "HEAD"}:
                await self._tell_state(scope["path"], scope["method"], headers, connection, send)
                return
            signal = _signal(scope["method"], scope["path"])
            body = await self._take(signal, kind, headers, incoming, connection)
        except RefusedError as error:
            refusal = error.refusal
            self._service.intake.state.refused[str(refusal.status)] += 1
            is_kept = bool(refusal.retry_seconds) and connection.sender is not None
            await _refuse(refusal, kind if kind in _CONTENT_TYPES else JSON, send, is_kept=is_kept)
            if not is_kept:
                await _end(incoming, send, self._service.most_body_bytes)
        else:
            if body is not None:
                await _send(200, kind, body, [], send)

    async def _take(
        self,
        signal: str,
        kind: bytes,
        headers: dict[bytes, bytes],
        incoming: _Incoming,
        connection: TimedProtocol,
    ) -> bytes | None:
        """The answer's body; `None` where the sender has gone."""
        service = self._service
        header = service.identify(_authorizations(headers), self._certified(connection))
        encoding = headers.get(b"content-encoding", b"").strip().lower().decode("latin-1")
        self._check_headers(kind, encoding, headers)
        sender = header.organization
        connection.admit(sender)
        with service.admitted(sender):
            received = await self._receive(signal, kind, encoding, incoming, sender)
            if received is None:
                return None
            return success(signal, kind, await service.store(received, header))

    async def _receive(
        self, signal: str, kind: bytes, encoding: str, incoming: _Incoming, sender: str
    ) -> Received | None:
        """What the body holds; `None` where the sender has gone."""
        service = self._service
        inflater = Inflater(encoding, service.most_body_bytes)
        held = 0
        try:
            while not incoming.is_over:
                message = await incoming()
                if message["type"] == "http.disconnect":
                    return None
                grown = service.unpack(inflater, message["body"], sender)
                service.hold(sender, grown)
                held += grown
            # Nobody holds the body any longer than it takes to read it.
            return await service.decode(signal, kind, inflater.finish(), sender)
        except TooLargeError as error:
            raise RefusedError(Refusal(413, str(error))) from None
        except MalformedError as error:
            raise RefusedError(Refusal(400, str(error))) from None
        finally:
            service.hold(sender, -held)

    def _certified(self, connection: TimedProtocol) -> str | None:
        part = self._service.limits.certificate_part
        return named_in_certificate(connection.certificate, part) if part else None

    def _check_headers(self, kind: bytes, encoding: str, headers: dict[bytes, bytes]) -> None:
        if kind not in _CONTENT_TYPES:
            told = "send application/x-protobuf or application/json"
            raise RefusedError(Refusal(415, told))
        if encoding not in ENCODINGS:
            raise RefusedError(Refusal(415, "compress with gzip or zstd, or not at all"))
        most = self._service.most_body_bytes
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > most:
            raise RefusedError(Refusal(413, f"the body is over {most} bytes"))

    async def _tell_state(
        self,
        path: str,
        method: str,
        headers: dict[bytes, bytes],
        connection: TimedProtocol,
        send: Send,
    ) -> None:
        """`/health` says that this worker answers, `/ready` whether the database takes rows."""
        intake = self._service.intake
        state = intake.state
        ready = not state.last_error and not intake.is_full
        told: dict[str, object] = {"status": "ok" if ready or path == "/health" else "unavailable"}
        counted = {
            "reason": state.last_error or ("the queue is full" if intake.is_full else None),
            "waiting": intake.waiting,
            "received": state.received,
            "stored": state.stored,
            "dropped": state.dropped,
            "dropped_example": state.dropped_example,
            "set_aside": dict(state.set_aside),
            "refused": dict(state.refused),
        }
        if self._service.is_operator(_authorizations(headers), self._certified(connection)):
            told |= counted
        status = 503 if path == "/ready" and not ready else 200
        body = b"" if method == "HEAD" else json.dumps(told).encode()
        await _send(status, JSON, body, [_CLOSE] if connection.sender is None else [], send)


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name.

    Raises:
        RefusedError: one stands there twice that can be meant once only.
    """
    found: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name in found and name in _SINGLE:
            raise RefusedError(Refusal(400, f"send one {name.decode('latin-1')} header"))
        found[name] = value
    return found


def _authorizations(headers: dict[bytes, bytes]) -> list[str]:
    told = headers.get(b"authorization")
    return [] if told is None else [told.decode("latin-1")]


def _signal(method: str, path: str) -> str:
    signal = _SIGNALS.get(path)
    if signal is None:
        raise RefusedError(Refusal(404, "the ledger takes /v1/traces and /v1/logs"))
    if method != "POST":
        raise RefusedError(Refusal(405, "send it with POST"))
    return signal


async def _refuse(refusal: Refusal, kind: bytes, send: Send, *, is_kept: bool) -> None:
    """Answer; where the connection is not kept, the answer stays open for `_end`."""
    headers: list[tuple[bytes, bytes]] = [] if is_kept else [_CLOSE]
    if refusal.retry_seconds:
        headers.append((b"retry-after", str(refusal.retry_seconds).encode()))
    if refusal.status == 401:  # noqa: PLR2004 - RFC 9110, 15.5.2: it must say how
        headers.append((b"www-authenticate", b"Bearer"))
    if refusal.status == 405:  # noqa: PLR2004 - RFC 9110, 15.5.6: it must say what
        headers.append((b"allow", b"POST"))
    await _send(refusal.status, kind, refusal.body(kind), headers, send, is_open=not is_kept)


async def _end(incoming: _Incoming, send: Send, most_bytes: int) -> None:
    """Throw away what is left of a refused body, within its limit, and close the connection.

    A connection closed before is reset, and its sender does not get to read the answer.
    """
    left = most_bytes
    while left > 0 and not incoming.is_over:
        left -= len((await incoming())["body"])
    await send({"type": "http.response.body", "body": b""})


async def _send(  # noqa: PLR0913 - an answer's parts
    status: int,
    kind: bytes,
    body: bytes,
    headers: list[tuple[bytes, bytes]],
    send: Send,
    *,
    is_open: bool = False,
) -> None:
    told = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body, "more_body": is_open})
