"""The ledger gets every call exactly once; the app's tracing gets it as the app samples."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from anthropic import Anthropic
from opentelemetry import context, trace
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TracerProvider,
)
from typing_extensions import override

import tokenledger
from support.sdk_calls import ALL, CHAT, CHAT_STREAM, MESSAGE, run, run_async
from support.spans import AppTracing, attributes_of
from tokenledger import _guard
from tokenledger.instrumentors.openai import OpenAIInstrumentor
from tokenledger_semconv.attributes import (
    OPERATION_NAME,
    PROVIDER_NAME,
    REQUEST_MODEL,
    SCOPE_PREFIX,
    SDK_VERSION,
    SERVER_ADDRESS,
    USER_ID,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Tracer, TraceState
    from opentelemetry.util.types import Attributes

    from support.fake_provider import DemoProvider
    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Clients, Shape


_HTTP = "_client"


class _Watching(Sampler):
    """Samples everything and records its arguments."""

    def __init__(self) -> None:
        self.seen: list[dict[str, object]] = []

    def should_sample(  # noqa: PLR0913, PLR0917 - OpenTelemetry's signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        del parent_context, trace_id, kind, links, trace_state
        self.seen.append({"name": name, **dict(attributes or {})})
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)

    def get_description(self) -> str:
        return "watching"


def _use(monkeypatch: pytest.MonkeyPatch, tracing: AppTracing) -> AppTracing:
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", tracing.provider)
    return tracing


@pytest.mark.parametrize("shape", ALL, ids=str)
def test_without_any_tracing_the_ledger_gets_the_call(
    ledger: LedgerInMemory, clients: Clients, shape: Shape
) -> None:
    run(clients, shape)
    assert len(ledger.spans) == 1
    assert ledger.spans[0].kind is SpanKind.CLIENT


@pytest.mark.parametrize("shape", ALL, ids=str)
def test_with_tracing_one_span_reaches_backend_and_ledger(
    app: AppTracing, ledger: LedgerInMemory, clients: Clients, shape: Shape
) -> None:
    run(clients, shape)
    assert len(ledger.spans) == len(app.spans) == 1
    assert ledger.spans[0] is app.spans[0]


@pytest.mark.parametrize("shape", ALL, ids=str)
@pytest.mark.asyncio
async def test_with_tracing_one_async_span_reaches_both(
    app: AppTracing, ledger: LedgerInMemory, async_clients: Clients, shape: Shape
) -> None:
    await run_async(async_clients, shape)
    assert len(ledger.spans) == len(app.spans) == 1


@pytest.mark.parametrize("shape", ALL, ids=str)
def test_a_call_sampled_out_by_the_app_is_recorded(
    monkeypatch: pytest.MonkeyPatch, ledger: LedgerInMemory, clients: Clients, shape: Shape
) -> None:
    app = _use(monkeypatch, AppTracing(ALWAYS_OFF))
    run(clients, shape)
    assert len(ledger.spans) == 1
    assert not app.exporter.get_finished_spans()


def test_a_provider_set_after_patching_is_used(
    ledger: LedgerInMemory, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(clients, CHAT)
    app = _use(monkeypatch, AppTracing())
    run(clients, CHAT)
    assert len(ledger.spans) == 2
    assert len(app.spans) == 1
    assert app.provider in ledger.attached


def test_an_instrumentor_given_a_provider_uses_that_one(
    app: AppTracing, ledger: LedgerInMemory, clients: Clients
) -> None:
    tokenledger.unpatch_openai()
    own = AppTracing()
    OpenAIInstrumentor().instrument(tracer_provider=own.provider)
    run(clients, CHAT)
    assert len(ledger.spans) == len(own.spans) == 1
    assert not app.spans


def test_without_a_ledger_the_apps_tracing_alone_has_the_call(
    app: AppTracing, clients: Clients
) -> None:
    OpenAIInstrumentor().instrument()
    run(clients, CHAT)
    assert len(app.spans) == 1


def test_a_provider_that_the_ledger_cannot_listen_to_gets_its_span_too(
    app: AppTracing, ledger: LedgerInMemory, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attach(_provider: object) -> bool:
        return False

    monkeypatch.setattr(ledger, "attach", attach)
    tokenledger.unpatch_openai()
    tokenledger.patch_openai()
    own = _use(monkeypatch, AppTracing())
    run(clients, CHAT_STREAM)
    assert len(ledger.spans) == len(own.spans) == 1
    assert ledger.spans[0] is not own.spans[0]
    first = attributes_of(ledger.spans[0])
    assert first == attributes_of(own.spans[0])
    assert ledger.spans[0].start_time == own.spans[0].start_time
    assert not app.spans


@pytest.mark.parametrize("shape", ALL, ids=str)
def test_a_sample_rate_of_zero_drops_traces_but_keeps_costs(
    app: AppTracing, ledgers: list[LedgerInMemory], clients: Clients, shape: Shape
) -> None:
    tokenledger.init(sample_rate=0.0)
    run(clients, shape)
    assert len(ledgers[0].spans) == 1
    assert not app.spans


def test_a_sample_rate_decides_roots_at_random(
    app: AppTracing,
    ledgers: list[LedgerInMemory],
    clients: Clients,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenledger.init(sample_rate=0.5)
    drawn = iter([(1 << 63) - 1, 1 << 63])
    monkeypatch.setattr("tokenledger._calls.tracer._draw", lambda: next(drawn))
    run(clients, CHAT)
    run(clients, CHAT)
    assert len(app.spans) == 1
    assert len(ledgers[0].spans) == 2


def test_a_sample_rate_follows_a_recording_parent(
    app: AppTracing, ledgers: list[LedgerInMemory], clients: Clients
) -> None:
    tokenledger.init(sample_rate=0.0)
    with app.provider.get_tracer("app").start_as_current_span("work") as parent:
        run(clients, CHAT)
    assert app.spans[0].parent == parent.get_span_context()
    assert len(ledgers[0].spans) == 1


@pytest.mark.parametrize(
    ("low_bits", "traced"), [(0, 1), (1 << 62, 1), (1 << 63, 0), ((1 << 64) - 1, 0)], ids=str
)
def test_below_a_remote_parent_the_trace_id_decides(
    app: AppTracing, ledgers: list[LedgerInMemory], clients: Clients, low_bits: int, traced: int
) -> None:
    tokenledger.init(sample_rate=0.5)
    flags = TraceFlags(TraceFlags.SAMPLED)
    remote = SpanContext((7 << 64) | low_bits, 5, is_remote=True, trace_flags=flags)
    token = context.attach(trace.set_span_in_context(NonRecordingSpan(remote)))
    run(clients, CHAT)
    context.detach(token)
    assert len(app.spans) == traced
    booked = ledgers[0].spans[0]
    assert booked.context is not None
    assert booked.context.trace_id == remote.trace_id
    assert booked.parent is not None
    assert booked.parent.span_id == 5


def test_the_children_of_an_unsampled_call_are_unsampled(
    ledgers: list[LedgerInMemory],
    provider: DemoProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The anthropic SDK (2.x) makes a span of its own and sends its trace to the provider."""
    app = _use(monkeypatch, AppTracing(ParentBased(ALWAYS_ON)))
    tokenledger.init(sample_rate=0.0)
    with Anthropic(base_url=provider.anthropic_base_url, api_key="sk-canary-key") as client:
        client.messages.create(**MESSAGE.arguments)
    assert not app.exporter.get_finished_spans()
    sent = provider.requests[0].headers.get("traceparent", "-00")
    assert sent.endswith("-00")
    assert len(ledgers[0].spans) == 1


