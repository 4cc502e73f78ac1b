"""Points in time as people write them: `7d`, `today`, `2026-11-01`. All UTC."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Final

from tokenledger_exporter.errors import UsageError

FORMS: Final = "7d, 24h, 90m, 2w, today, yesterday, now, 2026-11-01, 2026-11-01T09:30"
"""Examples of every form, for messages and help."""

_AGO: Final = re.compile(r"^(\d{1,6})\s*(m|h|d|w)$")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_moment(text: str, now: datetime | None = None) -> datetime:
    """The moment a person means, with UTC as its zone where none is given.

    Args:
        text: one of `FORMS`.
        now: what "now" is; the clock if `None`.

    Raises:
        UsageError: the text is none of the forms.
    """
    now = now or datetime.now(timezone.utc)
    word = text.strip().lower()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    named = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    if word in named:
        return named[word]
    if ago := _AGO.match(word):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise UsageError(f"{text!r} is no point in time: write it like {FORMS}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
