"""Opens ledgers and makes calls that they record."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import Span
from opentelemetry.trace import SpanKind

from support.ledger_rows import chat_attributes
from tokenledger_exporter.recorder.ledger import PostgresLedger
from tokenledger_semconv.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from opentelemetry.trace import Tracer


DOWN = "postgresql://canaryuser:canarypass@127.0.0.1:1/ledger"


@contextmanager
def opened(database_url: str, **options: object) -> Generator[PostgresLedger]:
    ledger = PostgresLedger(read_settings({"database_url": database_url, **options}))
    try:
        yield ledger
    finally:
        ledger.shutdown(timeout=5.0)


def call(ledger: PostgresLedger, **more: str) -> None:
    tracer = ledger.tracer_provider.get_tracer("tokenledger.openai")
    span_attributes: dict[str, Any] = dict(chat_attributes(**more))
    tracer.start_span("chat gpt-4o", kind=SpanKind.CLIENT, attributes=span_attributes).end()


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def started(tracer: Tracer, user: str = "u") -> Span:
    """Start a call and leave it open."""
    span_attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "user.id": user,
    }
    span = tracer.start_span("chat", kind=SpanKind.CLIENT, attributes=span_attributes)
    assert isinstance(span, Span)
    return span
