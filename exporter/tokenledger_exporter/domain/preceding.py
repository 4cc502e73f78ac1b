"""The period that a period is compared with: the same for reports, causes, users and pages."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.domain.time_expressions import until_now
from tokenledger_exporter.errors import InvalidRequestError

if TYPE_CHECKING:
    from datetime import date, tzinfo

_LONGEST_MONTH: Final = timedelta(days=31)


def preceding_period(since: datetime, until: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """Start and end of the preceding period.

    A calendar month is compared with the calendar month before it. A month that is not over is
    compared with the month before up to the same time since its start. Any other period is compared
    with the time of equal length before it; the future has no length.

    Args:
        since: start of the period, included.
        until: its end, excluded.
        zone: time zone of months.

    Raises:
        InvalidRequestError: the preceding period begins before the year 1.
    """
    length = max(min(until, until_now()) - since, timedelta())
    first = since.astimezone(zone)
    try:
        if (first.day, first.time()) == (1, datetime.min.time()) and until == _month_after(
            first.date(), zone
        ):
            start = _midnight((first - timedelta(days=1)).date().replace(day=1), zone)
            return start, since if until <= until_now() else min(start + length, since)
        return since - (length or until - since), since
    except OverflowError:
        raise InvalidRequestError(
            "the preceding period begins before the year 1; choose a shorter period"
        ) from None


def _month_after(first: date, zone: tzinfo) -> datetime:
    return _midnight((first + _LONGEST_MONTH).replace(day=1), zone)


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)
