"""Checks the Host header of requests, against DNS rebinding.

A web page can resolve the name of its own server to 127.0.0.1, and then read from and write to a
local service that needs no token. Its requests still name that server in their Host header.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

UNKNOWN_HOST: Final = "the Host header names an unknown server; allow it with --server-name"
"""Why a request is refused, with status 421."""

_LOCAL: Final = "localhost"
_MAX_CACHED: Final = 256


class AllowedHosts:
    """Checks the Host header if no credentials protect the service.

    Args:
        names: allowed names, in addition to IP addresses and `localhost`.
        is_checked: whether other names are refused.
    """

    def __init__(self, names: Iterable[str], *, is_checked: bool) -> None:
        self._names: Final = frozenset(name.lower() for name in names)
        self._is_checked: Final = is_checked
        self._known: Final[set[bytes]] = set()

    def allow(self, header: bytes | None) -> bool:
        """Whether a request may name this host; HTTP/1.0 requests may lack the header."""
        if not self._is_checked or header is None or header in self._known:
            return True
        host = _without_port(header.decode("latin-1").lower())
        if not (host in self._names or _is_local(host) or _is_address(host)):
            return False
        if len(self._known) < _MAX_CACHED:
            self._known.add(header)
        return True


def is_local_host(header: str) -> bool:
    """Whether a Host header names this machine: `localhost`, or an address of the loopback."""
    host = _without_port(header.lower())
    return _is_local(host) or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_local(host: str) -> bool:
    return host == _LOCAL or host.endswith(f".{_LOCAL}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
