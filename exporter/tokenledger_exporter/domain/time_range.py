"""Bounds of a time range: what an open start or end means, and the zone of a time without one."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Final

BEGINNING: Final = datetime.min.replace(tzinfo=timezone.utc)
"""Start of a range without a start."""

END: Final = datetime.max.replace(tzinfo=timezone.utc)
"""End of a range without an end."""


def with_zone(timestamp: datetime) -> datetime:
    """The timestamp; UTC if it has no time zone."""
    return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=timezone.utc)
