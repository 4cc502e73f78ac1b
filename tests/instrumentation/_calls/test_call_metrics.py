"""The conventions' client metrics: exact values, no attribution, and free without a provider."""

from __future__ import annotations

import gc
import itertools
from typing import TYPE_CHECKING, Any

import openai
import pytest
from opentelemetry import context
from opentelemetry.metrics import NoOpMeterProvider

import tokenledger
from support.app_metrics import AppMetrics
from support.fake_provider import Refuse
from support.sdk_calls import (
    CHAT,
    CHAT_STREAM,
    EMBEDDING,
    GENERATING,
    MESSAGE,
    MESSAGE_STREAM,
    PROMPT,
    RESPONSE,
    STREAMS,
    run,
    run_async,
)
from tokenledger import _guard
from tokenledger._calls import call_metrics
from tokenledger.instrumentors.anthropic import AnthropicInstrumentor
from tokenledger.instrumentors.openai import OpenAIInstrumentor

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import ReadableSpan

    from support.fake_provider import DemoProvider
    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Clients, Shape

TOKENS = "gen_ai.client.token.usage"
DURATION = "gen_ai.client.operation.duration"
FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"
GAPS = "gen_ai.client.operation.time_per_output_chunk"
OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"
# The fake provider's usage: `PARTS` of `support.sdk_calls`.
INPUT, OUTPUT, CACHED, REASONING = 1_200, 50, 200, 7
SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
COUNTS = (1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144)


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> AppMetrics:
    """The app's own metrics as the global provider."""
    app = AppMetrics()
    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", app.provider)
    return app


def _by(points: list[Any], name: str) -> dict[Any, Any]:
    return {point.attributes[name]: point for point in points}


@pytest.mark.parametrize("shape", GENERATING, ids=str)
def test_a_call_reports_its_tokens_and_how_long_it_took(
    ledger: LedgerInMemory, clients: Clients, metrics: AppMetrics, shape: Shape
) -> None:
    run(clients, shape)
    points = metrics.points()
    tokens = _by(points[TOKENS], "gen_ai.token.type")
    assert {kind: point.sum for kind, point in tokens.items()} == {
        "input": INPUT,
        "output": OUTPUT,
    }
    assert [point.count for point in points[DURATION]] == [1]
    span: ReadableSpan = ledger.spans[0]
    assert span.end_time is not None
    assert span.start_time is not None
    assert points[DURATION][0].sum == (span.end_time - span.start_time) / 1e9
    assert (FIRST_CHUNK in points) is shape.streams


@pytest.mark.parametrize("shape", STREAMS, ids=str)
def test_a_stream_reports_its_first_chunk_and_the_time_between_the_others(
    ledger: LedgerInMemory, clients: Clients, metrics: AppMetrics, shape: Shape
) -> None:
    chunks = run(clients, shape)
    points = metrics.points()
    [first] = points[FIRST_CHUNK]
    assert first.sum == ledger.only()["gen_ai.response.time_to_first_chunk"]
    [gaps] = points[GAPS]
    assert gaps.sum <= points[DURATION][0].sum - first.sum
    assert gaps.attributes == first.attributes == points[DURATION][0].attributes
    if not shape.method.endswith(".stream"):
        # The helpers add events of their own, and OpenAI's hidden chunk is no chunk of the app's.
        assert gaps.count == len(chunks) - 1


@pytest.mark.asyncio
@pytest.mark.parametrize("shape", [CHAT, CHAT_STREAM, MESSAGE, MESSAGE_STREAM], ids=str)
async def test_async_calls_report_the_same(
    ledger: LedgerInMemory, async_clients: Clients, metrics: AppMetrics, shape: Shape
) -> None:
    await run_async(async_clients, shape)
    points = metrics.points()
    assert [point.sum for point in points[TOKENS]] == [INPUT, OUTPUT]
    assert [point.count for point in points[DURATION]] == [1]
    assert (GAPS in points) is shape.streams
    assert len(ledger.spans) == 1


def test_a_stream_that_is_read_as_bytes_reports_its_chunks(
    ledger: LedgerInMemory, clients: Clients, metrics: AppMetrics
) -> None:
    create = clients.openai.chat.completions.with_streaming_response.create
    with create(**CHAT_STREAM.arguments) as response:
        events = [line for line in response.iter_lines() if line.startswith("data: {")]
    points = metrics.points()
    assert points[GAPS][0].count == len(events) - 1
    assert points[TOKENS][0].sum == INPUT
    assert len(ledger.spans) == 1


