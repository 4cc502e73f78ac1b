"""Parses time expressions such as `7d`, `today` and `2026-11-01`; UTC unless a zone is given."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.errors import InvalidRequestError

if TYPE_CHECKING:
    from datetime import tzinfo

FORMS: Final = "7d, 24h, 90m, 2w, today, yesterday, now, 2026-11-01, 2026-11-01T09:30"
"""Examples of every form, for error messages and help."""

_RELATIVE_TIME: Final = re.compile(r"^(\d{1,6})\s*(m|h|d|w)$")
_DAY: Final = re.compile(r"^\d{4}-?\d{2}-?\d{2}$")
_LONGEST_MONTH: Final = 31
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def until_now() -> datetime:
    """The end of a range up to now, with a margin for clocks that differ."""
    return datetime.now(timezone.utc) + timedelta(minutes=1)


def parse_moment(text: str, now: datetime | None = None, zone: tzinfo = timezone.utc) -> datetime:
    """The timestamp of a time expression.

    Args:
        text: one of `FORMS`.
        now: the current time; read from the clock if `None`.
        zone: time zone of `today`, and of a time without a zone.

    Raises:
        InvalidRequestError: the text has none of the forms.
    """
    now = now or datetime.now(timezone.utc)
    word = text.strip().lower()
    # Wall clock: yesterday is the previous midnight, also on days with a clock change.
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    named = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    if word in named:
        return named[word]
    if ago := _RELATIVE_TIME.match(word):
        return _before(now, timedelta(**{_UNITS[ago[2]]: int(ago[1])}), text)
    try:
        timestamp = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise InvalidRequestError(f"invalid time {text!r}; use one of {FORMS}") from None
    return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=zone)


def parse_end(text: str, now: datetime | None = None, zone: tzinfo = timezone.utc) -> datetime:
    """The end of a period: like `parse_moment`, but a day (2026-10-31, today) ends it at its end.

    Raises:
        InvalidRequestError: the text has none of the forms, or the day has no next one.
    """
    moment = parse_moment(text, now, zone)
    word = text.strip().lower()
    if word not in {"today", "yesterday"} and not _DAY.match(word):
        return moment
    return _midnight(moment.date(), 1, zone, text)


def parse_month(
    text: str, now: datetime | None = None, zone: tzinfo = timezone.utc
) -> tuple[datetime, datetime]:
    """The start of a month and that of the next one.

    Args:
        text: `2026-10`, `this` or `last`.
        now: the current time; read from the clock if `None`.
        zone: whose months.

    Raises:
        InvalidRequestError: the text has none of these forms.
    """
    word = text.strip().lower()
    today = (now or datetime.now(timezone.utc)).astimezone(zone).date()
    first = today.replace(day=1)
    if word == "last":
        first = (first - timedelta(days=1)).replace(day=1)
    elif word != "this":
        try:
            first = date.fromisoformat(f"{word}-01")
        except ValueError:
            raise InvalidRequestError(
                f"invalid month {text!r}; use 2026-10, last or this"
            ) from None
    following = _midnight(first, _LONGEST_MONTH, zone, text).date().replace(day=1)
    return _midnight(first, 0, zone, text), _midnight(following, 0, zone, text)


def days_before(timestamp: datetime, days: int) -> datetime:
    """The timestamp that many whole days earlier.

    Raises:
        InvalidRequestError: the days are fewer than 1, or lead to a time before the year 1.
    """
    if isinstance(days, bool) or not isinstance(days, int):  # pyright: ignore[reportUnnecessaryIsInstance] - an argument of the app
        raise InvalidRequestError(f"days must be a whole number, not {days!r}")
    if days < 1:
        raise InvalidRequestError(f"days must be 1 or more, not {days}")
    # A timedelta cannot hold more days, and no two dates are that far apart.
    return _before(timestamp, timedelta(days=min(days, timedelta.max.days)), f"{days} days")


def _midnight(day: date, days: int, zone: tzinfo, text: str) -> datetime:
    """The start of a later day, as the clocks of the zone show it."""
    try:
        return datetime.combine(day + timedelta(days=days), time(), zone)
    except OverflowError:
        raise InvalidRequestError(f"{text!r} is after the year 9999; use an earlier time") from None


def _before(timestamp: datetime, duration: timedelta, text: str) -> datetime:
    try:
        return timestamp - duration
    except OverflowError:
        raise InvalidRequestError(
            f"{text!r} is too far in the past; use a later time, such as {FORMS}"
        ) from None
