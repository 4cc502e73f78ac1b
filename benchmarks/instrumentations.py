"""Other instrumentations of the same SDKs: what is installed, and how each is turned on.

`benchmarks.peer_calls` makes an environment for each, so each is imported by name only. The
releases are the newest of 2026-11-26.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import TracerProvider

from benchmarks.bare_span import Nowhere

if TYPE_CHECKING:
    from collections.abc import Callable

NO_CONTENT: Final = {
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "NO_CONTENT",
    "OPENINFERENCE_HIDE_INPUTS": "true",
    "OPENINFERENCE_HIDE_OUTPUTS": "true",
    "TRACELOOP_TRACE_CONTENT": "false",
}
"""Their switches, in the environment, that keep prompts and answers off the span."""


@dataclass(frozen=True)
class Peer:
    """One instrumentation.

    Args:
        name: as the table shows it, with its release.
        requirements: what is installed, pinned.
        turn_on: instruments both SDKs as its documents say, on the provider it is given.
        note: what the table says next to its name.
        runs_with_ours: whether ours can be imported in the same process.
    """

    name: str
    requirements: tuple[str, ...]
    turn_on: Callable[[TracerProvider], None]
    note: str = ""
    runs_with_ours: bool = True

    @property
    def title(self) -> str:
        """What its row is called."""
        return f"{self.name} ({self.note})" if self.note else self.name


def _instrumentors(package: str) -> Callable[[TracerProvider], None]:
    def turn_on(provider: TracerProvider) -> None:
        for sdk, name in (("openai", "OpenAIInstrumentor"), ("anthropic", "AnthropicInstrumentor")):
            instrumentor = getattr(import_module(f"{package}.{sdk}"), name)()
            instrumentor.instrument(tracer_provider=provider)

    return turn_on


def _langfuse(_provider: TracerProvider) -> None:
    # It puts its own batch processor on the provider, so it gets one that has none yet.
    import_module("langfuse").Langfuse(
        public_key="pk",
        secret_key="sk",
        # Nothing listens there.
        base_url="http://127.0.0.1:9",
        tracer_provider=TracerProvider(shutdown_on_exit=False),
        span_exporter=Nowhere(),
    )
    import_module("langfuse.openai")


class _NoDatabase:
    """What stands where TokenLedger 0.1.1 has its Postgres, as a no-op exporter does elsewhere."""

    def initialize(self, *_settings: object, **_more: object) -> None:
        """Make nothing."""

    def write_events(self, events: list[Any]) -> int:
        """Drop them."""
        return len(events)

    def close(self) -> None:
        """Close nothing."""


def _tokenledger_0_1_1(_provider: TracerProvider) -> None:
    module, tracker = import_module("tokenledger"), import_module("tokenledger.tracker")
    settings = import_module("tokenledger.config").TokenLedgerConfig(database_url="none")
    vars(tracker)["_tracker"] = tracker.TokenTracker(settings, backend=_NoDatabase())
    module.patch_openai()
    module.patch_anthropic()


class _NoService:
    """What stands where Tokenr has `requests`: the thread it starts for each call ends at once."""

    def post(self, *_address: object, **_told: object) -> None:
        """Send nothing."""


def _tokenr(_provider: TracerProvider) -> None:
    module = import_module("tokenr")
    vars(module)["requests"] = _NoService()
    module.init(token="t")


PEERS: Final = (
    Peer(
        "OpenTelemetry genai 1.3b0",
        (
            "opentelemetry-instrumentation-genai-openai==1.3b0",
            "opentelemetry-instrumentation-genai-anthropic==1.3b0",
        ),
        _instrumentors("opentelemetry.instrumentation.genai"),
    ),
    Peer(
        "OpenInference 0.1.66, 3.1.0",
        (
            "openinference-instrumentation-openai==0.1.66",
            "openinference-instrumentation-anthropic==3.1.0",
        ),
        _instrumentors("openinference.instrumentation"),
    ),
    Peer(
        "Traceloop 0.62.4",
        (
            "opentelemetry-instrumentation-openai==0.62.4",
            "opentelemetry-instrumentation-anthropic==0.62.4",
        ),
        _instrumentors("opentelemetry.instrumentation"),
    ),
    Peer("Langfuse 5.0.4", ("langfuse==5.0.4",), _langfuse, "content cannot be turned off"),
    Peer(
        "TokenLedger 0.1.1",
        ("tokenledger==0.1.1",),
        _tokenledger_0_1_1,
        "no spans: puts an event into a queue",
        # It has the same import name.
        runs_with_ours=False,
    ),
    Peer("Tokenr 0.1.3", ("tokenr==0.1.3",), _tokenr, "no spans: starts a thread per call"),
)
