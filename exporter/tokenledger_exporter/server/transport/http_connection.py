"""uvicorn's HTTP connection with limits on time and memory.

uvicorn itself (0.54, read 2026-11-28) waits without a timeout for the rest of a request and for a
peer that does not read its answer, keeps reading while pipelined requests wait, and accepts any
number of headers and trailers. Its only timeout is for connections that are idle between requests.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, cast

from typing_extensions import override
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tokenledger_exporter.server.admission import REQUEST_SECONDS
from tokenledger_exporter.server.transport.connections import Connections, raise_descriptor_limit

if TYPE_CHECKING:
    import asyncio
    from asyncio import TimerHandle
    from collections.abc import Hashable, Mapping, Sized

    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

CONNECTION: Final = "tokenledger.connection"
"""The key of a request's connection in its ASGI state."""

ANONYMOUS_IDLE_SECONDS: Final = 5
"""How long a connection may be idle before its first admitted request."""

_SENDER_IDLE_SECONDS: Final = 75
_MAX_HEADER_BYTES: Final = 32_768
_MAX_HEADERS: Final = 128
_MAX_PIPELINED: Final = 8
_MAX_UNREAD_BYTES: Final = 16_384
# Every chunk of a body costs a function call, so many tiny chunks are expensive.
_MAX_CHUNKS: Final = 8_192

_connections: Final[list[Connections]] = []


def _open_connections() -> Connections:
    """The connections of this worker, counted from its first connection on."""
    if not _connections:
        _connections.append(Connections(raise_descriptor_limit()))
    return _connections[0]


class _LimitError(Exception):
    """Stops the parser after the connection was closed for exceeding a limit."""


class _OneAtATimeFlow(FlowControl):
    """Stops reading while pipelined requests or unread answers wait."""

    def __init__(self, pipeline: Sized, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._pipeline: Final = pipeline

    @override
    def resume_reading(self) -> None:
        if not self._pipeline and not self.write_paused:
            super().resume_reading()


class TimedProtocol(HttpToolsProtocol):
    """Closes a connection that takes too long or uses too much memory."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.timeout_keep_alive = ANONYMOUS_IDLE_SECONDS
        self.sender: Hashable | None = None
        self._address = ""
        self._request_deadline: Final = _Deadline()
        self._reader_deadline: Final = _Deadline()
        self._header_bytes = self._header_count = self._chunks = 0
        self._in_headers = True

    def admit(self, sender: Hashable) -> None:
        """Note that a request was admitted, so that the connection may stay open."""
        if self.transport.is_closing():
            return
        self.sender = sender
        self.timeout_keep_alive = _SENDER_IDLE_SECONDS
        _open_connections().admitted(self._address, sender, self)

    @cached_property
    def certificate(self) -> Mapping[str, object]:
        """The contents of the client's certificate; empty without a certificate."""
        tls = self.transport.get_extra_info("ssl_object")
        return {} if tls is None else tls.getpeercert() or {}

    def drop(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    @override
    def connection_made(  # type: ignore[override] # uvicorn narrows it first
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        self.flow = _OneAtATimeFlow(self.pipeline, transport)
        transport.set_write_buffer_limits(high=_MAX_UNREAD_BYTES)
        self._address = self.client[0] if self.client else ""
        self._request_deadline.set(self)
        _open_connections().opened(self._address, self)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._request_deadline.clear()
        self._reader_deadline.clear()
        self._unset_keepalive_if_required()
        _open_connections().closed(self._address, self.sender, self)
        self.pipeline.clear()
        super().connection_lost(exc)
        self._forget_request()

    @override
    def data_received(self, data: bytes) -> None:
        self._header_bytes += len(data) if self._in_headers else 0
        super().data_received(data)
        if self._in_headers and self._header_bytes > _MAX_HEADER_BYTES:
            self.drop()

    @override
    def on_message_begin(self) -> None:
        if len(self.pipeline) >= _MAX_PIPELINED:
            self._drop_and_stop()
        self._header_count = self._chunks = 0
        self._request_deadline.set(self)
        super().on_message_begin()
        self.scope["state"] = {CONNECTION: self}

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers are reported here, too.
        self._header_count += 1
        if self._header_count > _MAX_HEADERS:
            self._drop_and_stop()
        super().on_header(name, value)

    @override
    def on_headers_complete(self) -> None:
        self._in_headers = False
        super().on_headers_complete()

    @override
    def on_body(self, body: bytes) -> None:
        self._chunks += 1
        if self._chunks > _MAX_CHUNKS:
            self._drop_and_stop()
        super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        self._request_deadline.clear()
        self._in_headers = True
        self._header_bytes = 0
        super().on_message_complete()

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline:
            self._forget_request()
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._reader_deadline.set(self)

    @override
    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():
            super().send_400_response(msg)
            self._reader_deadline.set(self)

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._reader_deadline.set(self)

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        self._reader_deadline.clear()
        self.flow.resume_reading()

    @override
    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._reader_deadline.set(self)

    def _forget_request(self) -> None:
        """Release the memory of a finished request without waiting for the garbage collector.

        Protocol, request and answer refer to each other, and there may be many connections.
        """
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is not None and (cycle.response_complete or cycle.disconnected):
            cycle.body = bytearray()
            cycle.scope["state"] = {}

    def _drop_and_stop(self) -> None:
        self.drop()
        raise _LimitError


class _Deadline:
    """Closes a connection unless it is cleared in time."""

    def __init__(self) -> None:
        self._timer: TimerHandle | None = None

    def set(self, protocol: TimedProtocol) -> None:
        """Start the timer, unless it is running."""
        if self._timer is None:
            self._timer = protocol.loop.call_later(REQUEST_SECONDS, protocol.drop)

    def clear(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
