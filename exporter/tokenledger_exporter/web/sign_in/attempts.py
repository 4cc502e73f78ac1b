"""Limits how often a wrong token may be tried, per address and altogether."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PER_ADDRESS: Final = 10
"""Wrong tokens that one address may try per period."""

ALTOGETHER: Final = 300
"""Wrong tokens that all addresses together may try per period."""

PERIOD_SECONDS: Final = 300.0
"""The period, from the first attempt on."""

_MAX_ADDRESSES: Final = 10_000
_SUBNET_BITS: Final = 64


@dataclass(slots=True)
class _Count:
    began: float
    failures: int = 0


class Attempts:
    """Counts wrong tokens; a right one is never counted.

    Args:
        clock: seconds of a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock: Final = clock
        self._all = _Count(clock())
        self._by_address: Final[OrderedDict[str, _Count]] = OrderedDict()

    def wait_seconds(self, address: str) -> int:
        """How long an address must wait before its next attempt; 0 if it may try now."""
        count = self._current(self._by_address.get(_group(address)))
        self._all = self._current(self._all)
        waits = [
            each.began + PERIOD_SECONDS - self._clock()
            for each, limit in ((count, PER_ADDRESS), (self._all, ALTOGETHER))
            if each.failures >= limit
        ]
        return max(1, math.ceil(max(waits))) if waits else 0

    def note_failure(self, address: str) -> None:
        """Count a wrong token."""
        group = _group(address)
        count = self._by_address[group] = self._current(self._by_address.pop(group, None))
        while len(self._by_address) > _MAX_ADDRESSES:
            self._by_address.popitem(last=False)
        self._all = self._current(self._all)
        for each in (count, self._all):
            each.failures += 1

    def _current(self, count: _Count | None) -> _Count:
        """A count, or a new one if its period is over."""
        now = self._clock()
        if count is None or now - count.began >= PERIOD_SECONDS:
            return _Count(now)
        return count


def _group(address: str) -> str:
    """The address, or its /64 network: one machine has as many IPv6 addresses as it likes."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, _SUBNET_BITS), strict=False))
    return str(parsed)
