"""Calls that ask a ledger's budgets before they are made."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import Span
from opentelemetry.trace import SpanKind

from support.ledger_rows import chat_attributes
from support.ledgers import opened
from tokenledger_semconv.budgets import ROUND_TRIP, Refusal

if TYPE_CHECKING:
    from collections.abc import Generator

    from tokenledger_exporter.recorder.ledger import PostgresLedger
    from tokenledger_semconv.budgets import BudgetGuard, Hold


class GuardedApp:
    """An app whose calls ask the budgets first, as the instrumentation does."""

    def __init__(self, ledger: PostgresLedger) -> None:
        self.ledger = ledger
        self.guard: BudgetGuard | None = None
        self.changes = 0
        ledger.enforce_budgets(self._changed)

    def _changed(self, guard: BudgetGuard | None) -> None:
        self.guard = guard
        self.changes += 1

    def begin(self, **more: str | int) -> tuple[Span, Hold | None] | Refusal:
        """Start a call; a refused one has no span."""
        # The size of the request says exactly what it costs.
        attributes: dict[str, Any] = {"gen_ai.request.max_tokens": 100, **chat_attributes(**more)}
        hold: Any = None
        if self.guard is not None:
            hold = self.guard.try_reserve(attributes, 4_000)
            if hold is ROUND_TRIP:
                hold = self.guard.reserve(attributes, 4_000)
        if isinstance(hold, Refusal):
            return hold
        tracer = self.ledger.tracer_provider.get_tracer("tokenledger.openai")
        span = tracer.start_span("chat gpt-4o", kind=SpanKind.CLIENT, attributes=attributes)
        assert isinstance(span, Span)
        if hold is not None:
            context = span.get_span_context()
            assert context is not None
            hold.bind(context.trace_id, context.span_id)
        return span, hold

    def call(self, **more: str | int) -> Refusal | None:
        """Make a whole call; returns the refusal of one that a budget has no room for."""
        begun = self.begin(**more)
        if isinstance(begun, Refusal):
            return begun
        self.end(begun)
        return None

    def end(self, begun: tuple[Span, Hold | None]) -> None:
        """End a call that was started."""
        span, hold = begun
        span.end()
        if hold is not None:
            hold.finish(dict(span.attributes or {}), failed=False)

    def calls_until_refused(
        self, most: int = 1_000, **more: str | int
    ) -> tuple[int, Refusal | None]:
        """How many calls are made before the first refusal."""
        for number in range(most):
            if (refusal := self.call(**more)) is not None:
                return number, refusal
        return most, None


@contextmanager
def guarded_app(database_url: str, **options: object) -> Generator[GuardedApp]:
    with opened(database_url, **options) as ledger:
        yield GuardedApp(ledger)
