"""Keeps the roll-ups: sums of calls by slice, hour and day that are the same as the calls' own.

Whoever changes calls marks their slices (two seconds) in the same transaction. A refresher takes
marks and then, in a statement that sees no less, adds the difference between the calls and what is
rolled up of them to every level. Until it commits, marks and old sums stand; from then on neither
does. So in every snapshot the roll-up, less what is marked, plus the calls of what is marked, is
the sum of the calls. Of older hours there are no slices: there the whole hour is marked.
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
from tokenledger_exporter.rollups.columns import ADDED, SUMMED, listed, recompute_statement
from tokenledger_exporter.sql import fill, statements
from tokenledger_semconv.dimensions import ROLLED_UP

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_SQL: Final = statements("rollups_refresh")

SLICE: Final = timedelta(seconds=2)
"""What is marked: short, so that the calls of a marked slice are few even at a high rate."""

LEVELS: Final = ("slices", "hours", "days", "weeks")
"""What there are sums of."""

_SECONDS: Final = int(SLICE.total_seconds())
_HOUR: Final = timedelta(hours=1)
_BEGINNING: Final = datetime.min.replace(tzinfo=timezone.utc)
_END: Final = datetime.max.replace(tzinfo=timezone.utc)

_HOT_SLICES: Final = 600
"""Slices a transaction recomputes."""

_COLD_HOURS: Final = 6
"""Whole hours a transaction recomputes: slices that are marked meanwhile wait for it."""


@dataclass(slots=True)
class Refreshed:
    """What a refresh did.

    Args:
        slices: slices that were recomputed.
        hours: whole hours that were recomputed.
        days: days of the past that were rolled up for the first time.
        skipped: start of a slice, hour or day that cannot be rolled up -> why. It stays marked, and
            its calls are read instead.
    """

    slices: int = 0
    hours: int = 0
    days: int = 0
    skipped: dict[datetime, str] = field(default_factory=dict["datetime", str])


@dataclass(frozen=True, slots=True)
class Portion:
    """How much one transaction recomputes, and what it leaves out."""

    slices: int = _HOT_SLICES
    hours: int = _COLD_HOURS
    skipped: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """Marks that were taken: slices, and hours that have no slices."""

    slices: tuple[datetime, ...] = ()
    hours: tuple[datetime, ...] = ()


def slices_of(moments: Iterable[datetime]) -> list[datetime]:
    """The starts of the slices of some moments, each once."""
    # Seconds as a float are exact to less than a microsecond, and slices begin at whole seconds.
    numbers = {moment.timestamp() // _SECONDS for moment in moments}
    return [datetime.fromtimestamp(number * _SECONDS, timezone.utc) for number in sorted(numbers)]


def mark(connection: psycopg.Connection[Any], moments: Iterable[datetime]) -> None:
    """Say that calls of these moments change in this transaction.

    For who writes to a partition; changes through `token_ledger_events` are marked by a trigger.
    """
    if slices := slices_of(moments):
        connection.execute(_SQL["mark"], {"slices": slices})


def refresh(connection: psycopg.Connection[Any], *, build: bool = True) -> Refreshed:
    """Bring the roll-ups up to date, a few at a time; nothing where somebody else is at it.

    Args:
        connection: the ledger, with no transaction open; the user may keep the roll-ups.
        build: roll up calls of before the roll-ups began, too.

    Raises:
        LedgerError: whatever the database says; what was committed stays right.
    """
    done = Refreshed()
    try:
        _refresh_marked(connection, done)
        while _close_days(connection):
            pass
        while build and _build_some(connection, done):
            # What was marked meanwhile does not wait for the past.
            _refresh_marked(connection, done)
    except psycopg.Error as error:
        raise explain(error) from None
    return done


def may_refresh(connection: psycopg.Connection[Any]) -> bool:
    """Whether this database user may keep the roll-ups."""
    found = connection.execute(_SQL["may_refresh"]).fetchone()
    return bool(found and found[0])


def try_lock(connection: psycopg.Connection[Any]) -> bool:
    """Be the one refresher for the rest of the transaction; False if somebody else is."""
    found = connection.execute(_SQL["try_lock"]).fetchone()
    return bool(found and found[0])


def lock(connection: psycopg.Connection[Any]) -> None:
    """Wait to be the one refresher, as long as `lock_timeout` says."""
    connection.execute(_SQL["lock"])


def take(
    connection: psycopg.Connection[Any],
    since: datetime = _BEGINNING,
    until: datetime = _END,
    portion: Portion | None = None,
) -> Taken:
    """Take the marks of some slices and hours; what is taken must be recomputed.

    Args:
        connection: the ledger, under the lock, `READ COMMITTED`: what changed before a mark was
            taken is seen by the statements after that.
        since: start of the stretch, included.
        until: end, not included.
        portion: how many; as many as one transaction recomputes unless told otherwise.
    """
    portion = portion or Portion()
    stretch = {"since": since, "until": until, "skipped": list(portion.skipped)}
    hot = connection.execute(_SQL["take_hot"], {**stretch, "limit": portion.slices}).fetchall()
    cold = connection.execute(_SQL["take_cold"], {**stretch, "limit": portion.hours}).fetchall()
    return Taken(
        slices=tuple(sorted({bucket for (bucket,) in hot})),
        hours=tuple(sorted(bucket for bucket, is_rolled_up in cold if is_rolled_up)),
    )


def recompute(connection: psycopg.Connection[Any], taken: Taken) -> None:
    """Make the sums of what was taken those of its calls."""
    connection.execute(_SQL["raise_work_mem"])
    if taken.slices:
        _add_difference(connection, "slices", taken.slices)
    if taken.hours:
        _add_difference(connection, "hours", taken.hours)


def freeze_month(connection: psycopg.Connection[Any], since: datetime, until: datetime) -> None:
    """Bring a month's sums up to date for good, within the transaction that lets its calls go.

    Calls of a month that went before and came again are added to what is known of it.

    Args:
        connection: the ledger, under `lock`; nobody else can write to the month.
        since: start of the month.
        until: start of the next.
    """
    while (newest := _unbuilt(connection)) and newest >= since:
        _build_day(connection, newest)
    [(is_frozen,)] = connection.execute(_SQL["is_frozen"], {"until": until}).fetchall()
    if is_frozen:
        hours = connection.execute(_SQL["hours_between"], {"since": since, "until": until})
        if found := [bucket for (bucket,) in hours.fetchall()]:
            connection.execute(_SQL["raise_work_mem"])
            _add_difference(connection, "hours", found, add=True)
    while (taken := take(connection, since, until)) != Taken():
        recompute(connection, taken)
    connection.execute(_SQL["delete_slices"], {"since": since, "until": until})
    connection.execute(_SQL["freeze"], {"until": until})


def rename_user(connection: psycopg.Connection[Any], user: str, pseudonym: str) -> None:
    """Put a user's sums under another name; the caller holds `lock` and renames the calls."""
    for level in LEVELS:
        statement = sql.SQL(_SQL["rename_user"]).format(
            level=sql.Identifier(f"token_ledger_rollup_{level}"),
            figures=sql.SQL(SUMMED["figures"]),
            added=sql.SQL(ADDED),
        )
        connection.execute(statement, {"user": user, "pseudonym": pseudonym})


