"""Any OTLP sender can fill the ledger: another language, another collector, or our own."""

from __future__ import annotations

import os
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from collectors.otelcol import Collector, Service
from collectors.processes import wait_until
from collectors.senders import model_calls, requests, send
from collectors.tracing import Jaeger, Phoenix
from end_to_end.otlp import Receiver, Sink
from support.ledger_rows import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from opentelemetry.sdk.trace import ReadableSpan

    from collectors.tracing import TracingUi

_NODE: Final = Path(__file__).parent / "node"
_SECONDS: Final = 60

# gpt-4o, per million tokens: $2.50 input, $1.25 cached input, $10 output.
_VERCEL_CALL: Final = (400 * Decimal("2.5") + 600 * Decimal("1.25") + 200 * Decimal(10)) / 1_000_000


@pytest.fixture
def service(database_url: str, tmp_path: Path) -> Generator[Service]:
    running = Service(database_url, tmp_path)
    running.start()
    yield running
    running.stop()


def _node() -> str:
    node = shutil.which("node")
    if node is None or not (_NODE / "node_modules").is_dir():
        pytest.skip("no Node sender; `make node-sender` installs it (requires Node and npm)")
    return node


def _run_node(endpoint: str) -> None:
    done = subprocess.run(
        (_node(), "send.mjs"),
        cwd=_NODE,
        env=os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint},
        check=False,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("through_a_collector", [False, True], ids=["direct", "collector"])
def test_calls_of_vercels_ai_sdk_on_node_become_rows(
    database_url: str, service: Service, tmp_path: Path, *, through_a_collector: bool
) -> None:
    query = (
        "SELECT response_id, provider, input_tokens, cached_tokens, output_tokens, cost_usd,"
        " user_id FROM token_ledger_events ORDER BY response_id"
    )
    if through_a_collector:
        with Sink().running() as tracing:
            endpoints = {
                "TOKENLEDGER_ENDPOINT": service.endpoint,
                "TRACING_ENDPOINT": tracing.endpoint,
            }
            collector = Collector("agent", tmp_path, endpoints)
            collector.start()
            try:
                _run_node(collector.endpoint)
                wait_until(lambda: len(ask(database_url, query)) == 2, "the calls are rows")
            finally:
                collector.stop()
    else:
        _run_node(service.endpoint)
    rest = ("openai", 1_000, 600, 200, _VERCEL_CALL, "ada")
    assert ask(database_url, query) == [
        ("chatcmpl-of-the-streamed-answer", *rest),
        ("chatcmpl-of-the-whole-answer", *rest),
    ]


def test_rotel_forwards_to_the_ledger(database_url: str, service: Service, tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, to=service.endpoint)
    with receiver.running():
        send(model_calls(50), receiver.endpoint)
        send(model_calls(50), receiver.grpc_endpoint, by="grpc")
    query = "SELECT count(*), sum(cost_usd) FROM token_ledger_events"
    # 1,000 input tokens at $2.50 per million, 100 output tokens at $10.
    wait_until(lambda: ask(database_url, query)[0][0] == 100, "the calls are rows")
    assert ask(database_url, query) == [(100, 100 * Decimal("0.0035"))]


def _span_ids(spans: list[ReadableSpan]) -> set[str]:
    contexts = (span.get_span_context() for span in spans)
    return {f"{context.span_id:016x}" for context in contexts if context is not None}


@pytest.mark.parametrize("kind", [Phoenix, Jaeger])
def test_a_tracing_ui_shows_the_spans_that_the_ledger_bills(
    database_url: str, service: Service, tmp_path: Path, kind: Callable[[Path], TracingUi]
) -> None:
    tracing = kind(tmp_path)
    tracing.start()
    endpoints = {"TOKENLEDGER_ENDPOINT": service.endpoint, "TRACING_ENDPOINT": tracing.endpoint}
    spans = [*model_calls(3), *requests(2)]
    collector = Collector("agent", tmp_path, endpoints)
    try:
        collector.start()
        send(spans, collector.endpoint)
        wait_until(lambda: len(tracing.span_ids()) == len(spans), "the UI shows every span")
        wait_until(lambda: len(_billed(database_url)) == 3, "the calls are rows")
        assert tracing.span_ids() == _span_ids(spans)
    finally:
        collector.stop()
        tracing.stop()
    assert _billed(database_url) == _span_ids(spans[:3])


def _billed(database_url: str) -> set[str]:
    return {span_id for (span_id,) in ask(database_url, "SELECT span_id FROM token_ledger_events")}
