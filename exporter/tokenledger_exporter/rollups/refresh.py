"""Refreshes the roll-ups, so that sums by slice, hour, day and week equal the sums of the calls.

A transaction that changes calls marks their slices (two seconds each) as dirty. A refresher takes
the marks and then, in a later statement, adds the difference between the calls and their roll-up to
every level. Marks and old sums stay visible until it commits. So in every snapshot the roll-up,
minus the dirty slices, plus the calls of those slices, is the sum of the calls. Older hours have no
slices: there a mark makes the whole hour dirty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tokenledger_exporter.db import row_faults
from tokenledger_exporter.db.connection import explain
from tokenledger_exporter.domain.time_range import BEGINNING, END
from tokenledger_exporter.rollups.columns import (
    ADD_EXPRESSIONS,
    SUM_EXPRESSIONS,
    listed,
    recompute_statement,
)
from tokenledger_exporter.sql import fill, statements
from tokenledger_semconv.dimensions import ROLLUP_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_SQL: Final = statements("rollups_refresh")

SLICE: Final = timedelta(seconds=2)
"""What is marked as dirty. It is short, so that a slice has few calls even at a high rate."""

LEVELS: Final = ("slices", "hours", "days", "weeks")
"""Levels of the roll-ups."""

_SECONDS: Final = int(SLICE.total_seconds())
_HOUR: Final = timedelta(hours=1)

_HOT_SLICES: Final = 600
"""Most slices a transaction recomputes."""

_COLD_HOURS: Final = 6
"""Most whole hours a transaction recomputes: slices that become dirty wait for it."""


@dataclass(slots=True)
class RefreshResult:
    """Result of a refresh.

    Args:
        slices: slices that were recomputed.
        hours: whole hours that were recomputed.
        days: earlier days that were rolled up for the first time.
        skipped: start of a slice, hour or day that cannot be rolled up -> reason. It stays dirty,
            and its calls are read instead.
    """

    slices: int = 0
    hours: int = 0
    days: int = 0
    skipped: dict[datetime, str] = field(default_factory=dict["datetime", str])


@dataclass(frozen=True, slots=True)
class RefreshLimits:
    """How much one transaction recomputes, and what it skips."""

    slices: int = _HOT_SLICES
    hours: int = _COLD_HOURS
    skipped: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True)
class ClaimedSlices:
    """Slices whose marks were taken, and hours that have no slices."""

    slices: tuple[datetime, ...] = ()
    hours: tuple[datetime, ...] = ()


def slices_of(timestamps: Iterable[datetime]) -> list[datetime]:
    """The starts of the slices of some timestamps, each once."""
    # Seconds as a float are exact to less than a microsecond, and slices begin at whole seconds.
    numbers = {timestamp.timestamp() // _SECONDS for timestamp in timestamps}
    return [datetime.fromtimestamp(number * _SECONDS, timezone.utc) for number in sorted(numbers)]


def mark(connection: psycopg.Connection[Any], timestamps: Iterable[datetime]) -> None:
    """Mark the slices of calls that change in this transaction.

    Callers that write to a partition need it; a trigger marks changes of `token_ledger_events`.
    """
    if slices := slices_of(timestamps):
        connection.execute(_SQL["mark"], {"slices": slices})


def refresh(connection: psycopg.Connection[Any], *, build: bool = True) -> RefreshResult:
    """Bring the roll-ups up to date, a portion at a time. Do nothing if another session does.

    Args:
        connection: the ledger, with no transaction open; the user may refresh the roll-ups.
        build: also roll up calls from before the roll-ups began.

    Raises:
        LedgerError: any error of the database; committed portions stay correct.
    """
    done = RefreshResult()
    try:
        _refresh_marked(connection, done)
        while _close_days(connection):
            pass
        while build and _build_one_day(connection, done):
            # Calls that changed meanwhile do not wait for earlier days.
            _refresh_marked(connection, done)
    except psycopg.Error as error:
        raise explain(error) from None
    return done


def may_refresh(connection: psycopg.Connection[Any]) -> bool:
    """Whether this database user may refresh the roll-ups."""
    row = connection.execute(_SQL["may_refresh"]).fetchone()
    return bool(row and row[0])


def try_lock(connection: psycopg.Connection[Any]) -> bool:
    """Take the roll-up lock for the transaction; False if another session has it."""
    row = connection.execute(_SQL["try_lock"]).fetchone()
    return bool(row and row[0])


def lock(connection: psycopg.Connection[Any]) -> None:
    """Wait for the roll-up lock, at most `lock_timeout`."""
    connection.execute(_SQL["lock"])


def take(
    connection: psycopg.Connection[Any],
    since: datetime = BEGINNING,
    until: datetime = END,
    portion: RefreshLimits | None = None,
) -> ClaimedSlices:
    """Take the marks of some slices and hours, which must then be recomputed.

    Args:
        connection: the ledger, under the lock, `READ COMMITTED`: later statements see every change
            that was made before the mark was taken.
        since: start of the period, included.
        until: end, not included.
        portion: how many; by default as many as one transaction recomputes.
    """
    portion = portion or RefreshLimits()
    period = {"since": since, "until": until, "skipped": list(portion.skipped)}
    hot = connection.execute(_SQL["take_hot"], {**period, "limit": portion.slices}).fetchall()
    cold = connection.execute(_SQL["take_cold"], {**period, "limit": portion.hours}).fetchall()
    return ClaimedSlices(
        slices=tuple(sorted({bucket for (bucket,) in hot})),
        hours=tuple(sorted(bucket for bucket, is_rolled_up in cold if is_rolled_up)),
    )


def recompute(connection: psycopg.Connection[Any], taken: ClaimedSlices) -> None:
    """Recompute the sums of slices and hours whose marks were taken."""
    connection.execute(_SQL["raise_work_mem"])
    if taken.slices:
        _add_difference(connection, "slices", taken.slices)
    if taken.hours:
        _add_difference(connection, "hours", taken.hours)


def freeze_month(connection: psycopg.Connection[Any], since: datetime, until: datetime) -> None:
    """Make a month's sums final, in the transaction that drops its calls.

    Calls that arrived after the month was dropped once are added to its final sums.

    Args:
        connection: the ledger, under `lock`; no other session can write to the month.
        since: start of the month.
        until: start of the next.
    """
    while (newest := _newest_not_rolled_up(connection)) and newest >= since:
        _build_day(connection, newest)
    [(is_frozen,)] = connection.execute(_SQL["is_frozen"], {"until": until}).fetchall()
    if is_frozen:
        hours = connection.execute(_SQL["hours_between"], {"since": since, "until": until})
        if buckets := [bucket for (bucket,) in hours.fetchall()]:
            connection.execute(_SQL["raise_work_mem"])
            _add_difference(connection, "hours", buckets, add=True)
    while (taken := take(connection, since, until)) != ClaimedSlices():
        recompute(connection, taken)
    connection.execute(_SQL["delete_slices"], {"since": since, "until": until})
    connection.execute(_SQL["freeze"], {"until": until})


def rename_user(connection: psycopg.Connection[Any], user: str, pseudonym: str) -> None:
    """Move a user's sums to a pseudonym. The caller holds `lock` and changes the calls."""
    for level in LEVELS:
        statement = sql.SQL(_SQL["rename_user"]).format(
            level=sql.Identifier(f"token_ledger_rollup_{level}"),
            figures=sql.SQL(SUM_EXPRESSIONS["figures"]),
            added=sql.SQL(ADD_EXPRESSIONS),
        )
        connection.execute(statement, {"user": user, "pseudonym": pseudonym})


