"""uvicorn's HTTP connection, bounded in time and in memory.

uvicorn itself (0.54, read 2026-11-28) waits for ever for the rest of a request and for a peer that
reads no answer, keeps reading while pipelined requests wait, and takes any number of headers and
trailers. Its only time-out is for connections that are idle between two requests.
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
"""Under which name a request's state holds the connection it came on."""

STRANGER_SECONDS: Final = 5
"""How long a connection may be idle before a request of it was admitted."""

_SENDER_SECONDS: Final = 75
_MAX_HEADER_BYTES: Final = 32_768
_MAX_HEADERS: Final = 128
_MAX_PIPELINED: Final = 8
_MAX_UNREAD_BYTES: Final = 16_384
# Whoever sends a body in pieces of some bytes costs a call a piece.
_MAX_PIECES: Final = 8_192

_connections: Final[list[Connections]] = []


def _open_connections() -> Connections:
    """Those of this worker; counted from its first connection on."""
    if not _connections:
        _connections.append(Connections(raise_descriptor_limit()))
    return _connections[0]


class _FloodError(Exception):
    """Ends the parsing of what nobody will answer."""


class _OneAtATime(FlowControl):
    """Reads no more while requests wait for their turn or answers for their reader."""

    def __init__(self, pipeline: Sized, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._pipeline: Final = pipeline

    @override
    def resume_reading(self) -> None:
        if not self._pipeline and not self.write_paused:
            super().resume_reading()


class TimedProtocol(HttpToolsProtocol):
    """Ends a connection that takes too long, or more than its share of memory."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.timeout_keep_alive = STRANGER_SECONDS
        self.sender: Hashable | None = None
        self._address = ""
        self._for_request: Final = _Deadline()
        self._for_reader: Final = _Deadline()
        self._header_bytes = self._header_count = self._pieces = 0
        self._in_headers = True

    def admit(self, sender: Hashable) -> None:
        """Note that a request was admitted: the connection is a sender's, and may stay."""
        if self.transport.is_closing():
            return
        self.sender = sender
        self.timeout_keep_alive = _SENDER_SECONDS
        _open_connections().admitted(self._address, sender, self)

    @cached_property
    def certificate(self) -> Mapping[str, object]:
        """What the client's certificate says; nothing without one."""
        tls = self.transport.get_extra_info("ssl_object")
        return {} if tls is None else tls.getpeercert() or {}

    def drop(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    @override
    def connection_made(  # type: ignore[override] # uvicorn narrows it first
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        self.flow = _OneAtATime(self.pipeline, transport)
        transport.set_write_buffer_limits(high=_MAX_UNREAD_BYTES)
        self._address = self.client[0] if self.client else ""
        self._for_request.set(self)
        _open_connections().opened(self._address, self)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._for_request.clear()
        self._for_reader.clear()
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
            self._flood()
        self._header_count = self._pieces = 0
        self._for_request.set(self)
        super().on_message_begin()
        self.scope["state"] = {CONNECTION: self}

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come this way as well.
        self._header_count += 1
        if self._header_count > _MAX_HEADERS:
            self._flood()
        super().on_header(name, value)

    @override
    def on_headers_complete(self) -> None:
        self._in_headers = False
        super().on_headers_complete()

    @override
    def on_body(self, body: bytes) -> None:
        self._pieces += 1
        if self._pieces > _MAX_PIECES:
            self._flood()
        super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        self._for_request.clear()
        self._in_headers = True
        self._header_bytes = 0
        super().on_message_complete()

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline:
            self._forget_request()
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._for_reader.set(self)

    @override
    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():
            super().send_400_response(msg)
            self._for_reader.set(self)

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._for_reader.set(self)

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        self._for_reader.clear()
        self.flow.resume_reading()

    @override
    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._for_reader.set(self)

    def _forget_request(self) -> None:
        """Let go of what nobody reads any more, without waiting for the garbage collection.

        Protocol, request and answer refer to each other; a stranger's connections may be many.
        """
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is not None and (cycle.response_complete or cycle.disconnected):
            cycle.body = bytearray()
            cycle.scope["state"] = {}

    def _flood(self) -> None:
        self.drop()
        raise _FloodError


class _Deadline:
    """Ends a connection, unless what it waits for happens before."""

    def __init__(self) -> None:
        self._timer: TimerHandle | None = None

    def set(self, protocol: TimedProtocol) -> None:
        """Begin to wait, unless it does already."""
        if self._timer is None:
            self._timer = protocol.loop.call_later(REQUEST_SECONDS, protocol.drop)

    def clear(self) -> None:
        """Wait no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