def _refresh_marked(connection: psycopg.Connection[Any], done: Refreshed) -> None:
    """Recompute what is marked; what cannot be is left out, and stops nothing else."""
    try:
        while _refresh_some(connection, done, Portion(skipped=tuple(done.skipped))):
            pass
    except psycopg.Error as error:
        if not row_faults.may_be_a_rows_fault(error):
            raise
        for slices, hours in ((1, 0), (0, 1)):
            _refresh_singly(connection, done, slices, hours)


def _refresh_singly(
    connection: psycopg.Connection[Any], done: Refreshed, slices: int, hours: int
) -> None:
    more = True
    while more:
        taken: list[Taken] = []
        try:
            portion = Portion(slices, hours, tuple(done.skipped))
            more = _refresh_some(connection, done, portion, taken)
        except psycopg.Error as error:
            if not (taken and row_faults.may_be_a_rows_fault(error)):
                raise
            [bucket] = (*taken[0].slices, *taken[0].hours)
            done.skipped[bucket] = row_faults.reason_of(error)


def _refresh_some(
    connection: psycopg.Connection[Any],
    done: Refreshed,
    portion: Portion,
    taken_up: list[Taken] | None = None,
) -> bool:
    """Recompute a portion of what is marked; whether there may be more.

    Args:
        connection: the ledger, with no transaction open.
        done: counts what was recomputed.
        portion: how much.
        taken_up: gets what was taken, before it is recomputed.
    """
    with connection.transaction():
        if not try_lock(connection):
            return False
        connection.execute(_SQL["move_on"])
        taken = take(connection, portion=portion)
        if taken_up is not None:
            taken_up.append(taken)
        if taken != Taken():
            recompute(connection, taken)
    done.slices += len(taken.slices)
    done.hours += len(taken.hours)
    return bool((portion.slices and len(taken.slices) == portion.slices) or taken.hours)


