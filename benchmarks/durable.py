"""What a call pays for being on disk before it is sent and again when it has ended."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.trace import SpanKind

from tokenledger_exporter.recorder.ledger import PostgresLedger
from tokenledger_exporter.recorder.processor import LedgerProcessor
from tokenledger_semconv.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.util.types import AttributeValue

_TOLD: Final[dict[str, AttributeValue]] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "user.id": "ada",
    "server.port": 443,
}
_FOUND: Final[dict[str, AttributeValue]] = {
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.id": "chatcmpl-0123456789",
    "gen_ai.usage.input_tokens": 1_000,
    "gen_ai.usage.output_tokens": 100,
}


@dataclass(frozen=True)
class Added:
    """Microseconds of wall time added to a call, START and END together."""

    median_us: float
    p99_us: float


def added_to_a_call(calls: int = 20_000) -> Added:
    """Measure both records of many calls; nothing listens at the database's address."""
    away = "postgresql://bench@127.0.0.1:9/none"
    with tempfile.TemporaryDirectory() as folder:
        settings = {"database_url": away, "spool_dir": folder, "flush_interval_seconds": 600.0}
        ledger = PostgresLedger(read_settings(settings))
        processor = LedgerProcessor(ledger)
        tracer = TracerProvider(shutdown_on_exit=False).get_tracer("tokenledger.openai")
        taken: list[int] = []
        for _ in range(calls):
            span = tracer.start_span("chat gpt-4o", kind=SpanKind.CLIENT, attributes=_TOLD)
            assert isinstance(span, Span)
            sent = _took(partial(processor.on_start, span))
            span.set_attributes(_FOUND)
            span.end()
            taken.append(sent + _took(partial(processor.on_end, span)))
        ledger.shutdown(timeout=0.0)
    taken.sort()
    return Added(taken[calls // 2] / 1_000, taken[calls * 99 // 100] / 1_000)


def _took(work: Callable[[], object]) -> int:
    begun = time.perf_counter_ns()
    work()
    return time.perf_counter_ns() - begun
