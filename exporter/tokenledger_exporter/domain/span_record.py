"""What the spool stores: one header per segment, and one record per span."""

from __future__ import annotations

import msgspec

AttributeValue = str | bool | int | float | list[str]
"""A span attribute as the spool stores it."""


class SpoolHeader(msgspec.Struct, frozen=True, kw_only=True):
    """First frame of a segment: which ledger its records belong to, and their defaults.

    Args:
        format_version: format of this header and of the records after it.
        ledger: `fingerprint` of the connection string; never the string itself.
        app_name: fills the rows' app, if set.
        environment: fills the rows' environment, if set.
        defaults: span attributes of calls that do not have them.
        organization: organization of every record, whatever the record itself says, if set.
        is_trusted: whether the operator trusts a source that reports for one organization.
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
        """The organization that sent these reports itself; "" for the operator's own sources."""
        return "" if self.is_trusted else self.organization


Ancestors = tuple[tuple[int, int], ...]
"""Span id and start of the spans above a span that may report the same call, nearest first."""


class SpanRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One ended span: identity, times in nanoseconds since 1970, and the allowed attributes.

    `inherited` is the attribution of the spans above it, for what the span itself does not say.
    """

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
    inherited: dict[str, str] | None = None
