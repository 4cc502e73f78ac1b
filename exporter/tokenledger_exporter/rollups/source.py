"""Where a query reads calls from: the roll-ups, if they can answer it exactly, or the rows.

A roll-up knows one dimension at a time, split by provider and model. Queries by two dimensions, by
session, by metadata or about single calls read the rows. Both are exact in every snapshot: the SQL
function `token_ledger_sums` subtracts what is stale and adds the calls it is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from psycopg import sql

from tokenledger_exporter.db.dimensions import BUCKETS, UTC, zone_of
from tokenledger_exporter.domain.time_range import END
from tokenledger_exporter.rollups.columns import NOT_SPLIT_BY_MODEL
from tokenledger_exporter.sql import fragment, statements
from tokenledger_semconv.dimensions import ROLLUP_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import tzinfo

_SQL: Final = statements("queries")

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_WEEK: Final = timedelta(days=7)
_FIRST_YEAR: Final = datetime(2015, 1, 1, tzinfo=timezone.utc)
_SPLIT_BY: Final = frozenset({"provider", "model"})
_COLUMNS: Final = {dimension.name: dimension.column for dimension in ROLLUP_DIMENSIONS}


@dataclass(frozen=True, slots=True)
class Source:
    """What a statement reads, and how it aggregates that. Equal sources give equal statements.

    Args:
        dimension: the dimension whose roll-ups are read, "" for all calls; `None` for rows.
        largest_bucket: largest roll-up that the statement can use: hour, day or week.
        calls: FROM item and the start of a WHERE clause.
        figures: counts and money.
        states: the counts of a `Coverage`.
        failures: calls and errors.
        call_count: the number of calls.
        having: excludes groups whose sums cancel out; empty for rows.
    """

    dimension: str | None
    largest_bucket: str
    calls: sql.Composable = field(compare=False)
    figures: sql.Composable = field(compare=False)
    states: sql.Composable = field(compare=False)
    failures: sql.Composable = field(compare=False)
    call_count: sql.Composable = field(compare=False)
    having: sql.Composable = field(compare=False)

    @property
    def is_rolled_up(self) -> bool:
        """Whether it reads roll-ups."""
        return self.dimension is not None

    @property
    def braces(self) -> dict[str, sql.Composable]:
        """Values for the braces of a statement."""
        return {
            "calls": self.calls,
            "figures": self.figures,
            "states": self.states,
            "failures": self.failures,
            "call_count": self.call_count,
            "having": self.having,
        }


def _part(name: str) -> sql.SQL:
    return sql.SQL(fragment(_SQL[name]))


ROWS: Final = Source(
    dimension=None,
    largest_bucket="",
    calls=_part("calls_of_rows"),
    figures=_part("figures_of_rows"),
    states=_part("states_of_rows"),
    failures=_part("failures_of_rows"),
    call_count=_part("call_count_of_rows"),
    having=sql.SQL(""),
)
"""The rows of the period `since` to `until`."""


def source_of(names: Collection[str], since: datetime, until: datetime, zone: str = UTC) -> Source:
    """The source that answers a query.

    Args:
        names: every dimension and unit of time the query groups or filters by.
        since: start, included.
        until: end, not included.
        zone: time zone of its hours, days and months.
    """
    dimension = _dimension(names)
    if dimension is None or not _has_whole_hours(since, until):
        return ROWS
    units = set(BUCKETS) & set(names)
    if units and not _has_whole_hour_offsets(zone, since, until):
        return ROWS
    if not units:
        return _sums(dimension, "week")
    return _sums(dimension, "day" if zone == UTC and "hour" not in units else "hour")


def _dimension(names: Collection[str]) -> str | None:
    """The one dimension whose roll-up answers; "" is that of all calls, `None` is none."""
    others = {name for name in names if name not in _SPLIT_BY and name not in BUCKETS}
    if len(others) > 1 or not others <= _COLUMNS.keys():
        return None
    if others & NOT_SPLIT_BY_MODEL and not _SPLIT_BY.isdisjoint(names):
        return None
    return next(iter(others), "")


def _has_whole_hours(since: datetime, until: datetime) -> bool:
    """Whether there is a roll-up to read in the period."""
    if since > until - _HOUR or since > END - _DAY:
        return False
    return until >= datetime.now(timezone.utc) or _hour_after(since) < _hour_before(until)


def _hour_before(timestamp: datetime) -> datetime:
    return timestamp.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0)


def _hour_after(timestamp: datetime) -> datetime:
    return _hour_before(timestamp + _HOUR - timedelta(microseconds=1))


def _has_whole_hour_offsets(zone: str, since: datetime, until: datetime) -> bool:
    """Whether the hours of a zone are hours of UTC throughout the period."""
    if zone == UTC:
        return True
    zone_info = zone_of(zone)
    # Zones rarely change their offset by a fraction of an hour, and then keep it for months.
    timestamp = max(since, _FIRST_YEAR)
    last = min(until, datetime.now(timezone.utc) + _DAY)
    while timestamp <= last:
        if not _is_whole_hour(timestamp, zone_info):
            return False
        timestamp += _WEEK
    return _is_whole_hour(last, zone_info)


def _is_whole_hour(timestamp: datetime, zone: tzinfo) -> bool:
    offset = timestamp.astimezone(zone).utcoffset()
    return offset is not None and not offset % _HOUR


@lru_cache(maxsize=64)
def _sums(dimension: str, largest_bucket: str) -> Source:
    """The roll-ups of a dimension, or with "" of all calls."""
    calls = _part("calls_of_sums" if dimension else "calls_of_all_sums").format(
        dimension=sql.Literal(dimension),
        largest_bucket=sql.Literal(largest_bucket),
        column=sql.Identifier(_COLUMNS.get(dimension, "value")),
    )
    return Source(
        dimension=dimension,
        largest_bucket=largest_bucket,
        calls=calls,
        figures=_part("figures_of_sums"),
        states=_part("states_of_sums"),
        failures=_part("failures_of_sums"),
        call_count=_part("call_count_of_sums"),
        having=_part("having_of_sums"),
    )
