"""The format of the spool: a header a segment, and a record a span.

Records are msgpack arrays (msgspec 0.22: 0.6 us each). `header` says whose they are, so that
another process can write what a dead one left.
"""

from __future__ import annotations

import msgspec

AttributeValue = str | bool | int | float | list[str]
"""A span attribute as the spool keeps it."""


class SpoolHeader(msgspec.Struct, frozen=True, kw_only=True):
    """First frame of a segment: which ledger its records belong to, and their defaults.

    Args:
        format_version: format of this header and of the records behind it.
        ledger: `database.fingerprint` of the connection string; never the string itself.
        app_name: fills the row's app where set.
        environment: fills the row's environment where set.
        defaults: span attributes of calls that say nothing else.
        organization: whose every record is, whatever it claims itself, where set.
        is_trusted: the operator vouches for the source although it reports for one organization.
    """

    format_version: int
    ledger: str
    app_name: str = ""
    environment: str = ""
    defaults: dict[str, str] = {}
    organization: str = ""
    is_trusted: bool = False

    @property
    def source(self) -> str:
        """Organization whose own reports these are; "" for those of the operator's sources."""
        return "" if self.is_trusted else self.organization


Ancestors = tuple[tuple[int, int], ...]
"""Span id and start of the spans above one that may tell of a call too, the nearest first."""


class SpanRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One ended span: identity, times in nanoseconds since 1970, and the kept attributes."""

    trace_id: bytes
    span_id: int
    parent_span_id: int
    start_ns: int
    end_ns: int
    scope: str
    failed: bool
    attributes: dict[str, AttributeValue]
    resource: dict[str, str]
    ancestors: Ancestors = ()