def _refresh_marked(connection: psycopg.Connection[Any], done: RefreshResult) -> None:
    """Recompute what is dirty, and skip what cannot be recomputed."""
    try:
        while _refresh_batch(connection, done, RefreshLimits(skipped=tuple(done.skipped))):
            pass
    except psycopg.Error as error:
        if not row_faults.may_be_row_fault(error):
            raise
        for slices, hours in ((1, 0), (0, 1)):
            _refresh_singly(connection, done, slices, hours)


def _refresh_singly(
    connection: psycopg.Connection[Any], done: RefreshResult, slices: int, hours: int
) -> None:
    more = True
    while more:
        taken: list[ClaimedSlices] = []
        try:
            portion = RefreshLimits(slices, hours, tuple(done.skipped))
            more = _refresh_batch(connection, done, portion, taken)
        except psycopg.Error as error:
            if not (taken and row_faults.may_be_row_fault(error)):
                raise
            [bucket] = (*taken[0].slices, *taken[0].hours)
            done.skipped[bucket] = row_faults.reason_of(error)


def _refresh_batch(
    connection: psycopg.Connection[Any],
    done: RefreshResult,
    portion: RefreshLimits,
    taken_up: list[ClaimedSlices] | None = None,
) -> bool:
    """Recompute a portion of what is dirty; return whether there may be more.

    Args:
        connection: the ledger, with no transaction open.
        done: its counts are increased.
        portion: how much.
        taken_up: receives the slices and hours before they are recomputed.
    """
    with connection.transaction():
        if not try_lock(connection):
            return False
        connection.execute(_SQL["move_on"])
        taken = take(connection, portion=portion)
        if taken_up is not None:
            taken_up.append(taken)
        if taken != ClaimedSlices():
            recompute(connection, taken)
    done.slices += len(taken.slices)
    done.hours += len(taken.hours)
    return bool((portion.slices and len(taken.slices) == portion.slices) or taken.hours)


