"""Times and lengths of time for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenledger_exporter.db.dimensions import zone_of

if TYPE_CHECKING:
    from datetime import datetime

_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400
_THOUSAND: Final = 1_000


def took(seconds: float | None) -> str:
    """A duration such as `850 ms`, `12.3 s`, `3.2 min`; `-` if it is not known."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * _THOUSAND:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.1f} min"
    return f"{seconds / _HOUR:,.1f} h" if seconds < _DAY else f"{seconds / _DAY:,.1f} days"


def age(seconds: float) -> str:
    """How long ago, in whole units: `5 s`, `3 min`, `12 h`, `40 days`."""
    if seconds >= 2 * _DAY:
        return f"{seconds // _DAY:,.0f} days"
    for length, unit in ((_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def local(moment: datetime | None, zone: str) -> str:
    """A time to the second in a time zone; `-` if there is none."""
    return "-" if moment is None else moment.astimezone(zone_of(zone)).strftime("%Y-%m-%d %H:%M:%S")
