"""Where a question's calls are read from: the roll-ups, if they can answer it exactly, or the rows.

A roll-up knows one dimension at a time, beside provider and model. What is asked of two, of a
session, of metadata or of single calls is answered by the rows. Both are exact in every snapshot,
whether or not a keeper runs: what is out of date in the roll-ups is taken off and its calls are
read instead, in the same statement.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from psycopg import sql

from tokenledger_exporter.db.dimensions import BUCKETS, UTC, zone_of
from tokenledger_exporter.rollups.columns import UNDIVIDED, listed
from tokenledger_exporter.sql import statements
from tokenledger_semconv.dimensions import ROLLED_UP

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import tzinfo

_SQL: Final = statements("rolled_up")
_READ: Final = statements("read")
_ANSWERS: Final = statements("answers")

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_WEEK: Final = timedelta(days=7)
_BEGINNING: Final = datetime.min.replace(tzinfo=timezone.utc)
_END: Final = datetime.max.replace(tzinfo=timezone.utc)
_LAST: Final = _END - _WEEK
_FIRST_YEAR: Final = datetime(2015, 1, 1, tzinfo=timezone.utc)
_OVERALL: Final = ("provider", "model")
_COLUMNS: Final = {dimension.name: dimension.column for dimension in ROLLED_UP}


@dataclass(frozen=True, slots=True)
class Calls:
    """What a statement reads calls from, and how it sums them; equal where the statement is.

    Args:
        shape: what the statement depends on; none for rows.
        source: what stands after FROM, with the beginning of a WHERE.
        figures: counts and money.
        states: the counts of a `Coverage`.
        failures: calls and errors.
        counted: the number of calls.
        having: what keeps groups without calls out.
        values: parameters of the source.
        told: the head of a statement that reads sums of many values twice; else `None`.
    """

    shape: _Shape | None
    source: sql.Composable = field(compare=False)
    figures: sql.Composable = field(compare=False)
    states: sql.Composable = field(compare=False)
    failures: sql.Composable = field(compare=False)
    counted: sql.Composable = field(compare=False)
    having: sql.Composable = field(compare=False)
    values: Mapping[str, object] = field(default_factory=dict[str, object], compare=False)
    told: sql.Composable | None = field(default=None, compare=False)

    @property
    def braces(self) -> dict[str, sql.Composable]:
        """What a statement's braces are filled with."""
        return {
            "calls": self.source,
            "figures": self.figures,
            "states": self.states,
            "failures": self.failures,
            "counted": self.counted,
            "having": self.having,
        }


ROWS: Final = Calls(
    shape=None,
    source=sql.SQL(_READ["calls"]),
    figures=sql.SQL(_READ["figures"]),
    states=sql.SQL(_READ["states"]),
    failures=sql.SQL(_ANSWERS["failures"]),
    counted=sql.SQL("count(*)"),
    having=sql.SQL(""),
)
"""The rows themselves, of the stretch `since` to `until`."""


def calls_of(
    names: Collection[str],
    since: datetime,
    until: datetime,
    zone: str = UTC,
    *,
    with_errors: bool = False,
) -> Calls:
    """What a question is answered from.

    Args:
        names: every dimension and stretch of time it groups by or narrows to.
        since: start, included.
        until: end, not included.
        zone: time zone of its hours, days and months.
        with_errors: whether it asks how many calls failed.
    """
    dimension = _dimension(names)
    stretch = _Stretch.of(since, until)
    if dimension is None or stretch is None or not _are_whole(names, zone, since, until):
        return ROWS
    by_time = bool(set(BUCKETS) & set(names))
    first_day, end_day = stretch.days
    first_week, end_week = stretch.weeks
    by_day = first_day < end_day and "hour" not in names and not (by_time and zone != UTC)
    shape = _Shape(
        dimension=dimension,
        overall=tuple(name for name in _OVERALL if name in names),
        by_time=by_time,
        by_day=by_day,
        by_week=by_day and not by_time and first_week < end_week,
        with_errors=with_errors,
    )
    return replace(_calls_of(shape), values=stretch.values)


