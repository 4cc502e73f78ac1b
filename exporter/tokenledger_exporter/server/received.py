"""What decoding makes of a request, and how it refuses one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tokenledger_exporter.records import SpanRecord

MOST_ELEMENTS: Final = 65_536
"""Resources, scopes and spans a request may hold; 4 MiB of real spans are below 10,000."""

MOST_ATTRIBUTES: Final = 10_000
"""Attributes one span may have; OpenTelemetry's own limit is 128."""

TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8
_NO_TRACE, _NO_SPAN = bytes(TRACE_ID_BYTES), bytes(SPAN_ID_BYTES)

BAD_IDS: Final = "trace id or span id is missing, zero or of a wrong length: send 16 and 8 bytes"
"""Why a span without valid ids is set aside: it has no identity to be stored once by."""


class MalformedError(Exception):
    """The body is not what its content type says; its text says what is wrong."""


class TooLargeError(Exception):
    """The body is larger, or holds more, than is taken; its text says the limit."""


@dataclass(slots=True)
class Received:
    """A request's model calls.

    Args:
        records: spans that may tell of a model call.
        dropped: spans or log records that tell of none.
        set_aside: why spans were set aside -> how many.
        size: bytes the records take at most.
    """

    records: list[SpanRecord] = field(default_factory=list["SpanRecord"])
    dropped: int = 0
    set_aside: Counter[str] = field(default_factory=Counter[str])
    size: int = 0


def are_valid_ids(trace_id: bytes, span_id: bytes) -> bool:
    """Whether a span can be told from every other (W3C trace context: no zero ids)."""
    return (
        len(trace_id) == TRACE_ID_BYTES
        and len(span_id) == SPAN_ID_BYTES
        and trace_id != _NO_TRACE
        and span_id != _NO_SPAN
    )


def check_elements(count: int) -> None:
    """Refuse what unfolds into more than a request may hold.

    Raises:
        TooLargeError: it does.
    """
    if count > MOST_ELEMENTS:
        raise TooLargeError(f"the request holds over {MOST_ELEMENTS} elements: send smaller ones")


def check_attributes(count: int) -> None:
    """Refuse a span with more attributes than it may have; raises as `check_elements`."""
    if count > MOST_ATTRIBUTES:
        raise TooLargeError(f"a span has over {MOST_ATTRIBUTES} attributes: send fewer")
