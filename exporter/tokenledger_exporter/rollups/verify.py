"""Compares the roll-ups with the calls, names every difference, and builds a day anew.

Changes through `token_ledger_events` are marked and make no difference, whoever makes them. What is
changed in a partition or in the roll-ups themselves, or by a release that knew no roll-ups, does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from psycopg import IsolationLevel, sql
from psycopg.rows import class_row

from tokenledger_exporter.db.connection import reading, session
from tokenledger_exporter.pricing.book import plain_usd
from tokenledger_exporter.rollups import columns, refresh
from tokenledger_exporter.sql import fill, fragment, statements

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from decimal import Decimal

    import psycopg

_SQL: Final = statements("rollups_verify")
_DAY: Final = timedelta(days=1)
_WEEK: Final = "week"


@dataclass(frozen=True, slots=True)
class Difference:
    """One sum that is not what it is a sum of.

    Args:
        level: hour (of calls), slices of hour (of slices), day (of hours), week (of days).
        bucket: start of the hour, day or week.
        dimension: its name; "" is all calls of a provider and model.
        value: its value.
        right_calls: calls as they are.
        right_usd: their cost.
        stored_calls: calls as they are rolled up.
        stored_usd: their cost.
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
        """One line for people; equal counts differ in tokens or states."""
        parts = [f"{self.dimension}={self.value!r}"] if self.dimension else []
        parts += (
            [f"{self.provider}/{self.model}"] if self.dimension not in columns.UNDIVIDED else []
        )
        return (
            f"{self.level} {self.bucket:%Y-%m-%d %H:%M} {' '.join(parts)}: rolled up as "
            f"{self.stored_calls} calls (${plain_usd(self.stored_usd)}), which are "
            f"{self.right_calls} (${plain_usd(self.right_usd)})"
        )


def verify(database_url: str) -> list[Difference]:
    """Recompute every sum from the calls, all as the ledger is at one moment, a day at a time.

    Raises:
        LedgerError: whatever the database says.
    """
    found: list[Difference] = []
    with reading(database_url) as connection, connection.transaction():
        for (day,) in connection.execute(_SQL["days_to_check"]).fetchall():
            cursor = connection.cursor(row_factory=class_row(Difference))
            found += cursor.execute(_COMPARE, {"since": day, "until": day + _DAY})
        found += wrong_weeks(connection)
    return found


def wrong_weeks(connection: psycopg.Connection[Any]) -> list[Difference]:
    """Weeks that are not the sum of their days."""
    cursor = connection.cursor(row_factory=class_row(Difference))
    return cursor.execute(_COMPARE_WEEKS).fetchall()


def rebuild(database_url: str, days: Iterable[datetime], weeks: Iterable[datetime] = ()) -> None:
    """Build the sums of some days anew, each in a transaction of its own.

    Args:
        database_url: the ledger, as a user who may keep the roll-ups.
        days: their starts, UTC; days whose calls were let go must not be among them.
        weeks: starts of weeks whose days are right.

    Raises:
        LedgerError: whatever the database says; days done before that are right.
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
    """The days that have to be built anew, their weeks with them."""
    return {
        found.bucket - timedelta(hours=found.bucket.hour, minutes=found.bucket.minute)
        for found in differences
        if found.level != _WEEK
    }


def weeks_of(differences: Iterable[Difference]) -> set[datetime]:
    """The weeks that have to be made of their days anew."""
    return {found.bucket for found in differences if found.level == _WEEK}


def _rebuild(connection: psycopg.Connection[Any], day: datetime) -> None:
    stretch = {"since": day, "until": day + _DAY}
    refresh.lock(connection)
    connection.execute(_SQL["delete_marks"], stretch)
    connection.execute(_SQL["delete_sums"], stretch)
    refresh.recompute(connection, refresh.with_calls(connection, **stretch))
    _rebuild_week(connection, day)


def _rebuild_week(connection: psycopg.Connection[Any], day: datetime) -> None:
    connection.execute(_SQL["delete_week"], {"day": day})
    connection.execute(_REBUILD_WEEK, {"day": day})


_REBUILD_WEEK: Final = sql.SQL(
    fill(
        _SQL["rebuild_week"],
        figures=columns.SUMMED["figures"],
        sums=columns.listed("sum(days.{name})"),
    )
)
_BOTH_SIDES: Final = fragment(_SQL["both_sides"])
_COMPARE_WEEKS: Final = sql.SQL(
    fill(_SQL["compare_weeks"], **columns.SUMMED, both_sides=_BOTH_SIDES)
)
_COMPARE: Final = sql.SQL(
    fill(_SQL["compare"], **columns.SUMMED, **columns.over_calls(), both_sides=_BOTH_SIDES)
)
