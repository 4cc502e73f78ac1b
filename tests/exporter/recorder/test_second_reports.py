"""An embedding that a wrapper reports once more is one row; two embeddings stay two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import SpanKind

from support.ledger_rows import ask
from support.ledgers import opened
from tokenledger_exporter.errors import DatabaseUnreachableError
from tokenledger_exporter.store.writer import BatchWriter

if TYPE_CHECKING:
    from tokenledger_exporter.recorder.ledger import PostgresLedger

MS = 1_000_000
BOTH = [("litellm", 1), ("tokenledger.openai", 1)]
START = 1_760_000_000_000 * MS
ROWS = "SELECT scope, count(*), sum(input_tokens) FROM token_ledger_events GROUP BY 1 ORDER BY 1"


def report(  # noqa: PLR0913 - what spans of embeddings differ in
    ledger: PostgresLedger,
    scope: str,
    start_ms: int,
    end_ms: int,
    *,
    model: str = "text-embedding-3-small",
    tokens: int = 7,
    **more: str,
) -> None:
    """The span of an embedding, which has no response id, from our instrumentor or from LiteLLM."""
    span_attributes: dict[str, Any] = {
        "gen_ai.operation.name": "embedding" if scope == "litellm" else "embeddings",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": tokens,
        **more,
    }
    tracer = ledger.tracer_provider.get_tracer(scope)
    start = START + start_ms * MS
    span = tracer.start_span(
        "e", kind=SpanKind.CLIENT, attributes=span_attributes, start_time=start
    )
    span.end(START + end_ms * MS)


def test_an_embedding_that_litellm_reports_once_more_is_one_row(database_url: str) -> None:
    with opened(database_url) as ledger:
        for number in range(3):
            report(ledger, "tokenledger.openai", 10 + number, 100)
        for number in range(3):
            report(ledger, "litellm", number, 120, model="openai/text-embedding-3-small")
        ledger.flush(timeout=10.0)
    assert ask(database_url, ROWS) == [("tokenledger.openai", 3, 21)]


@pytest.mark.parametrize(
    "other",
    [
        {"tokens": 8},
        {"model": "text-embedding-3-large"},
        {"start_ms": 50},
        {"end_ms": 60},
        {"gen_ai.response.id": "emb-of-more-than-twenty-letters"},
    ],
    ids=["other tokens", "another model", "begun later", "ended before", "an id of its own"],
)
def test_an_embedding_of_litellm_alone_is_a_row(database_url: str, other: dict[str, Any]) -> None:
    with opened(database_url) as ledger:
        report(ledger, "tokenledger.openai", 10, 100)
        times: dict[str, Any] = {"start_ms": 0, "end_ms": 120, **other}
        report(ledger, "litellm", **times)
        ledger.flush(timeout=10.0)
    assert [row[:2] for row in ask(database_url, ROWS)] == [
        ("litellm", 1),
        ("tokenledger.openai", 1),
    ]


def test_one_of_our_reports_matches_one_wrapper_report(database_url: str) -> None:
    with opened(database_url) as ledger:
        report(ledger, "tokenledger.openai", 10, 100)
        for _ in range(2):
            report(ledger, "litellm", 0, 120)
        ledger.flush(timeout=10.0)
    assert [row[:2] for row in ask(database_url, ROWS)] == [
        ("litellm", 1),
        ("tokenledger.openai", 1),
    ]


def test_a_second_report_is_known_again_when_its_batch_comes_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DatabaseUnreachableError("away")

    with opened(database_url) as ledger:
        report(ledger, "tokenledger.openai", 10, 100)
        report(ledger, "litellm", 0, 120)
        with monkeypatch.context() as away:
            away.setattr(BatchWriter, "write", fail)
            ledger.flush(timeout=10.0)
            assert ledger.waiting == 2
        ledger.flush(timeout=10.0)
    assert ask(database_url, ROWS) == [("tokenledger.openai", 1, 7)]
