"""Every pipeline of `collector-config/`, with a real Collector and a real ledger."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest
import yaml

from collectors import many
from collectors.broker import Broker, MockCluster
from collectors.otelcol import CONFIGURATIONS, Collector, Service, binary
from collectors.processes import wait_until
from collectors.senders import (
    RetryingSender,
    model_calls,
    request_with_a_call,
    requests,
    send,
)
from end_to_end.otlp import Sink
from support import otlp_agent_logs as agents
from support.ledger_rows import ask
from support.recorded_spans import EMITTERS, calls, rows
from tokenledger_exporter.dialects.allowlist import MARKS
from tokenledger_exporter.embedded.homes import temporary_home
from tokenledger_exporter.embedded.postgres import EmbeddedPostgres
from tokenledger_exporter.maintenance.install import migrate

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

NAMES: Final = ("agent", "gateway", "kafka", "redaction", "whole-traces")
ADDITION: Final = "add-ledger"
# A Collector that someone runs already.
EXISTING: Final = """
receivers:
  otlp:
    protocols:
      http:
        endpoint: ${env:OTLP_HTTP_ENDPOINT}
exporters:
  otlp_http/tracing:
    endpoint: ${env:TRACING_ENDPOINT}
extensions:
  health_check:
    endpoint: ${env:HEALTH_ENDPOINT}
