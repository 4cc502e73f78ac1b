"""Points in time as people write them: `7d`, `today`, `2026-11-01`; UTC unless a zone is named."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from tokenledger_exporter.errors import InvalidRequestError

if TYPE_CHECKING:
    from datetime import tzinfo

FORMS: Final = "7d, 24h, 90m, 2w, today, yesterday, now, 2026-11-01, 2026-11-01T09:30"
"""Examples of every form, for messages and help."""

_AGO: Final = re.compile(r"^(\d{1,6})\s*(m|h|d|w)$")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_moment(text: str, now: datetime | None = None, zone: tzinfo = timezone.utc) -> datetime:
    """The moment a person means.

    Args:
        text: one of `FORMS`.
        now: what "now" is; the clock if `None`.
        zone: whose midnight `today` is, and the zone of a time that names none.

    Raises:
        UsageError: the text is none of the forms.
    """
    now = now or datetime.now(timezone.utc)
    word = text.strip().lower()
    # Wall clock: a day ago is the midnight before, however long that day was.
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    named = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    if word in named:
        return named[word]
    if ago := _AGO.match(word):
        return _before(now, timedelta(**{_UNITS[ago[2]]: int(ago[1])}), text)
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise InvalidRequestError(f"{text!r} is no point in time: write it like {FORMS}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def days_before(moment: datetime, days: int) -> datetime:
    """The moment so many whole days earlier.

    Raises:
        UsageError: the days are fewer than 1, or lead to before the year 1.
    """
    if days < 1:
        raise InvalidRequestError(f"{days} is no stretch of days: give 1 or more")
    # A timedelta itself takes no more days than this, and no date is that far from another.
    return _before(moment, timedelta(days=min(days, timedelta.max.days)), f"{days} days")


def _before(moment: datetime, stretch: timedelta, text: str) -> datetime:
    try:
        return moment - stretch
    except OverflowError:
        raise InvalidRequestError(
            f"{text!r} leads to before the year 1: write a later time, like {FORMS}"
        ) from None
