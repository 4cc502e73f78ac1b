"""Makes the spans of made-up calls, as several emitters would tell of them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from msgspec import structs

from support.ledger_rows import HEADER, build_row, chat_attributes, package_book
from tokenledger_exporter.domain.span_record import SpanRecord
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import AttributeValue

OURS = "tokenledger.openai"
OTHER = "opentelemetry.instrumentation.openai_v2"
THIRD = "openinference.instrumentation.openai"
NOON_NS = (time.time_ns() // 3_600_000_000_000 - 2) * 3_600_000_000_000 + 1_800_000_000_000
"""Half past an hour, a while ago: no test meets a border by chance."""
MS = 1_000_000


@dataclass(frozen=True)
class Told:
    """One span about a call of 1,000 tokens in and 100 out that takes two seconds.

    Args:
        scope: who tells.
        response_id: "" if this emitter does not tell it.
        after_ms: how long after noon it starts.
        lasts_ms: how long it lasts.
        above: the span around it.
        counts: what it counts; none for a call nobody measured.
        more: further attributes.
        token: organization of the token it came with, "" if it came from the operator's own source.
        is_trusted: whether the operator vouches for that token's reports.
    """

    scope: str = OURS
    response_id: str = "chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz123"
    after_ms: int = 0
    lasts_ms: int = 2_000
    above: Told | None = None
    counts: tuple[int, int] | None = (1_000, 100)
    more: Mapping[str, AttributeValue] = field(default_factory=dict[str, "AttributeValue"])
    token: str = ""
    is_trusted: bool = False
    trace_id: bytes = field(default_factory=lambda: os.urandom(16))
    span_id: int = field(default_factory=lambda: int.from_bytes(os.urandom(8), "big"))

    def around(self, **changed: object) -> Told:
        """A span by somebody else around this one, as a wrapper's is."""
        outer = replace(
            self,
            scope=OTHER,
            after_ms=self.after_ms - 1,
            lasts_ms=self.lasts_ms + 3,
            span_id=int.from_bytes(os.urandom(8), "big"),
        )
        return replace(outer, **changed)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

    def within(self, outer: Told) -> Told:
        """The same span, known to be inside another of its trace."""
        return replace(self, above=outer, trace_id=outer.trace_id)

    @property
    def start_ns(self) -> int:
        return NOON_NS + self.after_ms * MS

    @property
    def record(self) -> SpanRecord:
        told = dict(chat_attributes())
        if self.counts is None:
            del told[attributes.INPUT_TOKENS], told[attributes.OUTPUT_TOKENS]
        else:
            told[attributes.INPUT_TOKENS], told[attributes.OUTPUT_TOKENS] = self.counts
        if self.response_id:
            told[attributes.RESPONSE_ID] = self.response_id
        above: list[tuple[int, int]] = []
        outer = self.above
        while outer is not None:
            above.append((outer.span_id, outer.start_ns))
            outer = outer.above
        return SpanRecord(
            trace_id=self.trace_id,
            span_id=self.span_id,
            parent_span_id=self.above.span_id if self.above else 0,
            start_ns=self.start_ns,
            end_ns=self.start_ns + self.lasts_ms * MS,
            scope=self.scope,
            failed=False,
            attributes=told | dict(self.more),
            resource={},
            ancestors=tuple(above),
        )

    @property
    def row(self) -> LedgerRow:
        header = structs.replace(HEADER, organization=self.token, is_trusted=self.is_trusted)
        built = build_row(self.record, header, package_book)
        assert built is not None
        return built