service:
  extensions: [health_check]
  telemetry:
    metrics:
      level: none
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [otlp_http/tracing]
"""
WITH_FILTER: Final = ("agent", "gateway", "kafka")

# gpt-4o: 1,000 input tokens at $2.50 per million, 100 output tokens at $10.
ONE_CALL: Final = Decimal("0.0025") + Decimal("0.001")


@pytest.fixture
def service(database_url: str, tmp_path: Path) -> Generator[Service]:
    running = Service(database_url, tmp_path)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def tracing() -> Generator[Sink]:
    with Sink().running() as sink:
        yield sink


def _endpoints(service: Service, tracing: Sink) -> dict[str, str]:
    return {"TOKENLEDGER_ENDPOINT": service.endpoint, "TRACING_ENDPOINT": tracing.endpoint}


def _stored(database_url: str) -> tuple[int, int, Decimal]:
    """The number of rows and of distinct spans, and the cost in dollars."""
    query = "SELECT count(*), count(DISTINCT span_id), sum(cost_usd) FROM token_ledger_events"
    [(count, distinct, cost)] = ask(database_url, query)
    return count, distinct, cost or Decimal(0)


@pytest.mark.parametrize("name", NAMES)
def test_the_collector_accepts_the_configuration(name: str) -> None:
    command = (binary(), "validate", "--config", str(CONFIGURATIONS / f"{name}.yaml"))
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [*NAMES, ADDITION])
def test_a_configuration_starts_with_when_to_use_it(name: str) -> None:
    text = (CONFIGURATIONS / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# When to use it: ")


@pytest.mark.parametrize("name", WITH_FILTER)
def test_the_filter_passes_every_attribute_that_marks_a_call(name: str) -> None:
    config = yaml.safe_load((CONFIGURATIONS / f"{name}.yaml").read_text(encoding="utf-8"))
    [condition] = config["processors"]["filter/model_calls"]["traces"]["span"]
    missing = [mark for mark in MARKS if f'attributes["{mark}"] == nil' not in condition]
    assert missing == []


@pytest.mark.parametrize("by", ["http", "grpc"])
def test_an_agent_sends_calls_to_the_ledger_and_every_span_to_the_tracing_ui(
    database_url: str,
    service: Service,
    tracing: Sink,
    tmp_path: Path,
    by: Literal["http", "grpc"],
) -> None:
    spans = [*model_calls(3), *requests(2)]
    collector = Collector("agent", tmp_path, _endpoints(service, tracing))
    collector.start()
    try:
        send(spans, collector.endpoint if by == "http" else collector.grpc_endpoint, by=by)
        wait_until(lambda: _stored(database_url)[0] == len(spans) - 2, "the calls are rows")
        wait_until(lambda: len(tracing.spans) == len(spans), "the spans are traced")
    finally:
        collector.stop()
    assert _stored(database_url) == (3, 3, 3 * ONE_CALL)
    wanted = {f"{context.span_id:016x}" for span in spans if (context := span.get_span_context())}
    assert {span.span_id for span in tracing.spans} == wanted


def test_a_collector_that_runs_already_gets_the_ledger_from_a_second_file(
    database_url: str, service: Service, tracing: Sink, tmp_path: Path
) -> None:
    existing = tmp_path / "existing.yaml"
    existing.write_text(EXISTING, encoding="utf-8")
    spans = [*model_calls(3), *requests(2)]
    both = ("--config", str(existing))
    collector = Collector(ADDITION, tmp_path, _endpoints(service, tracing), both)
    collector.start()
    try:
        send(spans, collector.endpoint, by="http")
        wait_until(lambda: _stored(database_url)[0] == len(spans) - 2, "the calls are rows")
        wait_until(lambda: len(tracing.spans) == len(spans), "its own pipeline stays")
    finally:
        collector.stop()
    assert _stored(database_url) == (3, 3, 3 * ONE_CALL)


def test_a_gateway_keeps_calls_on_disk_through_an_outage_of_the_ledger_and_a_crash(
    database_url: str, service: Service, tracing: Sink, tmp_path: Path
) -> None:
    collector = Collector("gateway", tmp_path, _endpoints(service, tracing))
    service.kill()
    collector.start()
    try:
        sender = RetryingSender(collector.endpoint)
        for _ in range(5):
            sender.send(model_calls(100))
        collector.kill()
        assert _stored(database_url)[0] == 0
        collector.start()
        sender.send(model_calls(100))
        service.start()
        wait_until(lambda: _stored(database_url)[0] == 600, "every call is a row")
    finally:
        collector.stop()
    assert _stored(database_url) == (600, 600, 600 * ONE_CALL)


def test_a_gateway_samples_traces_but_not_the_ledger(
    database_url: str, service: Service, tracing: Sink, tmp_path: Path
) -> None:
    sampled = {"TRACES_PERCENT": "0", "DECISION_WAIT": "1s"}
    collector = Collector("gateway", tmp_path, _endpoints(service, tracing) | sampled)
    collector.start()
    try:
        send([*model_calls(20), *model_calls(2, failed=True)], collector.endpoint)
        wait_until(lambda: len(tracing.spans) >= 2, "the failed calls are traced")
        wait_until(lambda: _stored(database_url)[0] == 22, "every call is a row")
    finally:
        collector.stop()
    assert len(tracing.spans) == 2


CANARY: Final = "the secret of the canary"
CONTENT: Final[dict[str, Any]] = {
    "gen_ai.input.messages": json.dumps([{"role": "user", "content": CANARY}]),
    "gen_ai.output.messages": json.dumps([{"role": "assistant", "content": CANARY}]),
    "gen_ai.system_instructions": CANARY,
    "gen_ai.prompt.0.content": CANARY,
    "gen_ai.completion.0.content": CANARY,
    "gen_ai.tool.call.arguments": CANARY,
    "llm.input_messages.0.message.content": CANARY,
    "llm.prompts": CANARY,
    "input.value": CANARY,
    "traceloop.entity.input": CANARY,
    "ai.prompt": CANARY,
    "ai.prompt.messages": CANARY,
    "ai.response.text": CANARY,
    "langfuse.observation.input": CANARY,
    "gcp.vertex.agent.llm_response": f"{CANARY} that is truncated {{",
    "request_data": json.dumps({"messages": [CANARY]}),
}


def test_redaction_removes_all_content(
    database_url: str, service: Service, tracing: Sink, tmp_path: Path
) -> None:
    spans = model_calls(1, **{key.replace(".", "__"): value for key, value in CONTENT.items()})
    collector = Collector("redaction", tmp_path, _endpoints(service, tracing))
    collector.start()
    try:
        send(spans, collector.endpoint)
        wait_until(lambda: _stored(database_url)[0] == 1, "the call is a row")
        wait_until(lambda: len(tracing.spans) == 1, "the span is traced")
    finally:
        collector.stop()
    assert all(CANARY.encode() not in body for body in tracing.bodies)
    assert not CONTENT.keys() & tracing.spans[0].attributes.keys()
    assert tracing.spans[0].attributes["gen_ai.request.model"] == "gpt-4o"
    assert _stored(database_url) == (1, 1, ONE_CALL)


def test_redaction_does_not_change_the_cost_of_any_emitter(
    database_url: str, service: Service, tracing: Sink, tmp_path: Path
) -> None:
    spans = [
        span for emitter in EMITTERS for recording in calls(emitter).values() for span in recording
    ]
    wanted = Counter((row.span_id, row.model, row.cost_usd) for row in rows(spans))
    collector = Collector("redaction", tmp_path, _endpoints(service, tracing))
    collector.start()
    try:
        send(spans, collector.endpoint)
        wait_until(lambda: bool(tracing.spans), "the spans are traced")
    finally:
        collector.stop()
    query = (
        "SELECT span_id, model, cost_usd FROM token_ledger_events UNION ALL "
        "SELECT event ->> 'span_id', event ->> 'model', (event ->> 'cost_usd')::numeric "
        "FROM token_ledger_duplicates"
    )
    assert Counter(ask(database_url, query)) == wanted


@pytest.mark.parametrize("name", ["agent", "gateway", "redaction"])
def test_logs_of_coding_agents_become_rows_through_a_collector(
    database_url: str, service: Service, tracing: Sink, tmp_path: Path, name: str
) -> None:
    collector = Collector(name, tmp_path, _endpoints(service, tracing))
    collector.start()
    try:
        logs = agents.request(agents.log(agents.CODEX), agents.log(agents.CLAUDE, "content"))
        request = urllib.request.Request(  # noqa: S310 - a local address
            f"{collector.endpoint}/v1/logs",
            logs.SerializeToString(),
            {"content-type": "application/x-protobuf"},
        )
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - as above
        wait_until(lambda: _stored(database_url)[0] == 2, "both are rows")
    finally:
        collector.stop()
    assert _stored(database_url)[2] == agents.CODEX_COST + agents.CLAUDE_COST


@pytest.mark.parametrize("kafka", [Broker, MockCluster])
def test_calls_wait_in_kafka_during_an_outage_of_the_ledger_and_become_one_row_each(
    database_url: str,
    service: Service,
    tracing: Sink,
    tmp_path: Path,
    kafka: type[Broker | MockCluster],
) -> None:
    broker = kafka(tmp_path)
    broker.start()
    environment = _endpoints(service, tracing) | {"KAFKA_BROKERS": broker.address}
    collector = Collector("kafka", tmp_path, environment, broker.options)
    try:
        collector.start()
        sender = RetryingSender(collector.endpoint)
        sender.send(model_calls(100))
        wait_until(lambda: _stored(database_url)[0] == 100, "the first calls are rows")
        service.kill()
        for _ in range(5):
            sender.send(model_calls(100))
        # Tier 2 is killed with calls that it has read and the ledger has not stored.
        collector.kill()
        collector.start()
        service.start()
        wait_until(lambda: _stored(database_url)[0] == 600, "every call is a row")
    finally:
        collector.stop()
        broker.stop()
    assert _stored(database_url) == (600, 600, 600 * ONE_CALL)


def test_spans_are_one_row_each_when_collector_and_ledger_crash(
    tmp_path: Path,
) -> None:
    with temporary_home() as home, EmbeddedPostgres(home / "server") as server:
        migrate(server.database_url)
        counts = many.run(server, tmp_path, 20_000)
    assert (counts.sent, counts.rows, counts.distinct) == (20_000, 20_000, 20_000)
    assert counts.faults == 6


def test_a_collector_that_waits_for_the_trace_brings_call_and_parent_together(
    database_url: str, service: Service, tmp_path: Path
) -> None:
    """Each span comes in a request of its own, the call first."""
    query = "SELECT user_id, cost_usd FROM token_ledger_events ORDER BY user_id"
    users = ["ada", "bob", "eve"]
    spans = [request_with_a_call(user) for user in users]
    environment = {"TOKENLEDGER_ENDPOINT": service.endpoint, "WAIT": "2s"}
    collector = Collector("whole-traces", tmp_path, environment)
    collector.start()
    try:
        for level in zip(*spans, strict=True):
            for span in level:
                send([span], collector.endpoint)
        wait_until(lambda: len(ask(database_url, query)) == len(users), "the calls are rows")
    finally:
        collector.stop()
    assert ask(database_url, query) == [(user, ONE_CALL) for user in users]
