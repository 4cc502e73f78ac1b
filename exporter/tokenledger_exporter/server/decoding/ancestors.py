"""Finds what the spans above each call of a request say about it.

The model calls above a call are noted, as nested spans may report the same call, and so is the
attribution of all spans above it. A parent is known only if it arrives in the same request. A call
whose parent comes with another request is matched by the provider's response id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from tokenledger_exporter.dialects.attribute_filter import allowed_attributes
from tokenledger_exporter.dialects.inheritance import (
    MAX_CARRIERS,
    Inheritance,
    carries_attribution,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.dialects.inheritance import Carrier
    from tokenledger_exporter.domain.span_record import SpanRecord

# As in the span processor: reports of the same call are within a few spans.
_MAX_ANCESTORS: Final = 8
_MAX_STEPS: Final = 32


class RequestSpans:
    """The spans of a request by their keys, which are the bytes of trace id and span id."""

    __slots__ = ("_carriers", "_has_room", "parents")

    def __init__(self) -> None:
        self.parents: Final[dict[bytes, bytes]] = {}
        self._carriers: Final[dict[bytes, Carrier]] = {}
        self._has_room = True

    def add_other(self, key: bytes, scope: str, span_attributes: Mapping[str, object]) -> None:
        """Add a span that is not a call; it may name who the calls below it are for.

        Args:
            key: its key.
            scope: its instrumentation scope.
            span_attributes: those of its attributes that the ledger reads.
        """
        if self._has_room and carries_attribution(span_attributes):
            self._carriers[key] = scope, allowed_attributes(span_attributes)
            if len(self._carriers) > MAX_CARRIERS:
                self._has_room = False
                self._carriers.clear()

    def complete(self, records: list[SpanRecord]) -> None:
        """Add to each call the calls above it, nearest first, and its inherited attribution.

        Args:
            records: the calls of the request, changed in place.
        """
        parents = self.parents
        if not parents or len(records) + len(self._carriers) < 2:  # noqa: PLR2004 - one span alone
            return
        calls = {record.trace_id + record.span_id.to_bytes(8, "big"): record for record in records}
        carriers = self._carriers

        def find(key: bytes) -> Carrier | None:
            call = calls.get(key)
            return carriers.get(key) if call is None else (call.scope, call.attributes)

        inheritance = Inheritance(find, parents)
        for index, record in enumerate(records):
            if record.parent_span_id:
                key = record.trace_id + record.span_id.to_bytes(8, "big")
                ancestors = self._calls_above(key, calls)
                inherited = None
                if self._has_room and (carriers or ancestors):
                    inherited = inheritance.above(key)
                if ancestors or inherited:
                    records[index] = msgspec.structs.replace(
                        record, ancestors=ancestors, inherited=inherited
                    )

    def _calls_above(
        self, key: bytes, calls: Mapping[bytes, SpanRecord]
    ) -> tuple[tuple[int, int], ...]:
        ancestors: list[tuple[int, int]] = []
        above = self.parents.get(key)
        for _ in range(_MAX_STEPS):
            if above is None or len(ancestors) == _MAX_ANCESTORS:
                break
            if above != key and (call := calls.get(above)) is not None:
                ancestors.append((call.span_id, call.start_ns))
            above = self.parents.get(above)
        return tuple(ancestors)