def _dimension(names: Collection[str]) -> str | None:
    """The one dimension of the roll-up that answers; "" is that of all calls, `None` is none."""
    others = {name for name in names if name not in _OVERALL and name not in BUCKETS}
    if len(others) > 1 or not others <= _COLUMNS.keys():
        return None
    if others & UNDIVIDED and not {*_OVERALL}.isdisjoint(names):
        return None
    return next(iter(others), "")


def _are_whole(names: Collection[str], zone: str, since: datetime, until: datetime) -> bool:
    """Whether the zone's hours are those of UTC throughout, where the question asks of any."""
    if zone == UTC or not set(BUCKETS) & set(names):
        return True
    place = zone_of(zone)
    # Zones change their distance to UTC by a fraction of an hour rarely, and keep it for months.
    moment = max(since, _FIRST_YEAR)
    last = min(until, datetime.now(timezone.utc) + _DAY)
    while moment <= last:
        if not _is_whole(moment, place):
            return False
        moment += _WEEK
    return _is_whole(last, place)


def _is_whole(moment: datetime, zone: tzinfo) -> bool:
    offset = moment.astimezone(zone).utcoffset()
    return offset is not None and not offset % _HOUR


def _at_or_before(moment: datetime, unit: timedelta) -> datetime:
    return _BEGINNING + (moment - _BEGINNING) // unit * unit


def _at_or_after(moment: datetime, unit: timedelta) -> datetime:
    return _BEGINNING - (_BEGINNING - moment) // unit * unit


