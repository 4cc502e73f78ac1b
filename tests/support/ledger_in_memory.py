"""A ledger in memory, and the rows that a span becomes.

Of the instrumentation's tests, only this file imports internals of the exporter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from support.ledger_rows import HEADER, package_book
from support.spans import attributes_of
from tokenledger_exporter.domain.ledger_row import LedgerRow
from tokenledger_exporter.domain.provider_names import ledger_name
from tokenledger_exporter.domain.span_record import SpoolHeader
from tokenledger_exporter.rating.build_rows import build_rows
from tokenledger_exporter.rating.live_price import price_of
from tokenledger_exporter.recorder.drainer import package_prices
from tokenledger_exporter.recorder.encode import encode_span
from tokenledger_exporter.spool.codec import FORMAT_VERSION, decode_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from decimal import Decimal

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import TracerProvider as AnyTracerProvider
    from opentelemetry.util.types import AttributeValue

    from tokenledger_exporter.domain.span_record import SpanRecord
    from tokenledger_semconv.budgets import BudgetGuard
    from tokenledger_semconv.settings import Settings

__all__ = ["LedgerInMemory", "LedgerRow", "ledger_name", "row_of", "rows_of", "stored_record"]


class _OnlyOurs(SpanProcessor):
    """Stores the spans of our scopes only; the ledger's processor drops an SDK's own below ours."""

    def __init__(self, spans: list[ReadableSpan]) -> None:
        self._spans = spans

    def on_end(self, span: ReadableSpan) -> None:
        scope = span.instrumentation_scope
        if scope is not None and scope.name.startswith("tokenledger."):
            self._spans.append(span)


class LedgerInMemory:
    """Implements the ledger's interface; it stores every span that reaches it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.spans: list[ReadableSpan] = []
        self.attached: list[AnyTracerProvider] = []
        self.shutdowns = 0
        self.budgets_changed: Callable[[BudgetGuard | None], None] | None = None
        self._provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
        self._provider.add_span_processor(_OnlyOurs(self.spans))

    @property
    def tracer_provider(self) -> TracerProvider:
        return self._provider

    def attach(self, provider: AnyTracerProvider) -> bool:
        if not isinstance(provider, TracerProvider):
            return False
        if not any(provider is known for known in self.attached):
            self.attached.append(provider)
            provider.add_span_processor(_OnlyOurs(self.spans))
        return True

    def flush(self, timeout: float) -> int:
        del timeout
        return len(self.spans)

    def price(
        self, attributes: Mapping[str, AttributeValue], start_ns: int, *, failed: bool
    ) -> Decimal | None:
        return price_of(
            attributes,
            start_ns,
            failed=failed,
            header=SpoolHeader(format_version=FORMAT_VERSION, ledger=""),
            prices_of=lambda _provider: package_prices(),
        )

    def enforce_budgets(self, changed: Callable[[BudgetGuard | None], None]) -> None:
        self.budgets_changed = changed

    def health(self) -> dict[str, object]:
        return {"waiting": 0}

    def shutdown(self, timeout: float) -> None:
        del timeout
        self.shutdowns += 1

    def only(self) -> dict[str, Any]:
        """The attributes of the only span."""
        assert len(self.spans) == 1, [span.name for span in self.spans]
        return attributes_of(self.spans[0])


def row_of(span: ReadableSpan, at: datetime | None = None) -> LedgerRow:
    """The only row that a span becomes, by the installed price list.

    Args:
        span: the span.
        at: when the call begins instead of now: some prices vary by hour.
    """
    if at is None:
        [row] = rows_of(span)
        return row
    start_ns = int(at.timestamp()) * 10**9
    moved = replace(stored_record(span), start_ns=start_ns, end_ns=start_ns + 10**9)
    [row] = build_rows(moved, HEADER, package_book)
    return row


def rows_of(span: ReadableSpan) -> list[LedgerRow]:
    """The rows that a span becomes, by the installed price list."""
    return build_rows(stored_record(span), HEADER, package_book)


def stored_record(span: ReadableSpan) -> SpanRecord:
    """The record that the ledger stores of a span before it becomes a row."""
    return decode_record(encode_span(span))
