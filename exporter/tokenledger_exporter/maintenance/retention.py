"""Retention: drops months that are older than the retention period.

Nothing expires unless a retention period is set. Only whole months are dropped, each in one
transaction. It waits two seconds for its locks, and otherwise leaves the month for the next run.
The roll-ups of a dropped month stay; the same transaction brings them up to date.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import errors as pg_errors
from psycopg import sql
from psycopg.rows import dict_row

from tokenledger_exporter.db import row_faults
from tokenledger_exporter.db.audit_log import log_action
from tokenledger_exporter.db.connection import session
from tokenledger_exporter.errors import InvalidRequestError, LedgerError
from tokenledger_exporter.maintenance.archive import archive_month
from tokenledger_exporter.plain_text import counted
from tokenledger_exporter.rollups import refresh
from tokenledger_exporter.sql import statements

_SQL: Final = statements("retention")
_NOTHING: Final = Decimal(0)

FORMS: Final = "400d, 13mo, 2y or forever"
"""Examples of retention periods, for error messages and help."""

_PRINTED: Final = re.compile(r"(\d+) (years?|mons?|days?)")
_KEEP: Final = re.compile(r"^(\d{1,4})\s*(d|mo|y)$")
_UNITS: Final = {"d": "days", "mo": "months", "y": "years"}
_MIN_DAYS: Final = 31
_LEAF: Final = re.compile(r"^token_ledger_events_(\d{4})_(\d{2})$")


@dataclass(frozen=True, slots=True)
class Retention:
    """The retention settings.

    Args:
        keep: the retention period in words: `13 months`.
        archive_to: folder for archives of dropped months; "" means no archives.
        horizon: start of the oldest month that is stored.
    """

    keep: str
    archive_to: str
    changed_by: str
    recorded_at: datetime
    horizon: datetime


@dataclass(frozen=True, slots=True)
class Month:
    """One month that was dropped, or would be.

    Args:
        name: its partition.
        rows: calls in it.
        cost_usd: their known cost, US dollars.
        archived_to: its archive file; `None` if it was not archived.
        waits: why it was not dropped; "" if it was, or in a simulation.
    """

    name: str
    rows: int
    cost_usd: Decimal
    archived_to: Path | None = None
    waits: str = ""


def set_retention(database_url: str, keep: str, archive_to: str | None = None) -> Retention | None:
    """Set the retention period; returns the settings, `None` for "forever".

    Args:
        database_url: the ledger.
        keep: one of the `FORMS`.
        archive_to: folder that months are archived to before they are dropped; "" archives none,
            and `None` leaves the folder as it is.

    Raises:
        InvalidRequestError: `keep` has none of the `FORMS`, or is shorter than a month.
        LedgerError: only the tables' owner may set the folder.
    """
    interval = _interval(keep)
    with session(database_url) as connection, connection.transaction():
        folder = str(Path(archive_to).expanduser().resolve()) if archive_to else None
        if archive_to is None and (current := _read(connection)) and _is_owner(connection):
            # Another user leaves the folder as it is anyway.
            folder = current.archive_to or None
        connection.execute(_SQL["set"], {"keep": interval, "archive_to": folder})
        log_action(connection, "retention set", {"keep": interval or "forever"})
        return _read(connection)


def show_retention(database_url: str) -> Retention | None:
    """The settings; `None` if no retention period is set."""
    with session(database_url) as connection:
        return _read(connection)


def run_retention(database_url: str, *, simulate: bool = False) -> list[Month]:
    """Drop every month that is older than the horizon, oldest first.

    Raises:
        LedgerError: the database refused, or the archive cannot be written; months before that are
            dropped, the others unchanged.
    """
    with session(database_url) as connection:
        retention = _read(connection)
        if retention is None:
            return []
        names = [name for (name,) in connection.execute(_SQL["months"])]
        connection.commit()
        old = [name for name in names if _is_older(name, retention.horizon)]
        if simulate:
            return [_count(connection, name) for name in old]
        refresh.refresh(connection)
        dropped: list[Month] = []
        for name in old:
            dropped.append(_drop(connection, name, retention.archive_to))
            # Months must be dropped in order, because the sums are final up to the last one.
            if dropped[-1].waits:
                return dropped
        with connection.transaction():
            connection.execute(_SQL["delete_old_duplicates"], {"horizon": retention.horizon})
            connection.execute(_SQL["delete_old_parents"], {"horizon": retention.horizon})
        return dropped


def may_run(database_url: str) -> bool:
    """Whether this database user may drop months: only the tables' owner may."""
    with session(database_url) as connection:
        return _is_owner(connection)


