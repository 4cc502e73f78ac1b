"""Follows the calls in the order in which they are committed.

A call can be committed long after it began, and before a call that began earlier. So a timestamp is
no position. Each poll asks for the rows of all transactions that the poll before could not see, and
leaves out those that were returned before.

What is exact: each call is returned once, if its transaction commits within `MAX_COMMIT` of its
start, and if the call began within `late_by` of being written. A transaction that takes longer, or
an older call, may be missing. A call that is deleted before the next poll is not returned.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.rows import dict_row

from tokenledger_exporter.db.dimensions import narrowed
from tokenledger_exporter.queries.calls import FOLLOWED_COLUMNS
from tokenledger_exporter.sql import statements

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import psycopg

    from tokenledger_exporter.db.dimensions import Where

_SQL: Final = statements("live")

MAX_COMMIT: Final = timedelta(minutes=10)
"""How long a transaction that writes calls may take; those of this package take seconds."""

LATE_BY: Final = timedelta(hours=24)
"""How long after its start a call may be written and still be returned."""

_RECENT: Final = timedelta(minutes=10)
# Polls that read all of `late_by` may take this share of the time. The others read recent calls.
_MAX_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class _Position:
    """A snapshot: when it was taken, and its oldest running transaction."""

    taken_at: datetime
    oldest_xid: str


class CallFollower:
    """Returns new calls, poll by poll. The connection may be another one at each poll.

    Args:
        where: conditions on dimensions.
        late_by: how long after its start a call may be written and still be returned.

    Raises:
        InvalidRequestError: a dimension is unknown.
    """

    def __init__(self, where: Where | None = None, late_by: timedelta = LATE_BY) -> None:
        self._where, self._values = narrowed(where)
        self._late_by: Final = late_by
        self._returned: dict[UUID, datetime] = {}
        self._last_poll: _Position | None = None
        self._last_full_poll: _Position | None = None
        self._next_full_poll = 0.0

    def start(self, connection: psycopg.Connection[Any]) -> None:
        """Begin at this snapshot: the calls in it are not returned.

        Run it in one transaction with the query of the calls that come before.
        """
        position = self._position(connection)
        values = {
            **self._values,
            "since": position.taken_at - self._late_by,
            "recorded_since": position.taken_at - MAX_COMMIT,
        }
        query = sql.SQL(_SQL["recorded_ids"]).format(where=self._where)
        self._returned.update(connection.execute(query, values).fetchall())
        self._last_poll = self._last_full_poll = position

    def poll(self, connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
        """The calls that were committed since the last poll, oldest first.

        Each has `FOLLOWED_COLUMNS` and `recorded_at`.
        """
        began = time.monotonic()
        is_full = began >= self._next_full_poll
        with connection.transaction():
            position = self._position(connection)
            before = self._last_full_poll if is_full else self._last_poll
            rows = self._rows(connection, before or position, is_full=is_full)
        # Only now: a poll that fails is made again from the same position.
        self._last_poll = position
        if is_full:
            self._last_full_poll = position
            ended = time.monotonic()
            self._next_full_poll = ended + (ended - began) / _MAX_SHARE
        new = [row for row in rows if row["event_id"] not in self._returned]
        self._returned.update((row["event_id"], row["recorded_at"]) for row in new)
        self._forget()
        return new

    def _position(self, connection: psycopg.Connection[Any]) -> _Position:
        [row] = connection.execute(_SQL["position"]).fetchall()
        return _Position(*row)

    def _rows(
        self, connection: psycopg.Connection[Any], before: _Position, *, is_full: bool
    ) -> list[dict[str, Any]]:
        window = self._late_by if is_full else min(self._late_by, _RECENT)
        query = sql.SQL(_SQL["written_since"]).format(
            columns=sql.SQL(", ").join(map(sql.Identifier, FOLLOWED_COLUMNS)), where=self._where
        )
        values = {
            **self._values,
            # After an outage the last poll is long ago, and so are the calls written since.
            "since": before.taken_at - window,
            "recorded_since": before.taken_at - MAX_COMMIT,
            "oldest_xid": before.oldest_xid,
        }
        return connection.cursor(row_factory=dict_row).execute(query, values).fetchall()

    def _forget(self) -> None:
        """Drop the ids that no later poll can return again."""
        if self._last_full_poll is None:
            return
        oldest = self._last_full_poll.taken_at - MAX_COMMIT
        if any(recorded_at < oldest for recorded_at in self._returned.values()):
            self._returned = {
                event_id: recorded_at
                for event_id, recorded_at in self._returned.items()
                if recorded_at >= oldest
            }