def _close_days(connection: psycopg.Connection[Any]) -> bool:
    """Add finished days to their week; return whether there may be more."""
    with connection.transaction():
        if not try_lock(connection):
            return False
        done = connection.execute(_CLOSE_DAYS, {"dimensions": _DIMENSIONS})
        return bool(done.rowcount)


def _build_one_day(connection: psycopg.Connection[Any], done: RefreshResult) -> bool:
    """Roll up one more earlier day, newest first; return whether there may be more."""
    with connection.transaction():
        if not try_lock(connection):
            return False
        newest = _newest_not_rolled_up(connection)
        if newest is None:
            connection.execute(_SQL["set_all_built"])
            return False
        try:
            with connection.transaction():
                _build_day(connection, newest)
        except psycopg.Error as error:
            if not row_faults.may_be_row_fault(error):
                raise
            # Roll-ups have no gap: calls before this day are read from the rows.
            done.skipped[newest] = row_faults.reason_of(error)
            return False
    done.days += 1
    return True


def _newest_not_rolled_up(connection: psycopg.Connection[Any]) -> datetime | None:
    row = connection.execute(_SQL["newest_not_rolled_up"]).fetchone()
    return row[0] if row else None


def _build_day(connection: psycopg.Connection[Any], newest: datetime) -> None:
    values = {"newest": newest}
    begun = connection.execute(_SQL["begin"]).fetchone()
    connection.execute(_SQL["take_day"], values)
    connection.execute(_SQL["raise_work_mem"])
    if begun:
        _add_difference(connection, "slices", with_calls(connection, begun[0], END).slices)
    hours = [bucket for (bucket,) in connection.execute(_SQL["hours_of_day"], values).fetchall()]
    _add_difference(connection, "hours", hours)
    connection.execute(_SQL["set_built"], values)


def with_calls(
    connection: psycopg.Connection[Any], since: datetime, until: datetime
) -> ClaimedSlices:
    """Slices with calls in a period, and hours with calls that have no slices."""
    period = {"since": since, "until": until}
    rows = connection.execute(_SQL["buckets_of"], period).fetchall()
    return ClaimedSlices(
        slices=tuple(sorted(bucket for is_hot, bucket in rows if is_hot)),
        hours=tuple(sorted(bucket for is_hot, bucket in rows if not is_hot)),
    )


def _add_difference(
    connection: psycopg.Connection[Any],
    level: str,
    buckets: Sequence[datetime],
    *,
    add: bool = False,
) -> None:
    """Add the difference between the calls of some buckets and their roll-up.

    Args:
        connection: the ledger, under the lock.
        level: slices or hours.
        buckets: their starts.
        add: the roll-up is of other calls, so add all of these.
    """
    is_hot = level == "slices"
    values = {
        "buckets": list(buckets),
        "length": SLICE if is_hot else _HOUR,
        "add": add,
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_RECOMPUTE[level], values).fetchone()
        if row and row["with_fewer_calls"]:
            cursor.execute(_SQL["delete_empty"], values)


_CLOSE_DAYS: Final = sql.SQL(
    fill(
        _SQL["close_days"],
        figures=SUM_EXPRESSIONS["figures"],
        added=ADD_EXPRESSIONS,
        sums=listed("sum(days.{name})"),
    )
)
_DIMENSIONS: Final = ["", *(dimension.name for dimension in ROLLUP_DIMENSIONS)]
_RECOMPUTE: Final = {level: recompute_statement(level) for level in ("slices", "hours")}
