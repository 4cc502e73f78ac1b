"""Finds the model calls above each call in a request, as nested spans may report the same call.

A parent is known only if it arrives in the same request. A parent from another request is matched
by the provider's response id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from tokenledger_exporter.domain.span_record import SpanRecord

# As in the span processor: reports of the same call are within a few spans.
_MAX_ANCESTORS: Final = 8
_MAX_STEPS: Final = 32


def note_ancestors(records: list[SpanRecord], parents: dict[bytes, bytes]) -> None:
    """Add to each record the model calls above it, nearest first.

    Args:
        records: the calls of a request, changed in place.
        parents: the parent's span id by span id, for every span of the request.
    """
    if len(records) < 2 or not parents:  # noqa: PLR2004 - a single call has no ancestor
        return
    calls = {(record.trace_id, record.span_id): record for record in records}
    for index, record in enumerate(records):
        above = record.parent_span_id.to_bytes(8, "big")
        ancestors: list[tuple[int, int]] = []
        for _ in range(_MAX_STEPS):
            call = calls.get((record.trace_id, int.from_bytes(above, "big")))
            if call is not None and call is not record:
                ancestors.append((call.span_id, call.start_ns))
            grandparent = parents.get(above)
            if grandparent is None or len(ancestors) == _MAX_ANCESTORS:
                break
            above = grandparent
        if ancestors:
            records[index] = msgspec.structs.replace(record, ancestors=tuple(ancestors))
