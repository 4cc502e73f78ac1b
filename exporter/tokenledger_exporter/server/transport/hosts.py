"""Which Host headers are answered.

A web page can make the name of its own server mean 127.0.0.1 and then read and write what listens
there without a token (DNS rebinding). Its requests still name that server.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.server.responses import Refusal, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

_LOCAL: Final = "localhost"
_MAX_REMEMBERED: Final = 256


class Hosts:
    """Checks the header where no credentials protect the service.

    Args:
        names: names beside IP addresses and `localhost`.
        is_checked: whether any other is refused.
    """

    def __init__(self, names: Iterable[str], *, is_checked: bool) -> None:
        self._names: Final = frozenset(name.lower() for name in names)
        self._is_checked: Final = is_checked
        self._known: Final[set[bytes]] = set()

    def check(self, header: bytes | None) -> None:
        """Refuse a request for another host; HTTP/1.0 need not name any.

        Raises:
            RefusedError: it is for another.
        """
        if not self._is_checked or header is None or header in self._known:
            return
        host = _without_port(header.decode("latin-1").lower())
        if not (host in self._names or _is_local(host) or _is_address(host)):
            told = "the Host header is a name the service does not know: see --server-name"
            raise RefusedError(Refusal(421, told))
        if len(self._known) < _MAX_REMEMBERED:
            self._known.add(header)


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