def _is_owner(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(_SQL["is_owner"]).fetchone()
    return bool(row and row[0])


def _drop(connection: psycopg.Connection[Any], name: str, archive_to: str) -> Month:
    leaf = sql.Identifier(name)
    file: Path | None = None
    try:
        with connection.transaction():
            connection.execute(_SQL["limit_lock_wait"])
            refresh.lock(connection)
            connection.execute(sql.SQL(_SQL["block_writes"]).format(leaf=leaf))
            month = _count(connection, name)
            refresh.freeze_month(connection, *_bounds(name))
            if archive_to:
                file = _archive(connection, month, Path(archive_to))
            connection.execute(sql.SQL(_SQL["detach"]).format(leaf=leaf))
            connection.execute(sql.SQL(_SQL["drop_month"]).format(leaf=leaf))
            act = "retention archive" if archive_to else "retention drop"
            log_action(
                connection, act, {"month": name, "events": month.rows, "cost": month.cost_usd}
            )
    except pg_errors.LockNotAvailable:
        _remove_archive(file)
        return Month(
            name, 0, _NOTHING, waits="it is locked by another session; run the command again"
        )
    except OSError as error:
        raise LedgerError(
            f"cannot archive {name} to {archive_to} ({error.strerror}); the month was not dropped"
        ) from None
    except psycopg.Error as error:
        _remove_archive(file)
        if not row_faults.may_be_row_fault(error):
            raise
        return Month(
            name, 0, _NOTHING, waits=f"its sums cannot be computed: {row_faults.reason_of(error)}"
        )
    except BaseException:
        _remove_archive(file)
        raise
    return Month(name, month.rows, month.cost_usd, file)


def _archive(connection: psycopg.Connection[Any], month: Month, folder: Path) -> Path:
    file, rows = archive_month(connection, month.name, folder)
    if rows != month.rows:
        _remove_archive(file)
        raise LedgerError(f"{file} has {rows} of {month.rows} calls; {month.name} was not dropped")
    return file


def _remove_archive(file: Path | None) -> None:
    """The archive of a month that stays would be a second copy of it."""
    if file is not None:
        file.unlink(missing_ok=True)


def _count(connection: psycopg.Connection[Any], name: str) -> Month:
    query = sql.SQL(_SQL["count_month"]).format(leaf=sql.Identifier(name))
    [(rows, cost_usd)] = connection.execute(query).fetchall()
    return Month(name, rows, cost_usd)


def _is_older(name: str, horizon: datetime) -> bool:
    """Whether a partition's month is over before the horizon; tables of another name are left."""
    # The horizon is the start of a month.
    return bool(_LEAF.match(name)) and _bounds(name)[0] < horizon


def _bounds(name: str) -> tuple[datetime, datetime]:
    """The start of a partition's month and that of the next."""
    year, month = map(int, name.split("_")[-2:])
    since = datetime(year, month, 1, tzinfo=timezone.utc)
    return since, (since + timedelta(days=31)).replace(day=1)


def _interval(keep: str) -> str | None:
    if keep.strip().lower() == "forever":
        return None
    match = _KEEP.match(keep.strip().lower())
    if match is None:
        raise InvalidRequestError(f"invalid retention period {keep!r}; use {FORMS}")
    number = int(match[1])
    if number < (_MIN_DAYS if match[2] == "d" else 1):
        raise InvalidRequestError(
            f"retention period {keep!r} is too short; use at least one month: {FORMS}"
        )
    return f"{number} {_UNITS[match[2]]}"


def _read(connection: psycopg.Connection[Any]) -> Retention | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_SQL["show"]).fetchone()
    if row is None:
        return None
    retention = Retention(**row)
    return replace(retention, keep=_in_words(retention.keep))


def _in_words(interval: str) -> str:
    """An interval as Postgres prints it, as it was set: `13 months` for `1 year 1 mon`."""
    numbers = {unit[:3]: int(number) for number, unit in _PRINTED.findall(interval)}
    if "yea" in numbers and "mon" in numbers:
        return counted(12 * numbers["yea"] + numbers["mon"], "month")
    return _PRINTED.sub(lambda match: match[0].replace("mon", "month"), interval)
