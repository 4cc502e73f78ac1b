"""Whether a database can be used, asked at most once a second however many clients want to know."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_CACHE_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 3.0


class Availability:
    """Shares one answer of the database among the clients of a second.

    Args:
        ask: asks the database, in a thread; returns why it cannot be used, "" if it can.
    """

    def __init__(self, ask: Callable[[], str]) -> None:
        self._ask: Final = ask
        self._asking: Final = asyncio.Lock()
        self._asked_at = -_CACHE_SECONDS
        self._reason = ""

    async def reason(self) -> str:
        """Why the database cannot be used; "" if it can."""
        async with self._asking:
            if time.monotonic() - self._asked_at >= _CACHE_SECONDS:
                answer = asyncio.to_thread(self._ask)
                try:
                    self._reason = await asyncio.wait_for(answer, _ANSWER_SECONDS)
                except asyncio.TimeoutError:
                    self._reason = "the database did not answer in time"
                self._asked_at = time.monotonic()
        return self._reason