def test_the_buckets_are_those_of_the_conventions(
    ledger: LedgerInMemory, clients: Clients, metrics: AppMetrics
) -> None:
    run(clients, CHAT_STREAM)
    points = metrics.points()
    for name in (DURATION, FIRST_CHUNK, GAPS):
        assert points[name][0].explicit_bounds == SECONDS
    assert points[TOKENS][0].explicit_bounds[:10] == COUNTS
    assert points[TOKENS][0].explicit_bounds[10:] == (1_048_576, 4_194_304, 16_777_216, 67_108_864)
    units = {metric.name: metric.unit for metric in metrics.collect()}
    assert units == {TOKENS: "{token}", DURATION: "s", FIRST_CHUNK: "s", GAPS: "s"}
    assert len(ledger.spans) == 1


@pytest.mark.parametrize("shape", [CHAT_STREAM, RESPONSE, MESSAGE], ids=str)
def test_the_attributes_are_the_conventions_alone_and_hold_no_attribution(
    ledger: LedgerInMemory,
    clients: Clients,
    metrics: AppMetrics,
    monkeypatch: pytest.MonkeyPatch,
    shape: Shape,
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    tokenledger.unpatch_openai()
    tokenledger.unpatch_anthropic()
    tokenledger.patch_openai()
    tokenledger.patch_anthropic()
    with tokenledger.attribution(
        user_id="canary-user", session_id="canary-session", feature="f", tier="gold"
    ):
        run(clients, shape, tokenledger_organization_id="canary-tenant")
    allowed = {
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.response.model",
        "server.address",
        "server.port",
    }
    for name, points in metrics.points().items():
        for point in points:
            own = {"gen_ai.token.type"} if name == TOKENS else set[str]()
            assert set(point.attributes) == allowed | own
            assert "canary" not in str(dict(point.attributes))
    assert ledger.only()["user.id"] == "canary-user"
    assert PROMPT in str(ledger.only())


def test_a_failed_call_reports_its_error_with_its_duration_alone(
    ledger: LedgerInMemory, clients: Clients, metrics: AppMetrics, provider: DemoProvider
) -> None:
    provider.script(Refuse(429))
    with pytest.raises(openai.RateLimitError):
        run(clients, CHAT)
    points = metrics.points()
    assert [point.attributes["error.type"] for point in points[DURATION]] == ["RateLimitError"]
    assert list(points) == [DURATION]
    assert len(ledger.spans) == 1


def test_an_estimated_count_is_no_measurement(
    ledger: LedgerInMemory, clients: Clients, metrics: AppMetrics
) -> None:
    stream = clients.openai.chat.completions.create(**CHAT_STREAM.arguments)
    for _ in itertools.islice(stream, 3):
        pass
    stream.close()
    points = metrics.points()
    assert ledger.only()["tokenledger.usage.estimated"] is True
    assert points[DURATION][0].count == 1
    assert TOKENS not in points


def test_an_abandoned_stream_is_reported_with_the_next_call(
    ledger: LedgerInMemory, clients: Clients, metrics: AppMetrics
) -> None:
    """The garbage collector may end it while OpenTelemetry holds a lock in the same thread."""
    stream = clients.openai.chat.completions.create(**CHAT_STREAM.arguments)
    next(iter(stream))
    del stream
    gc.collect()
    assert DURATION not in metrics.points()
    run(clients, CHAT)
    assert sum(point.count for point in metrics.points()[DURATION]) == 2
    assert len(ledger.spans) == 2


def test_a_long_stream_holds_a_thousand_times_at_most(
    ledger: LedgerInMemory,
    clients: Clients,
    metrics: AppMetrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call_metrics, "_GAPS_AT_ONCE", 2)
    chunks = run(clients, CHAT_STREAM)
    points = metrics.points()[GAPS]
    assert len(chunks) > 4
    assert sum(point.count for point in points) == len(chunks) - 1
    assert len(points) == 1
    assert len(ledger.spans) == 1


def test_a_meter_provider_that_is_passed_wins_over_the_global_one(
    ledgers: list[LedgerInMemory], clients: Clients, metrics: AppMetrics
) -> None:
    own = AppMetrics()
    tokenledger.configure()
    for instrumentor in (OpenAIInstrumentor(), AnthropicInstrumentor()):
        instrumentor.instrument(meter_provider=own.provider)
    run(clients, CHAT)
    run(clients, MESSAGE)
    assert sum(point.count for point in own.points()[DURATION]) == 2
    assert metrics.points() == {}
    assert len(ledgers[0].spans) == 2


def test_a_provider_that_the_app_sets_later_gets_the_calls_from_then_on(
    ledger: LedgerInMemory, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(clients, CHAT)
    app = AppMetrics()
    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", app.provider)
    run(clients, CHAT)
    assert [point.count for point in app.points()[DURATION]] == [1]
    assert len(ledger.spans) == 2


@pytest.mark.parametrize("recorded", ["ledger", "app"])
def test_one_call_is_counted_once_whatever_records_its_span(
    clients: Clients,
    metrics: AppMetrics,
    request: pytest.FixtureRequest,
    recorded: str,
) -> None:
    request.getfixturevalue(recorded)
    tokenledger.patch_openai()
    run(clients, RESPONSE)
    assert [point.count for point in metrics.points()[DURATION]] == [1]


@pytest.mark.parametrize("state", ["none", "no-op"])
def test_without_a_meter_provider_no_instrument_is_made(
    ledger: LedgerInMemory, clients: Clients, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    provider = None if state == "none" else NoOpMeterProvider()
    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", provider)
    made: list[object] = []
    monkeypatch.setattr(call_metrics, "PublishedInstruments", made.append)
    run(clients, CHAT)
    assert made == []
    assert len(ledger.spans) == 1


def test_suppressed_instrumentation_reports_no_metrics(
    ledger: LedgerInMemory, clients: Clients, metrics: AppMetrics
) -> None:
    token = context.attach(context.set_value("suppress_instrumentation", True))
    try:
        run(clients, CHAT)
    finally:
        context.detach(token)
    assert metrics.points() == {}
    assert len(ledger.spans) == 1


def test_a_meter_and_the_metrics_count_the_same_call(
    ledger: LedgerInMemory, clients: Clients, metrics: AppMetrics
) -> None:
    with tokenledger.meter() as counted:
        run(clients, CHAT)
    assert counted.tokens.input == INPUT
    assert metrics.points()[TOKENS][0].sum == INPUT
    assert len(ledger.spans) == 1


def test_a_meter_provider_that_fails_does_not_reach_the_app(
    ledger: LedgerInMemory, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def get_meter(self, *_arguments: object) -> object:
            raise RuntimeError

    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", Broken())
    run(clients, CHAT)
    assert _guard.counts() == {"making the metrics of calls": 1}
    _guard.reset()
    assert ledger.only()["gen_ai.usage.input_tokens"] == INPUT


def test_an_instrument_that_fails_does_not_reach_the_app(
    ledger: LedgerInMemory,
    clients: Clients,
    metrics: AppMetrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_arguments: object, **_more: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("opentelemetry.sdk.metrics._internal.instrument.Histogram.record", fail)
    run(clients, CHAT_STREAM)
    assert _guard.counts() == {"reporting a call's metrics": 2}
    _guard.reset()
    assert ledger.only()["gen_ai.usage.input_tokens"] == INPUT
    assert metrics.points() == {}


def test_a_provider_that_cannot_be_loaded_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_METER_PROVIDER", "missing")
    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", None)
    assert call_metrics.find_metrics("tokenledger.test", "1", None) == ()
    assert _guard.counts() == {"loading the app's meter provider": 1}
    _guard.reset()


LATEST = "gen_ai.client.inference"


def _sums(points: list[Any]) -> dict[str, int]:
    return {point.attributes["gen_ai.token.modality"]: point.value for point in points}


def test_the_newest_conventions_can_be_chosen(
    ledger: LedgerInMemory,
    clients: Clients,
    metrics: AppMetrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(OPT_IN, "http, gen_ai_latest_experimental")
    run(clients, CHAT_STREAM)
    points = metrics.points()
    assert set(points) == {
        f"{LATEST}.duration",
        f"{LATEST}.time_to_first_chunk",
        f"{LATEST}.time_per_output_chunk",
        f"{LATEST}.operation.input_tokens",
        f"{LATEST}.operation.output_tokens",
        f"{LATEST}.usage.input_tokens",
        f"{LATEST}.usage.output_tokens",
        f"{LATEST}.usage.cache_read.input_tokens",
        f"{LATEST}.usage.cache_write.input_tokens",
        f"{LATEST}.usage.reasoning.output_tokens",
    } & set(points)
    assert points[f"{LATEST}.operation.input_tokens"][0].sum == INPUT
    assert points[f"{LATEST}.operation.output_tokens"][0].sum == OUTPUT
    assert sum(_sums(points[f"{LATEST}.usage.input_tokens"]).values()) == INPUT
    assert sum(_sums(points[f"{LATEST}.usage.output_tokens"]).values()) == OUTPUT
    assert sum(_sums(points[f"{LATEST}.usage.cache_read.input_tokens"]).values()) == CACHED
    assert _sums(points[f"{LATEST}.usage.reasoning.output_tokens"]) == {"unknown": REASONING}
    assert len(ledger.spans) == 1


def test_the_newest_conventions_count_a_failed_call_as_zero_tokens(
    ledger: LedgerInMemory,
    clients: Clients,
    metrics: AppMetrics,
    provider: DemoProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(OPT_IN, "gen_ai_latest_experimental")
    provider.script(Refuse(429))
    with pytest.raises(openai.RateLimitError):
        run(clients, CHAT)
    points = metrics.points()
    assert _sums(points[f"{LATEST}.usage.input_tokens"]) == {"unknown": 0}
    assert _sums(points[f"{LATEST}.usage.output_tokens"]) == {"unknown": 0}
    assert f"{LATEST}.operation.input_tokens" not in points
    assert len(ledger.spans) == 1


def test_embeddings_have_metrics_of_their_own_in_the_newest_conventions(
    ledger: LedgerInMemory,
    clients: Clients,
    metrics: AppMetrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(OPT_IN, "gen_ai_latest_experimental")
    run(clients, EMBEDDING)
    points = metrics.points()
    assert set(points) == {
        "gen_ai.client.embeddings.duration",
        "gen_ai.client.embeddings.operation.input_tokens",
    }
    counted = ledger.only()["gen_ai.usage.input_tokens"]
    assert points["gen_ai.client.embeddings.operation.input_tokens"][0].sum == counted


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"gen_ai.usage.input_tokens": 10}, {"unknown": 10}),
        (
            {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.audio.input_tokens": 0},
            {"text": 10},
        ),
        (
            {
                "gen_ai.usage.input_tokens": 10,
                "gen_ai.usage.audio.input_tokens": 3,
                "gen_ai.usage.image.input_tokens": 4,
            },
            # 10 in all, less 3 of audio and 4 of images: 3 of text.
            {"text": 3, "audio": 3, "image": 4},
        ),
        (
            # Parts larger than the whole: the whole is what is billed.
            {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.audio.input_tokens": 11},
            {"unknown": 10},
        ),
        ({"gen_ai.usage.input_tokens": -1}, {"unknown": 0}),
    ],
)
def test_tokens_are_split_by_modality_if_the_provider_splits_them(
    monkeypatch: pytest.MonkeyPatch, counts: dict[str, int], expected: dict[str, int]
) -> None:
    monkeypatch.setenv(OPT_IN, "gen_ai_latest_experimental")
    app = AppMetrics()
    [reporting] = call_metrics.find_metrics("tokenledger.test", "1", app.provider)
    reporting.add_call({"gen_ai.operation.name": "chat", **counts}, 0)
    reporting.report()
    assert _sums(app.points()[f"{LATEST}.usage.input_tokens"]) == expected


def test_a_release_that_stores_the_provider_elsewhere_is_asked_by_its_function(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = AppMetrics()
    get: Callable[[], object] = lambda: app.provider  # noqa: E731
    monkeypatch.setattr(call_metrics, "GLOBAL_METER_STATE", call_metrics.NoState())
    monkeypatch.setattr(call_metrics, "get_meter_provider", get)
    assert len(call_metrics.find_metrics("tokenledger.test", "1", None)) == 1
