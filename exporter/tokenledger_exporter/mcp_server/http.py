"""The server as an ASGI application for streamable HTTP, to be mounted behind a gate."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from tokenledger_exporter.mcp_server.server import create_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping

    from tokenledger_exporter.mcp_server.server import Snapshot

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_REQUEST_BYTES: Final = 65_536
"""The largest request; a question is small."""


class McpApp:
    """An ASGI application without sessions: every request is answered by itself, as JSON.

    It neither authenticates nor checks the Host header; the gate in front of it does. Requests are
    answered while `running` is entered, which an application does in its lifespan.

    Args:
        snapshot: a read-only connection that sees an organization only, or all with "":
            `Reader.snapshot`.
        organization_of: the organization of a request's ASGI scope; "" is all.
        note: logs what a request is about to read, before it is read.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        organization_of: Callable[[Scope], str],
        note: Callable[[Scope, str, Mapping[str, object]], None] | None = None,
    ) -> None:
        def of_request(request: Any) -> str:  # noqa: ANN401 - Starlette's request
            return organization_of(request.scope)

        def note_request(request: Any, tool: str, arguments: Mapping[str, object]) -> None:  # noqa: ANN401 - Starlette's request
            if note is not None:
                note(request.scope, tool, arguments)

        self._server: Final = create_server(snapshot, of_request, note_request)
        self._manager: StreamableHTTPSessionManager | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Answer requests within the block; it may be entered again."""
        # A manager cannot be used twice.
        self._manager = StreamableHTTPSessionManager(
            self._server,
            json_response=True,
            stateless=True,
            max_request_body_size=MAX_REQUEST_BYTES,
        )
        try:
            async with self._manager.run():
                yield
        finally:
            self._manager = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            RuntimeError: `running` is not entered.
        """
        if self._manager is None:
            raise RuntimeError("enter McpApp.running() in the lifespan of the application first")
        await self._manager.handle_request(scope, receive, send)
