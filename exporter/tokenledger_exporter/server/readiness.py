"""Whether the database takes rows, for `/ready` while no request shows it."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from tokenledger_exporter.db.connection import session
from tokenledger_exporter.db.migrations import read_status
from tokenledger_exporter.errors import LedgerError
from tokenledger_exporter.sql import statements

_SQL: Final = statements("store")
_CACHE_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 3.0


class Readiness:
    """Asks the database, at most once a second however many senders ask.

    Args:
        database_url: the ledger.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url: Final = database_url
        self._asking: Final = asyncio.Lock()
        self._asked_at = -_CACHE_SECONDS
        self._reason = ""

    async def reason(self) -> str:
        """Why the database takes no rows; "" if it takes them."""
        async with self._asking:
            if time.monotonic() - self._asked_at >= _CACHE_SECONDS:
                answer = asyncio.to_thread(self._ask)
                try:
                    self._reason = await asyncio.wait_for(answer, _ANSWER_SECONDS)
                except asyncio.TimeoutError:
                    self._reason = "the database did not answer in time"
                self._asked_at = time.monotonic()
        return self._reason

    def _ask(self) -> str:
        try:
            with session(self._database_url) as connection:
                status = read_status(connection)
                if not status.is_current or status.older_table:
                    return status.sentence
                [(may_insert, is_replica)] = connection.execute(_SQL["may_insert"]).fetchall()
        except LedgerError as error:
            return str(error)
        if is_replica:
            return "the database is read-only, like a replica: use the primary"
        return "" if may_insert else "the database user may not insert calls: grant it INSERT"
