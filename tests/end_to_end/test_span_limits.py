"""The app's span limits are for its backend: money, attribution and rows do not fall to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import psycopg
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import tokenledger
from end_to_end.money import mtok
from end_to_end.programs import LEDGER, launch, written
from end_to_end.test_zero_code import written_app
from tokenledger_exporter.demo.scripts import Use
from tokenledger_exporter.maintenance.deduplicate import deduplicate_marked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

    from tokenledger_exporter.demo.provider import DemoProvider

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("unpatched")]

ASKED: Any = [{"role": "user", "content": "Where is my parcel?"}]
TAGS: dict[str, Any] = {f"tag_{number}": f"value {number}" for number in range(20)}
USER = "a-user-whose-name-is-longer-than-thirty-two-letters"
ROWS = """
    SELECT model, cost_usd, cost_status, user_id, feature, team, usage IS NOT NULL, app_name,
           (SELECT count(*) FROM jsonb_object_keys(metadata))
    FROM token_ledger_events ORDER BY timestamp
"""
COST = mtok("0.15", 1_000) + mtok("0.60", 500)
ROW = ("gpt-4o-mini-2024-07-18", COST, "priced", USER, "chat", "ml", True, "shop", 20)
LIMITS = {
    "no limit": SpanLimits(),
    "values of 0": SpanLimits(max_span_attribute_length=0),
    "values of 6": SpanLimits(max_span_attribute_length=6),
    "values of 12": SpanLimits(max_attribute_length=12),
    "values of 64": SpanLimits(max_span_attribute_length=64),
    "no attribute": SpanLimits(max_span_attributes=0),
    "3 attributes": SpanLimits(max_span_attributes=3),
    "16 attributes": SpanLimits(max_attributes=16),
    "32 attributes": SpanLimits(max_span_attributes=32),
}


@pytest.fixture(params=list(LIMITS))
def exported(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InMemorySpanExporter]:
    """The app's own tracing, with its limits."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(
        span_limits=LIMITS[request.param],
        resource=Resource.create({"service.name": "shop"}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", None)
    monkeypatch.setattr("opentelemetry.trace.get_tracer_provider", lambda: provider)
    monkeypatch.setattr("tokenledger._calls.tracer.get_tracer_provider", lambda: provider)
    monkeypatch.setattr("tokenledger._otel_loading.get_tracer_provider", lambda: provider)
    yield exporter
    provider.shutdown()


def ask(client: openai.OpenAI, *, stream: bool = False) -> None:
    with tokenledger.attribution(user_id=USER, feature="chat", team="ml", **TAGS):
        create: Any = client.chat.completions.create
        answer = create(model="gpt-4o-mini", messages=ASKED, stream=stream)
        if stream:
            assert list(answer)


def ours(exported: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in exported.get_finished_spans() if span.name.startswith("chat")]


def test_a_row_has_everything_its_call_reported(
    exported: InMemorySpanExporter, sdks: DemoProvider, database_url: str
) -> None:
    sdks.script(*[Use({"input": 1_000, "output": 500})] * 2)
    tokenledger.configure(database_url=database_url)
    tokenledger.patch_openai()
    with openai.OpenAI() as client:
        ask(client)
        ask(client, stream=True)
    tokenledger.flush()
    assert written(database_url, ROWS) == [ROW] * 2
    # One span each on the app's tracing, of the trace the row names.
    traces = written(database_url, "SELECT trace_id FROM token_ledger_events ORDER BY timestamp")
    contexts = [span.get_span_context() for span in ours(exported)]
    assert [(f"{each.trace_id:032x}",) for each in contexts if each] == traces


def test_a_call_below_a_limited_span_of_another_emitter_is_one_row(
    exported: InMemorySpanExporter, sdks: DemoProvider, database_url: str
) -> None:
    """A framework's own report of the call is the parent of ours; one provider has both."""
    del exported
    sdks.script(Use({"input": 1_000, "output": 500}))
    tokenledger.configure(database_url=database_url)
    tokenledger.patch_openai()
    from opentelemetry import trace  # noqa: PLC0415

    tracer = trace.get_tracer_provider().get_tracer("framework")
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.provider.name": "openai",
    }
    with (
        tracer.start_as_current_span("chat of the framework", attributes=attributes) as above,
        tracer.start_as_current_span("a step of it"),
        openai.OpenAI() as client,
    ):
        ask(client)
        above.set_attributes({"gen_ai.usage.input_tokens": 1_000})
        above.set_attributes({"gen_ai.usage.output_tokens": 500})
    tokenledger.flush()
    # In one commit they would be settled already; the drain thread may have made two.
    with psycopg.connect(database_url) as connection:
        deduplicate_marked(connection)
    assert written(database_url, ROWS)[-1:] == [ROW]
    assert len(written(database_url, "SELECT 1 FROM token_ledger_events WHERE cost_usd > 0")) == 1


APP = f"""
import openai
import tokenledger

with tokenledger.attribution(user_id="{USER}", feature="chat", team="ml", **{TAGS}):
    openai.OpenAI().chat.completions.create(model="gpt-4o-mini", messages={ASKED})
"""


@pytest.mark.parametrize(
    "limit",
    [
        {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "6"},
        {"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "12"},
        {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0"},
        {"OTEL_ATTRIBUTE_COUNT_LIMIT": "16"},
    ],
    ids=str,
)
def test_a_zero_code_launch_is_exact_too(
    sdks: DemoProvider, tmp_path: Path, database_url: str, limit: dict[str, str]
) -> None:
    sdks.script(Use({"input": 1_000, "output": 500}))
    app = written_app(tmp_path, APP)
    ended = launch(
        app, LEDGER, TOKENLEDGER_DATABASE_URL=database_url, OTEL_SERVICE_NAME="shop", **limit
    )
    assert ended.code == 0, ended.errors
    assert written(database_url, ROWS) == [ROW]