def _close_days(connection: psycopg.Connection[Any]) -> bool:
    """Add days that are over to their week; whether there may be more."""
    with connection.transaction():
        if not try_lock(connection):
            return False
        done = connection.execute(_CLOSE_DAYS, {"dimensions": _DIMENSIONS})
        return bool(done.rowcount)


def _build_some(connection: psycopg.Connection[Any], done: Refreshed) -> bool:
    """Roll up one day more of the past, the newest first."""
    with connection.transaction():
        if not try_lock(connection):
            return False
        newest = _unbuilt(connection)
        if newest is None:
            connection.execute(_SQL["set_all_built"])
            return False
        try:
            with connection.transaction():
                _build_day(connection, newest)
        except psycopg.Error as error:
            if not row_faults.may_be_a_rows_fault(error):
                raise
            # Roll-ups reach back without a gap: what is before this day is read from the calls.
            done.skipped[newest] = row_faults.reason_of(error)
            return False
    done.days += 1
    return True


def _unbuilt(connection: psycopg.Connection[Any]) -> datetime | None:
    found = connection.execute(_SQL["newest_not_rolled_up"]).fetchone()
    return found[0] if found else None


def _build_day(connection: psycopg.Connection[Any], newest: datetime) -> None:
    values = {"newest": newest}
    begun = connection.execute(_SQL["begin"]).fetchone()
    connection.execute(_SQL["take_day"], values)
    connection.execute(_SQL["raise_work_mem"])
    if begun:
        _add_difference(connection, "slices", with_calls(connection, begun[0], _END).slices)
    hours = [bucket for (bucket,) in connection.execute(_SQL["hours_of_day"], values).fetchall()]
    _add_difference(connection, "hours", hours)
    connection.execute(_SQL["set_built"], values)


def with_calls(connection: psycopg.Connection[Any], since: datetime, until: datetime) -> Taken:
    """What has calls from one moment up to another: slices, and hours that have no slices."""
    stretch = {"since": since, "until": until}
    found = connection.execute(_SQL["buckets_of"], stretch).fetchall()
    return Taken(
        slices=tuple(sorted(bucket for is_hot, bucket in found if is_hot)),
        hours=tuple(sorted(bucket for is_hot, bucket in found if not is_hot)),
    )


def _add_difference(
    connection: psycopg.Connection[Any],
    level: str,
    buckets: Sequence[datetime],
    *,
    add: bool = False,
) -> None:
    """Add what the calls of some buckets are more, or less, than what is rolled up of them.

    Args:
        connection: the ledger, under the lock.
        level: slices or hours.
        buckets: their starts.
        add: what is rolled up is of other calls, so all of these are more.
    """
    is_hot = level == "slices"
    values = {
        "buckets": list(buckets),
        "length": SLICE if is_hot else _HOUR,
        "add": add,
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(_RECOMPUTE[level], values).fetchone()
        if found and found["with_fewer_calls"]:
            cursor.execute(_SQL["delete_empty"], values)


_CLOSE_DAYS: Final = sql.SQL(
    fill(
        _SQL["close_days"], figures=SUMMED["figures"], added=ADDED, sums=listed("sum(days.{name})")
    )
)
_DIMENSIONS: Final = ["", *(dimension.name for dimension in ROLLED_UP)]
_RECOMPUTE: Final = {level: recompute_statement(level) for level in ("slices", "hours")}
