"""Which HTTP connections of a worker may stay open.

A connection is a stranger's until one of its requests was admitted. Strangers get a small part of
the descriptors, so that they cannot use up those of senders. Where a group has too many, the oldest
connection of whoever has the most is ended.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, Protocol

from tokenledger_exporter.log import warn

if TYPE_CHECKING:
    from collections.abc import Hashable

MAX_CONNECTIONS: Final = 8_192
"""Open HTTP connections of one worker, however many descriptors it may have."""

MAX_STRANGERS: Final = 1_024
"""Of them, those without an admitted request; one address may have half of these."""

_FEWEST_CONNECTIONS: Final = 64
# Descriptors for the database, the listeners, gRPC and files.
_RESERVED: Final = 200
_WANTED_DESCRIPTORS: Final = 65_536


class Connection(Protocol):
    """What is counted."""

    def drop(self) -> None:
        """End it at once, whatever it is at."""
        ...


class _Pool:
    """Connections by owner, the oldest first."""

    def __init__(self, most: int) -> None:
        self._most: Final = most
        self._each: Final = max(1, most // 2)
        self._count = 0
        self._of: Final[defaultdict[Hashable, dict[Connection, None]]] = defaultdict(dict)

    def add(self, owner: Hashable, connection: Connection) -> None:
        """Take one in, as the newest of its owner, and end another where there are too many."""
        own = self._of[owner]
        if connection in own:
            del own[connection]
            own[connection] = None
            return
        own[connection] = None
        self._count += 1
        if len(own) > self._each:
            self._end_oldest(owner)
        elif self._count > self._most:
            self._end_oldest(max(self._of, key=lambda each: len(self._of[each])))

    def remove(self, owner: Hashable, connection: Connection) -> None:
        """Forget one; nothing if it is not there."""
        own = self._of.get(owner)
        if own is not None and connection in own:
            del own[connection]
            self._count -= 1
            if not own:
                del self._of[owner]

    def _end_oldest(self, owner: Hashable) -> None:
        oldest = next(iter(self._of[owner]))
        self.remove(owner, oldest)
        oldest.drop()


class Connections:
    """All of one worker.

    Args:
        descriptors: how many the process may have.
    """

    def __init__(self, descriptors: int) -> None:
        most = max(_FEWEST_CONNECTIONS, min(MAX_CONNECTIONS, descriptors - _RESERVED))
        self.most_strangers: Final = min(MAX_STRANGERS, most // 4)
        self._strangers: Final = _Pool(self.most_strangers)
        self._senders: Final = _Pool(most - self.most_strangers)

    def opened(self, address: str, connection: Connection) -> None:
        """Count a connection of a stranger."""
        self._strangers.add(address, connection)

    def admitted(self, address: str, sender: Hashable, connection: Connection) -> None:
        """Count it from now on as one of a sender, and as its newest."""
        self._strangers.remove(address, connection)
        self._senders.add(sender, connection)

    def closed(self, address: str, sender: Hashable | None, connection: Connection) -> None:
        """Forget it."""
        self._strangers.remove(address, connection)
        if sender is not None:
            self._senders.remove(sender, connection)


def raise_descriptor_limit() -> int:
    """Allow the process as many descriptors as it may allow itself; how many that are."""
    try:
        import resource  # noqa: PLC0415 - Windows has none, and no such limit
    except ModuleNotFoundError:
        return _WANTED_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    if soft != endless and soft < _WANTED_DESCRIPTORS:
        wanted = _WANTED_DESCRIPTORS if hard == endless else min(hard, _WANTED_DESCRIPTORS)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:
            warn("descriptors", f"the limit of {soft} open files stays ({type(error).__name__})")
        else:
            soft = wanted
    return _WANTED_DESCRIPTORS if soft == endless else soft
