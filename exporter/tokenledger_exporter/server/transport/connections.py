"""Limits the open HTTP connections of a worker.

A connection is anonymous until one of its requests is admitted. Anonymous connections get a small
part of the file descriptors, so that they cannot exhaust those of senders. If a group has too many,
the oldest connection of the client with the most is closed.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, Protocol

from tokenledger_exporter.log import warn

if TYPE_CHECKING:
    from collections.abc import Hashable

MAX_CONNECTIONS: Final = 8_192
"""Open HTTP connections of one worker, even if the process may have more descriptors."""

MAX_ANONYMOUS: Final = 1_024
"""Connections without an admitted request; one address may have half of them."""

_MIN_CONNECTIONS: Final = 64
# File descriptors for the database, the listeners, gRPC and files.
_RESERVED_DESCRIPTORS: Final = 200
_WANTED_DESCRIPTORS: Final = 65_536


class Connection(Protocol):
    """A connection that can be closed."""

    def drop(self) -> None:
        """Close it at once, even during a request."""
        ...


class _Pool:
    """Connections by owner, oldest first."""

    def __init__(self, max_count: int) -> None:
        self._max_count: Final = max_count
        self._max_per_owner: Final = max(1, max_count // 2)
        self._count = 0
        self._by_owner: Final[defaultdict[Hashable, dict[Connection, None]]] = defaultdict(dict)

    def add(self, owner: Hashable, connection: Connection) -> None:
        """Add a connection as the newest of its owner; close another if there are too many."""
        connections = self._by_owner[owner]
        if connection in connections:
            del connections[connection]
            connections[connection] = None
            return
        connections[connection] = None
        self._count += 1
        if len(connections) > self._max_per_owner:
            self._close_oldest(owner)
        elif self._count > self._max_count:
            self._close_oldest(max(self._by_owner, key=lambda name: len(self._by_owner[name])))

    def remove(self, owner: Hashable, connection: Connection) -> None:
        """Forget a connection; do nothing if it is unknown."""
        connections = self._by_owner.get(owner)
        if connections is not None and connection in connections:
            del connections[connection]
            self._count -= 1
            if not connections:
                del self._by_owner[owner]

    def _close_oldest(self, owner: Hashable) -> None:
        oldest = next(iter(self._by_owner[owner]))
        self.remove(owner, oldest)
        oldest.drop()


class Connections:
    """All connections of one worker.

    Args:
        descriptors: file descriptors the process may have.
    """

    def __init__(self, descriptors: int) -> None:
        max_count = max(_MIN_CONNECTIONS, min(MAX_CONNECTIONS, descriptors - _RESERVED_DESCRIPTORS))
        self.max_anonymous: Final = min(MAX_ANONYMOUS, max_count // 4)
        self._anonymous: Final = _Pool(self.max_anonymous)
        self._senders: Final = _Pool(max_count - self.max_anonymous)

    def opened(self, address: str, connection: Connection) -> None:
        """Count a new, anonymous connection."""
        self._anonymous.add(address, connection)

    def admitted(self, address: str, sender: Hashable, connection: Connection) -> None:
        """Count it as a sender's newest connection from now on."""
        self._anonymous.remove(address, connection)
        self._senders.add(sender, connection)

    def closed(self, address: str, sender: Hashable | None, connection: Connection) -> None:
        """Forget a closed connection."""
        self._anonymous.remove(address, connection)
        if sender is not None:
            self._senders.remove(sender, connection)


def raise_descriptor_limit() -> int:
    """Raise the limit of open files as far as the system allows; returns the new limit."""
    try:
        import resource  # noqa: PLC0415 - Windows has neither the module nor the limit
    except ModuleNotFoundError:
        return _WANTED_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < _WANTED_DESCRIPTORS:
        wanted = _WANTED_DESCRIPTORS if hard == unlimited else min(hard, _WANTED_DESCRIPTORS)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:
            warn(
                "descriptors",
                f"cannot raise the limit of {soft} open files ({type(error).__name__})",
            )
        else:
            soft = wanted
    return _WANTED_DESCRIPTORS if soft == unlimited else soft
