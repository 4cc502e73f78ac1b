"""Runs the dashboard until it is interrupted."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.web.app import create_app
from tokenledger_exporter.web.sign_in.access import Access

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tokenledger_exporter.web.mounted import Mount
    from tokenledger_exporter.web.options import DashboardOptions

_BACKLOG: Final = 256
_GRACE_SECONDS: Final = 3

SETTINGS: Final[dict[str, Any]] = {
    # The application logs its errors itself: a traceback could hold values of the ledger.
    "log_level": "critical",
    "access_log": False,
    "server_header": False,
    # uvicorn would believe X-Forwarded-For of this machine, and so change who sent a request.
    "proxy_headers": False,
    "ws": "none",
    "timeout_graceful_shutdown": _GRACE_SECONDS,
}
"""How uvicorn serves the dashboard."""


def run(
    options: DashboardOptions,
    announce: Callable[[str], None],
    mounts: Sequence[Mount] = (),
    listener: socket.socket | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        options: what to serve.
        announce: gets the address, once it is open.
        mounts: make further applications of the same service.
        listener: the open port; by default the one of the options is opened.

    Raises:
        InvalidRequestError: the address is in use, or a token's line is invalid.
    """
    app = create_app(options, [mount(options) for mount in mounts])
    listener = listener or listen(options)
    announce(address_of(listener))
    config = uvicorn.Config(app, **SETTINGS)
    # uvicorn raises the signal that ended it again, which is no error here.
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def address_of(listener: socket.socket) -> str:
    """The address of an open port, as a browser takes it."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def listen(options: DashboardOptions) -> socket.socket:
    """Open the dashboard's port.

    Raises:
        InvalidRequestError: an option is invalid, the address is in use, or it is not one of this
            machine.
    """
    Access(options)
    host, port = options.host, options.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise InvalidRequestError(
            f"cannot listen on {host}:{port} ({error.strerror}); use another --port"
        ) from None
