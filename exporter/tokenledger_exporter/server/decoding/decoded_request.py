"""What decoding makes of a request, and how it refuses one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tokenledger_exporter.domain.span_record import SpanRecord

MAX_ELEMENTS: Final = 65_536
"""Resources, scopes and spans a request may hold; 4 MiB of real spans are below 10,000."""

MAX_ATTRIBUTES: Final = 10_000
"""Attributes a resource, a scope or a log record may have."""

MAX_SPAN_FIELDS: Final = 2_048
"""Attributes, events and links of one span together; OpenTelemetry's own limit is 128 each."""

MAX_EVENTS: Final = 32
"""How many of a span's events, from the last one on, are asked for its error."""

LARGE_BODY: Final = 131_072
"""Bytes beyond which a request may hold calls of which too much would be kept."""

MAX_RECORDS: Final = 16_384
"""Model calls of one request."""

MAX_ALLOWED: Final = 196_608
"""Characters that are kept of one call: of names and of values."""

TOO_MANY_FIELDS: Final = f"a span has over {MAX_SPAN_FIELDS} attributes, events and links"
TOO_MANY_RECORDS: Final = f"the request holds over {MAX_RECORDS} model calls: send smaller ones"
TOO_MUCH_KEPT: Final = f"what is kept of a call is over {MAX_ALLOWED} characters"
"""Why calls are set aside that ask for too much; the others of the request are stored."""

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

    def take(self, record: SpanRecord, *, is_large: bool = False) -> None:
        """Add a call, or set it aside.

        Args:
            record: the call.
            is_large: whether what is kept of it is measured; of a small span it fits.
        """
        if len(self.records) >= MAX_RECORDS:
            self.set_aside[TOO_MANY_RECORDS] += 1
        elif is_large and _kept(record) > MAX_ALLOWED:
            self.set_aside[TOO_MUCH_KEPT] += 1
        else:
            self.records.append(record)


def _kept(record: SpanRecord) -> int:
    count = 0
    for key, value in record.attributes.items():
        count += len(key)
        if isinstance(value, str):
            count += len(value)
        elif isinstance(value, list):
            count += sum(map(len, value))
    return count


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
    if count > MAX_ELEMENTS:
        raise TooLargeError(f"the request holds over {MAX_ELEMENTS} elements: send smaller ones")


def check_attributes(count: int) -> None:
    """Refuse what has more attributes than it may have; raises as `check_elements`."""
    if count > MAX_ATTRIBUTES:
        raise TooLargeError(f"an element has over {MAX_ATTRIBUTES} attributes: send fewer")
