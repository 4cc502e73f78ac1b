"""OTLP over HTTP, as an ASGI application: /v1/traces and /v1/logs, /health and /ready.

A request is refused as early as it can be: by its path, its token, its headers, and only then by
its body, which is unpacked as it comes. What is left of a refused body is read and thrown away by
the server, so that the sender gets to read the answer.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tokenledger_exporter.server.answers import JSON, PROTOBUF, Refusal, RefusedError, success
from tokenledger_exporter.server.inflating import ENCODINGS, Inflater
from tokenledger_exporter.server.received import MalformedError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from tokenledger_exporter.server.service import Service

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

_SIGNALS: Final = {"/v1/traces": "traces", "/v1/logs": "logs"}
_PLACES: Final = {"/health", "/ready"}
_CONTENT_TYPES: Final = frozenset({PROTOBUF, JSON})


class HttpService:
    """The ASGI application of one worker."""

    def __init__(self, service: Service) -> None:
        self._service: Final = service

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        method, path = scope["method"], scope["path"]
        if path in _PLACES and method in {"GET", "HEAD"}:
            await self._tell_state(path, method, dict(scope["headers"]), send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        try:
            signal = _signal(method, path)
            body = await self._take(signal, kind, headers, receive)
        except RefusedError as error:
            self._service.intake.state.refused[str(error.refusal.status)] += 1
            await _refuse(error.refusal, kind if kind in _CONTENT_TYPES else JSON, send)
        else:
            if body is not None:
                await _send(200, kind, body, [], send)

    async def _take(
        self, signal: str, kind: bytes, headers: dict[bytes, bytes], receive: Receive
    ) -> bytes | None:
        """The answer's body; `None` where the sender has gone."""
        service = self._service
        header = service.admit(headers.get(b"authorization", b"").decode("latin-1"))
        encoding = headers.get(b"content-encoding", b"").strip().lower().decode("latin-1")
        self._check_headers(kind, encoding, headers)
        inflater = Inflater(encoding, service.most_body_bytes)
        held = 0
        try:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                inflater.feed(message.get("body", b""))
                grown, held = inflater.size - held, inflater.size
                service.hold(grown)
                more = message.get("more_body", False)
            # Nobody holds the body any longer than it takes to read it.
            received = await service.decode(signal, kind, inflater.finish())
        except TooLargeError as error:
            raise RefusedError(Refusal(413, str(error))) from None
        except MalformedError as error:
            raise RefusedError(Refusal(400, str(error))) from None
        finally:
            service.hold(-held)
        return success(signal, kind, await service.store(received, header))

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
        self, path: str, method: str, headers: dict[bytes, bytes], send: Send
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
            "set_aside": dict(state.set_aside),
            "refused": dict(state.refused),
        }
        if self._service.is_operator(headers.get(b"authorization", b"").decode("latin-1")):
            told |= counted
        status = 503 if path == "/ready" and not ready else 200
        body = b"" if method == "HEAD" else json.dumps(told).encode()
        await _send(status, JSON, body, [], send)


def _signal(method: str, path: str) -> str:
    signal = _SIGNALS.get(path)
    if signal is None:
        raise RefusedError(Refusal(404, "the ledger takes /v1/traces and /v1/logs"))
    if method != "POST":
        raise RefusedError(Refusal(405, "send it with POST"))
    return signal


async def _refuse(refusal: Refusal, kind: bytes, send: Send) -> None:
    headers: list[tuple[bytes, bytes]] = []
    if refusal.retry_seconds:
        headers.append((b"retry-after", str(refusal.retry_seconds).encode()))
    if refusal.status == 401:  # noqa: PLR2004 - RFC 9110, 15.5.2: it must say how
        headers.append((b"www-authenticate", b"Bearer"))
    if refusal.status == 405:  # noqa: PLR2004 - RFC 9110, 15.5.6: it must say what
        headers.append((b"allow", b"POST"))
    await _send(refusal.status, kind, refusal.body(kind), headers, send)


async def _send(
    status: int, kind: bytes, body: bytes, headers: list[tuple[bytes, bytes]], send: Send
) -> None:
    told = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body})
