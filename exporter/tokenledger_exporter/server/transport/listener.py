"""A worker's event loop, which accepts connections itself to limit them before the TLS handshake.

asyncio and uvloop accept every connection and wait 60 seconds for a TLS handshake (uvloop 0.23,
`_SSLProtocol`, read 2026-11-28). Here a handshake has the timeout of a request, and the number of
unfinished handshakes is limited: a new one closes the oldest.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from tokenledger_exporter.server.admission import REQUEST_SECONDS

if TYPE_CHECKING:
    import ssl
    from asyncio import SelectorEventLoop as _Loop
    from collections.abc import Callable
else:
    try:
        from uvloop import Loop as _Loop
    except ModuleNotFoundError:
        from asyncio import SelectorEventLoop as _Loop

MAX_HANDSHAKES: Final = 256
"""Unfinished TLS handshakes of one worker."""

_MAX_ACCEPTS_PER_EVENT: Final = 64
_PAUSE_SECONDS: Final = 0.1
_SHUTDOWN_SECONDS: Final = 5.0
# Answers are short. A client that does not read them must not fill the kernel's memory.
_SEND_BUFFER_BYTES: Final = 65_536


class Listener(asyncio.AbstractServer):
    """Accepts the connections of one listening socket.

    Args:
        loop: the worker's loop.
        protocol_factory: makes the protocol of a connection.
        listener: the listening socket.
        tls: the TLS settings; `None` for plain text.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        listener: socket.socket,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._loop: Final = loop
        self._protocol_factory: Final = protocol_factory
        self._listener: Final = listener
        self._tls: Final = tls
        self._opening: Final[dict[asyncio.Task[None], socket.socket]] = {}
        self._is_closed = False
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._listen()

    @override
    def close(self) -> None:
        """Stop accepting connections."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._listener.fileno())

    @override
    async def wait_closed(self) -> None:
        """Wait for the connections that are still being opened."""
        if self._opening:
            await asyncio.wait(list(self._opening))

    @override
    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The worker's loop."""
        return self._loop

    @override
    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return not self._is_closed

    @override
    async def start_serving(self) -> None:
        """Do nothing: the listener accepts from its creation on."""

    @override
    async def serve_forever(self) -> None:
        """Wait forever; workers do not use it, but the interface requires it."""
        await self._loop.create_future()

    def _listen(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_MAX_ACCEPTS_PER_EVENT):
            try:
                connection, _peer = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # There is no free descriptor: try again when some connections have ended.
                self._loop.remove_reader(self._listener.fileno())
                self._loop.call_later(_PAUSE_SECONDS, self._listen)
                return
            connection.setblocking(False)
            if len(self._opening) >= MAX_HANDSHAKES:
                oldest = self._opening.pop(next(iter(self._opening)))
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
            task = self._loop.create_task(self._open(connection))
            self._opening[task] = connection
            task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.pop(task, None)

    async def _open(self, connection: socket.socket) -> None:
        seconds: dict[str, float] = {}
        if self._tls is not None:
            seconds["ssl_handshake_timeout"] = REQUEST_SECONDS
            if sys.version_info >= (3, 11):
                seconds["ssl_shutdown_timeout"] = _SHUTDOWN_SECONDS
        try:
            await self._loop.connect_accepted_socket(
                self._protocol_factory, connection, ssl=self._tls, **seconds
            )
        except (OSError, asyncio.TimeoutError):
            # A failed handshake of an unknown client is not logged: it could flood the log.
            connection.close()


class BoundedLoop(_Loop):
    """The usual loop, with `Listener` as its server."""

    @override
    async def create_server(  # type: ignore[override] # as uvicorn calls it
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], **options: Any
    ) -> Listener:
        """Listen on a socket that is already bound."""
        return Listener(self, protocol_factory, options["sock"], options.get("ssl"))
