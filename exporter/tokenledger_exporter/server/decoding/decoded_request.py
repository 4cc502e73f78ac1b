"""The result of decoding a request, the limits, and the errors of a request that is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tokenledger_exporter.domain.span_record import SpanRecord

MAX_ELEMENTS: Final = 65_536
"""Resources, scopes and spans of a request; 4 MiB of real spans have fewer than 10,000."""

MAX_ATTRIBUTES: Final = 10_000
"""Attributes of a resource, a scope or a log record."""

MAX_SPAN_FIELDS: Final = 2_048
"""Attributes, events and links of one span together; OpenTelemetry's own limit is 128 each."""

MAX_EVENTS: Final = 32
"""Number of a span's last events that are searched for its error."""

LARGE_BODY: Final = 131_072
"""Bytes of a body from which on its calls are checked against `MAX_ALLOWED_CHARACTERS`."""

MAX_RECORDS: Final = 16_384
"""Model calls of one request."""

MAX_ALLOWED_CHARACTERS: Final = 196_608
"""Characters stored for one call: names and values of its allowed attributes."""

TOO_MANY_ELEMENTS: Final = (
    f"the request contains more than {MAX_ELEMENTS} elements; send smaller batches"
)
TOO_MANY_FIELDS: Final = f"a span has more than {MAX_SPAN_FIELDS} attributes, events and links"
TOO_MANY_RECORDS: Final = (
    f"the request contains more than {MAX_RECORDS} model calls; send smaller batches"
)
TOO_MUCH_TEXT: Final = (
    f"the allowed attributes of a call have more than {MAX_ALLOWED_CHARACTERS} characters"
)
"""Reasons to quarantine calls beyond a limit; the rest of the request is stored."""

TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8
_NO_TRACE, _NO_SPAN = bytes(TRACE_ID_BYTES), bytes(SPAN_ID_BYTES)

BAD_IDS: Final = (
    "the trace id or span id is missing, zero or of the wrong length; send 16 and 8 bytes"
)
"""Reason to quarantine a span without valid ids: duplicates of it could not be detected."""


class MalformedError(Exception):
    """The body does not match its content type; the text says what is wrong."""


class TooLargeError(Exception):
    """The body is too large or contains too many elements; the text names the limit."""


@dataclass(slots=True)
class DecodedRequest:
    """The model calls of a request.

    Args:
        records: spans that may describe a model call.
        dropped: number of spans or log records that do not.
        quarantined: number of quarantined spans by reason.
        size: upper bound of the records' memory in bytes.
    """

    records: list[SpanRecord] = field(default_factory=list["SpanRecord"])
    dropped: int = 0
    quarantined: Counter[str] = field(default_factory=Counter[str])
    size: int = 0

    def add(self, record: SpanRecord, *, is_large: bool = False) -> None:
        """Add a call, or quarantine it.

        Args:
            record: the call.
            is_large: whether to measure its text; in a small request it is always short enough.
        """
        if len(self.records) >= MAX_RECORDS:
            self.quarantined[TOO_MANY_RECORDS] += 1
        elif is_large and _characters(record) > MAX_ALLOWED_CHARACTERS:
            self.quarantined[TOO_MUCH_TEXT] += 1
        else:
            self.records.append(record)


def _characters(record: SpanRecord) -> int:
    count = 0
    for key, value in record.attributes.items():
        count += len(key)
        if isinstance(value, str):
            count += len(value)
        elif isinstance(value, list):
            count += sum(map(len, value))
    return count


def are_valid_ids(trace_id: bytes, span_id: bytes) -> bool:
    """Whether the ids identify a span (W3C trace context: not zero)."""
    return (
        len(trace_id) == TRACE_ID_BYTES
        and len(span_id) == SPAN_ID_BYTES
        and trace_id != _NO_TRACE
        and span_id != _NO_SPAN
    )


def check_elements(count: int) -> None:
    """Refuse a request with too many elements.

    Raises:
        TooLargeError: there are more than `MAX_ELEMENTS`.
    """
    if count > MAX_ELEMENTS:
        raise TooLargeError(TOO_MANY_ELEMENTS)


def check_attributes(count: int) -> None:
    """Refuse an element with too many attributes; raises the error of `check_elements`."""
    if count > MAX_ATTRIBUTES:
        raise TooLargeError(f"an element has more than {MAX_ATTRIBUTES} attributes; send fewer")