def _nearest(day: datetime) -> datetime:
    """The Monday next to a day."""
    return _at_or_before(day + _WEEK // 2, _WEEK) if day < _LAST else day


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Which whole hours and days are read as sums; what of the edges is not in them is calls.

    Args:
        since: start of the stretch.
        until: its end.
        first_hour: start of the first hour that is read as a sum.
        end_hour: end of the last.
    """

    since: datetime
    until: datetime
    first_hour: datetime
    end_hour: datetime

    @classmethod
    def of(cls, since: datetime, until: datetime) -> _Stretch | None:
        """The hours of a stretch; `None` where it has none.

        A stretch that ends now is read to the end of the day, and what is later is left out again:
        that is next to nothing, and the calls of this hour are many.
        """
        if since > until - _HOUR or since > _END - _DAY:
            return None
        first, end = _at_or_after(since, _HOUR), until
        if until < datetime.now(timezone.utc):
            end = _at_or_before(until, _HOUR)
        elif until < _END - _DAY:
            end = _at_or_after(until, _DAY)
        return cls(since, until, first, end) if first < end else None

    @property
    def days(self) -> tuple[datetime, datetime]:
        """The start of the first whole day, and the end of the last; equal where there is none."""
        first = _at_or_after(self.first_hour, _DAY)
        end = _END if self.end_hour == _END else _at_or_before(self.end_hour, _DAY)
        return first, max(first, end)

    @property
    def weeks(self) -> tuple[datetime, datetime]:
        """The Mondays next to those days: what a week has more than the stretch is taken off.

        Of the week we are in there are only days that are over.
        """
        first_day, end_day = self.days
        if end_day < datetime.now(timezone.utc):
            return _nearest(first_day), _nearest(end_day)
        return _nearest(first_day), _at_or_after(end_day, _WEEK) if end_day < _LAST else end_day

    @property
    def values(self) -> dict[str, object]:
        """The parameters of the parts."""
        first_day, end_day = self.days
        first_week, end_week = self.weeks
        return {
            "first_hour": self.first_hour,
            "end_hour": self.end_hour,
            "first_midnight": first_day,
            "end_midnight": end_day,
            "first_day": first_day.date(),
            "end_day": end_day.date(),
            "first_week": first_week.date(),
            "end_week": end_week.date(),
        }


@dataclass(frozen=True, slots=True)
class _Shape:
    """The statements whose rows together are the calls of a stretch, as sums.

    Args:
        dimension: the one whose sums are read.
        overall: which of provider and model the question reads.
        by_time: whether it asks of hours, days or months.
        by_day: whether sums of whole days will do, and there are some.
        by_week: whether sums of whole weeks will.
        with_errors: whether it asks how many calls failed.
    """

    dimension: str
    overall: tuple[str, ...]
    by_time: bool
    by_day: bool
    by_week: bool
    with_errors: bool

    def all(self) -> Iterator[sql.Composable]:
        """Every part that can have rows."""
        yield from self.sums()
        yield self._part("of_calls")

    def told_twice(self) -> sql.Composable:
        """All of them as the head of a statement."""
        return sql.SQL(_SQL["told_twice"]).format(
            of_calls=self._part("of_calls"),
            sums=sql.SQL(" UNION ALL ").join(self.sums()),
            overall=sql.SQL(" UNION ALL ").join(replace(self, dimension="").sums()),
            columns=self._columns,
            figures=listed("{name}"),
        )

    def sums(self) -> Iterator[sql.Composable]:
        if self.by_week:
            yield self._part("of_weeks")
            yield self._part("beside_weeks")
            yield self._part("off_weeks")
        elif self.by_day:
            yield self._part("of_days")
        if self.by_day:
            yield self._between("of_hours", "first_hour", "first_midnight")
            yield self._between("of_hours", "end_midnight", "end_hour")
        else:
            yield self._between("of_hours", "first_hour", "end_hour")
        yield self._part("off_slices")
        yield self._part("off_hours")

    def _between(self, name: str, since: str, until: str) -> sql.Composable:
        """A part between two moments that are parameters."""
        return self._part(name, since=sql.Placeholder(since), until=sql.Placeholder(until))

    def _part(self, name: str, **braces: sql.Composable) -> sql.Composable:
        return sql.SQL(_SQL[name]).format(**self._braces(), **braces)

    def _braces(self) -> dict[str, sql.Composable]:
        return {
            "keys": self._keys,
            "columns": self._columns,
            "dimension": sql.Literal(self.dimension),
            "figures": listed("{name}"),
            "negated": listed("-stored.{name}"),
            "hour": sql.SQL(_SQL["hour_of_a_call" if self.by_time else "any_hour"]),
            "errors": sql.SQL(_SQL["errors_of_calls" if self.with_errors else "errors_unasked"]),
        }

    @property
    def _columns(self) -> sql.Composable:
        """The columns of a call the question reads beside the sums, each with a comma after it."""
        names = (*self.overall, *([_COLUMNS[self.dimension]] if self.dimension else []))
        return sql.SQL(" ").join(sql.SQL("{},").format(sql.Identifier(name)) for name in names)

    @property
    def _keys(self) -> sql.Composable:
        """The same columns of a roll-up."""
        told: list[sql.Composable] = [
            sql.SQL("{},").format(sql.Identifier(name)) for name in self.overall
        ]
        if self.dimension:
            column = sql.Identifier(_COLUMNS[self.dimension])
            told.append(sql.SQL("value AS {},").format(column))
        return sql.SQL(" ").join(told)


@lru_cache(maxsize=256)
def _calls_of(shape: _Shape) -> Calls:
    """All but the values: putting a statement together takes longer than many an answer."""
    return Calls(
        shape=shape,
        source=sql.SQL(_SQL["told"]).format(parts=sql.SQL(" UNION ALL ").join(shape.all())),
        figures=sql.SQL(_SQL["figures"]),
        states=sql.SQL(_SQL["states"]),
        failures=sql.SQL(_SQL["failures"]),
        counted=sql.SQL(_SQL["counted"]),
        having=sql.SQL(_SQL["having"]),
        told=shape.told_twice() if shape.dimension in UNDIVIDED else None,
    )
