"""uvicorn's HTTP connection with an end to its patience.

uvicorn itself waits for ever for the rest of a request (0.54, read 2026-11-26): its only time-out
is for connections that are idle between two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tokenledger_exporter.server.service import REQUEST_SECONDS

if TYPE_CHECKING:
    import asyncio
    from asyncio import TimerHandle

    from uvicorn.config import Config
    from uvicorn.server import ServerState

_MOST_HEADER_BYTES: Final = 32_768


class PatientProtocol(HttpToolsProtocol):
    """Closes a connection whose request has not arrived in time, or whose headers never end."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._deadline: TimerHandle | None = None
        self._header_bytes = 0
        self._in_headers = True

    @override
    def connection_made(  # type: ignore[override] # uvicorn narrows it first
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        self._expect()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._relax()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > _MOST_HEADER_BYTES:
            self.transport.abort()

    @override
    def on_message_begin(self) -> None:
        self._expect()
        super().on_message_begin()

    @override
    def on_headers_complete(self) -> None:
        self._in_headers = False
        super().on_headers_complete()

    @override
    def on_message_complete(self) -> None:
        self._relax()
        self._in_headers = True
        self._header_bytes = 0
        super().on_message_complete()

    def _expect(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def _relax(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        self.transport.abort()
