"""A connection that gives up a server which has said nothing for too long.

TCP's keepalives find a peer that is gone. One that hangs answers them, and without a limit of our
own the ledger would wait for it for ever.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg.waiting import Ready
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg.abc import PQGen

ANSWER_SECONDS: Final = 60.0
"""How long the server may say nothing: longer than any batch takes, locks of a migration apart."""

_Answer = TypeVar("_Answer")


class TimedConnection(psycopg.Connection[Any]):
    """Raises `OperationalError` once nothing has come for `ANSWER_SECONDS`."""

    @override
    def wait(self, gen: PQGen[_Answer], *limits: Any, **named: Any) -> _Answer:
        return super().wait(_bounded(gen), *limits, **named)


def _bounded(gen: PQGen[_Answer]) -> Generator[Any, Any, _Answer]:
    """The same waits; psycopg reports each fifth of a second that nothing came."""
    heard_at = time.monotonic()
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready != Ready.NONE:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > ANSWER_SECONDS:
                gen.close()
                raise psycopg.OperationalError("no answer in time")
            wanted = gen.send(ready)
    except StopIteration as ended:
        answer: _Answer = ended.value
        return answer
