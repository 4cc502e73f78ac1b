"""Compares the roll-ups with the calls, reports every difference, and rebuilds days.

Changes of `token_ledger_events` are marked and cause no difference. Changes made directly in a
partition or in a roll-up table do.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from psycopg import IsolationLevel, sql
from psycopg.rows import class_row

from tokenledger_exporter.db.connection import reading, session
from tokenledger_exporter.domain.progress import ignore_progress
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.rollups import columns, refresh
from tokenledger_exporter.sql import fill, fragment, statements

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from decimal import Decimal

    import psycopg

    from tokenledger_exporter.domain.progress import OnProgress

_SQL: Final = statements("rollups_verify")
_DAY: Final = timedelta(days=1)
_WEEK: Final = "week"


@dataclass(frozen=True, slots=True)
class Difference:
    """A stored sum that differs from what it should be.

    Args:
        level: hour (of calls), slices of hour (of slices), day (of hours), week (of days).
        bucket: start of the hour, day or week.
        dimension: its name; "" is all calls of a provider and model.
        value: its value.
        right_calls: number of calls.
        right_usd: their cost, US dollars.
        stored_calls: number of calls in the roll-up.
        stored_usd: their cost in the roll-up, US dollars.
    """

    level: str
    bucket: datetime
    dimension: str
    value: str
    provider: str
    model: str
    right_calls: int
    right_usd: Decimal
    stored_calls: int
    stored_usd: Decimal

    @property
    def sentence(self) -> str:
        """One line for people. If the counts are equal, tokens or cost states differ."""
        parts = [f"{self.dimension}={self.value!r}"] if self.dimension else []
        parts += (
            [f"{self.provider}/{self.model}"]
            if self.dimension not in columns.NOT_SPLIT_BY_MODEL
            else []
        )
        return (
            f"{self.level} {self.bucket:%Y-%m-%d %H:%M} {' '.join(parts)}: rolled up as "
            f"{self.stored_calls} calls (${plain_usd(self.stored_usd)}), which are "
            f"{self.right_calls} (${plain_usd(self.right_usd)})"
        )


def verify(database_url: str, on_progress: OnProgress = ignore_progress) -> list[Difference]:
    """Compare every sum with the calls in one snapshot, a day at a time.

    Args:
        database_url: the ledger.
        on_progress: called with the days that are done, and all days.

    Raises:
        LedgerError: any error of the database.
    """
    differences: list[Difference] = []
    with reading(database_url) as connection, connection.transaction():
        days = connection.execute(_SQL["days_to_check"]).fetchall()
        for done, (day,) in enumerate(days):
            on_progress(done, len(days))
            cursor = connection.cursor(row_factory=class_row(Difference))
            differences += cursor.execute(_COMPARE, {"since": day, "until": day + _DAY})
        differences += wrong_weeks(connection)
    return differences


def wrong_weeks(connection: psycopg.Connection[Any]) -> list[Difference]:
    """Weeks that differ from the sum of their days."""
    cursor = connection.cursor(row_factory=class_row(Difference))
    return cursor.execute(_COMPARE_WEEKS).fetchall()


def rebuild(database_url: str, days: Iterable[datetime], weeks: Iterable[datetime] = ()) -> None:
    """Rebuild the sums of some days, each in a transaction of its own.

    Args:
        database_url: the ledger, as a user who may refresh the roll-ups.
        days: their starts, UTC, without days whose calls were dropped.
        weeks: starts of weeks whose days are correct.

    Raises:
        LedgerError: any error of the database; days rebuilt before it stay correct.
    """
    with session(database_url) as connection:
        connection.isolation_level = IsolationLevel.READ_COMMITTED
        for day in sorted(set(days)):
            with connection.transaction():
                _rebuild(connection, day)
        for day in sorted(set(weeks)):
            with connection.transaction():
                refresh.lock(connection)
                _rebuild_week(connection, day)


def days_of(differences: Iterable[Difference]) -> set[datetime]:
    """The days that must be rebuilt, with their weeks."""
    return {
        difference.bucket
        - timedelta(hours=difference.bucket.hour, minutes=difference.bucket.minute)
        for difference in differences
        if difference.level != _WEEK
    }


def weeks_of(differences: Iterable[Difference]) -> set[datetime]:
    """The weeks that must be rebuilt from their days."""
    return {difference.bucket for difference in differences if difference.level == _WEEK}


def _rebuild(connection: psycopg.Connection[Any], day: datetime) -> None:
    period = {"since": day, "until": day + _DAY}
    refresh.lock(connection)
    connection.execute(_SQL["delete_marks"], period)
    connection.execute(_SQL["delete_sums"], period)
    refresh.recompute(connection, refresh.with_calls(connection, **period))
    _rebuild_week(connection, day)


def _rebuild_week(connection: psycopg.Connection[Any], day: datetime) -> None:
    connection.execute(_SQL["delete_week"], {"day": day})
    connection.execute(_REBUILD_WEEK, {"day": day})


_REBUILD_WEEK: Final = sql.SQL(
    fill(
        _SQL["rebuild_week"],
        figures=columns.SUM_EXPRESSIONS["figures"],
        sums=columns.listed("sum(days.{name})"),
    )
)
_BOTH_SIDES: Final = fragment(_SQL["both_sides"])
_COMPARE_WEEKS: Final = sql.SQL(
    fill(_SQL["compare_weeks"], **columns.SUM_EXPRESSIONS, both_sides=_BOTH_SIDES)
)
_COMPARE: Final = sql.SQL(
    fill(_SQL["compare"], **columns.SUM_EXPRESSIONS, **columns.over_calls(), both_sides=_BOTH_SIDES)
)
