"""Which model calls of one request lie within the span of another: both may tell of one call.

In the process that made them the parent is known; here it is as far as both came together. A parent
that comes in another request is found by the ids of the provider's answers alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from tokenledger_exporter.domain.span_record import SpanRecord

# As the processor: what tells of the same call is the next few spans above it.
_MAX_ANCESTORS: Final = 8
_MAX_STEPS: Final = 32


def note_ancestors(records: list[SpanRecord], parents: dict[bytes, bytes]) -> None:
    """Give each record the model calls above it, nearest first, where there are any.

    Args:
        records: the calls of a request, changed in place.
        parents: span id -> the parent's, of every span of the request.
    """
    if len(records) < 2 or not parents:  # noqa: PLR2004 - one call has no other above it
        return
    calls = {(record.trace_id, record.span_id): record for record in records}
    for place, record in enumerate(records):
        above = record.parent_span_id.to_bytes(8, "big")
        found: list[tuple[int, int]] = []
        for _ in range(_MAX_STEPS):
            call = calls.get((record.trace_id, int.from_bytes(above, "big")))
            if call is not None and call is not record:
                found.append((call.span_id, call.start_ns))
            following = parents.get(above)
            if following is None or len(found) == _MAX_ANCESTORS:
                break
            above = following
        if found:
            records[place] = msgspec.structs.replace(record, ancestors=tuple(found))
