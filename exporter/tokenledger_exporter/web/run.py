"""Runs the dashboard until it is interrupted."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import uvicorn

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.web.app import create_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger_exporter.web.options import DashboardOptions

_BACKLOG: Final = 256
_GRACE_SECONDS: Final = 3


def run(options: DashboardOptions, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        options: what to serve.
        announce: gets the address, once it is open.

    Raises:
        InvalidRequestError: the address is in use, or a token's line is invalid.
    """
    app = create_app(options)
    listener = _listen(options.host, options.port)
    host, port = listener.getsockname()[:2]
    announce(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    # The application logs its errors itself: a traceback could hold values of the ledger.
    config = uvicorn.Config(
        app,
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    # uvicorn raises the signal that ended it again, which is no error here.
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise InvalidRequestError(
            f"cannot listen on {host}:{port} ({error.strerror}); use another --port"
        ) from None
