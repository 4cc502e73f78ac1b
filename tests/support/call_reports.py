"""Creates spans of invented calls, as several emitters would report them."""

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
"""Half past an hour, at least an hour ago, so that no test crosses an hour by chance."""
MS = 1_000_000


@dataclass(frozen=True)
class CallReport:
    """A span report of a call with 1,000 input and 100 output tokens that takes two seconds.

    Args:
        scope: the emitter.
        response_id: "" if this emitter does not report it.
        after_ms: start, in milliseconds after `NOON_NS`.
        lasts_ms: duration.
        above: the parent span.
        counts: input and output tokens; `None` for an unmeasured call.
        more: more attributes.
        token: organization of the token it was sent with; "" for the operator's own source.
        is_trusted: whether the operator trusts that token's reports.
    """

    scope: str = OURS
    response_id: str = "chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz123"
    after_ms: int = 0
    lasts_ms: int = 2_000
    above: CallReport | None = None
    counts: tuple[int, int] | None = (1_000, 100)
    more: Mapping[str, AttributeValue] = field(default_factory=dict[str, "AttributeValue"])
    token: str = ""
    is_trusted: bool = False
    trace_id: bytes = field(default_factory=lambda: os.urandom(16))
    span_id: int = field(default_factory=lambda: int.from_bytes(os.urandom(8), "big"))

    def around(self, **changed: object) -> CallReport:
        """A span of another emitter around this one, such as a wrapper's."""
        outer = replace(
            self,
            scope=OTHER,
            after_ms=self.after_ms - 1,
            lasts_ms=self.lasts_ms + 3,
            span_id=int.from_bytes(os.urandom(8), "big"),
        )
        return replace(outer, **changed)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

    def within(self, outer: CallReport) -> CallReport:
        """The same span as a child of another span."""
        return replace(self, above=outer, trace_id=outer.trace_id)

    @property
    def start_ns(self) -> int:
        return NOON_NS + self.after_ms * MS

    @property
    def record(self) -> SpanRecord:
        values = dict(chat_attributes())
        if self.counts is None:
            del values[attributes.INPUT_TOKENS], values[attributes.OUTPUT_TOKENS]
        else:
            values[attributes.INPUT_TOKENS], values[attributes.OUTPUT_TOKENS] = self.counts
        if self.response_id:
            values[attributes.RESPONSE_ID] = self.response_id
        ancestors: list[tuple[int, int]] = []
        outer = self.above
        while outer is not None:
            ancestors.append((outer.span_id, outer.start_ns))
            outer = outer.above
        return SpanRecord(
            trace_id=self.trace_id,
            span_id=self.span_id,
            parent_span_id=self.above.span_id if self.above else 0,
            start_ns=self.start_ns,
            end_ns=self.start_ns + self.lasts_ms * MS,
            scope=self.scope,
            failed=False,
            attributes=values | dict(self.more),
            resource={},
            ancestors=tuple(ancestors),
        )

    @property
    def row(self) -> LedgerRow:
        header = structs.replace(HEADER, organization=self.token, is_trusted=self.is_trusted)
        built = build_row(self.record, header, package_book)
        assert built is not None
        return built
