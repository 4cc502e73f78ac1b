"""A connection with a timeout for the server's answers.

TCP keepalives detect a dead peer. A server that hangs still answers keepalives, so without
this timeout the ledger would wait forever.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import psycopg
from psycopg.waiting import Ready
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg.abc import PQGen

ANSWER_SECONDS: Final = 60.0
"""Maximum time without data from the server; a batch takes less unless a migration holds locks."""

_Answer = TypeVar("_Answer")


class TimedConnection(psycopg.Connection[Any]):
    """Raises `OperationalError` without data from the server for `answer_seconds`.

    If that is `None`, it is `ANSWER_SECONDS`.
    """

    answer_seconds: ClassVar[float | None] = None

    @override
    def wait(self, gen: PQGen[_Answer], *limits: Any, **named: Any) -> _Answer:
        return super().wait(_bounded(gen, self.answer_seconds or ANSWER_SECONDS), *limits, **named)


def _bounded(gen: PQGen[_Answer], answer_seconds: float) -> Generator[Any, Any, _Answer]:
    """The same waits with a timeout; psycopg reports `Ready.NONE` every 0.2 s without data."""
    last_data_at = time.monotonic()
    try:
        wait_for = next(gen)
        while True:
            ready = yield wait_for
            if ready != Ready.NONE:
                last_data_at = time.monotonic()
            elif time.monotonic() - last_data_at > answer_seconds:
                gen.close()
                raise psycopg.OperationalError("no answer in time")
            wait_for = gen.send(ready)
    except StopIteration as stop:
        answer: _Answer = stop.value
        return answer