def test_an_sdks_own_span_is_recognized_as_the_same_call(
    ledgers: list[LedgerInMemory], clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger drops it by the scope of the current span, recorded or not."""
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", AppTracing(ALWAYS_OFF).provider)
    tokenledger.init()
    seen: list[object] = []
    http = getattr(clients.openai, _HTTP)
    sent = http.send

    def post(*args: object, **kwargs: object) -> object:
        seen.append(getattr(trace.get_current_span(), "instrumentation_scope", None))
        return sent(*args, **kwargs)

    monkeypatch.setattr(http, "send", post)
    run(clients, CHAT)
    assert [getattr(scope, "name", "") for scope in seen] == [SCOPE_PREFIX + "openai"]
    assert len(ledgers[0].spans) == 1


def test_suppressed_instrumentation_drops_the_call_from_traces_only(
    app: AppTracing, ledger: LedgerInMemory, clients: Clients
) -> None:
    token = context.attach(context.set_value("suppress_instrumentation", value=True))
    run(clients, CHAT)
    context.detach(token)
    assert len(ledger.spans) == 1
    assert not app.spans


def test_suppressed_instrumentation_without_a_ledger_records_nothing(
    app: AppTracing, clients: Clients
) -> None:
    OpenAIInstrumentor().instrument()
    token = context.attach(context.set_value("suppress_instrumentation", value=True))
    run(clients, CHAT)
    context.detach(token)
    assert not app.spans


def test_a_sampler_gets_the_attributes_it_needs(
    ledger: LedgerInMemory, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = _Watching()
    _use(monkeypatch, AppTracing(sampler))
    with tokenledger.attribution(user_id="u1"):
        run(clients, CHAT)
    shown = sampler.seen[0]
    assert shown["name"] == "chat gpt-4o"
    assert {OPERATION_NAME, PROVIDER_NAME, REQUEST_MODEL, SERVER_ADDRESS} <= shown.keys()
    assert list(shown)[-1] == USER_ID
    assert len(ledger.spans) == 1


class _Broken(Sampler):
    def should_sample(self, *_args: object, **_kwargs: object) -> SamplingResult:
        raise RuntimeError

    def get_description(self) -> str:
        return "broken"


def test_tracing_that_fails_does_not_affect_the_ledger(
    ledger: LedgerInMemory, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use(monkeypatch, AppTracing(_Broken()))
    run(clients, CHAT)
    assert len(ledger.spans) == 1
    assert _guard.counts() == {"starting a span in the app's tracing": 1}
    _guard.reset()


class _NoTracers(TracerProvider):
    @override
    def get_tracer(self, *_args: object, **_kwargs: object) -> Tracer:
        raise RuntimeError


def test_tracing_without_a_tracer_does_not_affect_the_ledger(
    ledger: LedgerInMemory, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", _NoTracers())
    run(clients, CHAT)
    run(clients, CHAT)
    assert len(ledger.spans) == 2
    assert _guard.counts() == {"asking the app's tracing for a tracer": 1}
    _guard.reset()


def test_the_scope_is_ours(ledger: LedgerInMemory, clients: Clients) -> None:
    run(clients, MESSAGE)
    scope = ledger.spans[0].instrumentation_scope
    assert scope is not None
    assert scope.name == SCOPE_PREFIX + "anthropic"
    assert scope.version
    assert dict(scope.attributes or {}) == {SDK_VERSION: f"anthropic {version('anthropic')}"}
