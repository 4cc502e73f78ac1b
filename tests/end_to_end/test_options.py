"""Every option through the public functions: what it changes, and what it never changes."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.resources.messages import Messages
from openai import AsyncOpenAI, OpenAI
from openai.resources.chat.completions import Completions
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import tokenledger
from end_to_end.money import mtok
from support.embedded_script import run_script
from support.ledger_rows import ask
from tokenledger_exporter.demo.scripts import Use
from tokenledger_exporter.recorder.circuit_breaker import CircuitBreaker
from tokenledger_exporter.recorder.ledger import PostgresLedger, installed_ledger
from tokenledger_semconv.attributes import ANTHROPIC_SDK_SCOPE, SCOPE_PREFIX
from tokenledger_semconv.settings import OPTIONS, environment_variable

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable
    from pathlib import Path

    from tokenledger_exporter.demo.provider import DemoProvider

pytestmark = pytest.mark.usefixtures("unpatched")

ASKED: list[Any] = [{"role": "user", "content": "Where is my parcel?"}]
USED = Use({"input": 1_000, "output": 100})
COST = mtok("2.50", 1_000) + mtok("10", 100)
COUNT = "SELECT count(*) FROM token_ledger_events"
SECONDS = 30.0


def ask_openai(provider: DemoProvider, **more: Any) -> None:  # noqa: ANN401 - SDK arguments
    """One chat, always of the same usage."""
    provider.script(USED)
    with OpenAI() as client:
        client.chat.completions.create(model="gpt-4o", messages=ASKED, **more)


def ask_anthropic(provider: DemoProvider) -> None:
    provider.script(USED)
    with Anthropic() as client:
        client.messages.create(model="claude-sonnet-4-6", max_tokens=64, messages=ASKED)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """An app with tracing of its own; what its backend gets."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    return exporter


def scopes(exporter: InMemorySpanExporter) -> Counter[str]:
    """How many spans of which scope reached the app's backend."""
    found = [span.instrumentation_scope for span in exporter.get_finished_spans()]
    return Counter(scope.name for scope in found if scope is not None)


def test_disabled_patches_nothing_and_opens_nothing(
    sdks: DemoProvider, database_url: str, tmp_path: Path
) -> None:
    bare = (vars(Completions)["create"], vars(Messages)["create"])
    tokenledger.init(database_url=database_url, enabled=False)
    tokenledger.patch_openai()
    tokenledger.patch_anthropic()
    ask_openai(sdks)
    tokenledger.track_cost(input_tokens=1, output_tokens=1, model="gpt-4o")
    assert tokenledger.flush() == 0
    assert (vars(Completions)["create"], vars(Messages)["create"]) == bare
    assert not [t.name for t in threading.enumerate() if t.name.startswith("tokenledger")]
    assert not (tmp_path / "spool").exists()
    assert ask(database_url, COUNT) == [(0,)]


def test_all_calls_are_recorded_at_zero_sampling(
    sdks: DemoProvider, database_url: str, app: InMemorySpanExporter
) -> None:
    tokenledger.init(database_url=database_url, sample_rate=0.0)
    for _ in range(5):
        ask_openai(sdks)
    assert tokenledger.flush(SECONDS) == 5
    assert scopes(app) == {}
    assert ask(database_url, "SELECT sum(cost_usd) FROM token_ledger_events") == [(5 * COST,)]


def test_init_is_configure_and_every_patch(sdks: DemoProvider, database_url: str) -> None:
    tokenledger.init(database_url=database_url, app_name="shop")
    ask_openai(sdks)
    ask_anthropic(sdks)
    tokenledger.flush(SECONDS)
    found = ask(database_url, "SELECT provider, app_name FROM token_ledger_events ORDER BY 1")
    assert found == [("anthropic", "shop"), ("openai", "shop")]


def test_debug_says_model_tokens_cost_time_user_and_feature(
    sdks: DemoProvider, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    tokenledger.init(database_url=database_url, debug=True)
    with tokenledger.attribution(feature="track"):
        ask_openai(sdks, user="ada")
    tokenledger.flush(SECONDS)
    (line,) = capfd.readouterr().err.splitlines()
    said = re.fullmatch(
        r"tokenledger: gpt-4o-2024-08-06: 1000 in, 100 out, \$([0-9.]+), "
        r"\d+ ms, user=ada feature=track",
        line,
    )
    assert said is not None, line
    assert Decimal(said.group(1)) == COST


class Tried:
    """What an option did to three chats."""

    def __init__(
        self, database_url: str, app: InMemorySpanExporter, folder: Path, provider: DemoProvider
    ) -> None:
        self.provider = provider
        self.database_url = database_url
        self.app = app
        self.folder = folder
        self.printed = ""

    def column(self, name: str) -> set[Any]:
        """The values of a column once everything is written."""
        tokenledger.flush(SECONDS)
        found = ask(self.database_url, f"SELECT {name} FROM token_ledger_events")
        return {value for (value,) in found}

    def records_without_a_database(self) -> bool:
        """Whether a script without a database URL records a call and asks what it cost."""
        return run_script(os.environ.get("TOKENLEDGER_EMBEDDED", "false")).stdout == "0.0035\n"

    def count(self) -> int:
        """Rows as they are now."""
        ((rows,),) = ask(self.database_url, COUNT)
        assert isinstance(rows, int)
        return rows

    def largest_commit(self) -> int:
        tokenledger.flush(SECONDS)
        sizes: list[int] = [n for (n,) in ask(self.database_url, f"{COUNT} GROUP BY xmin::text")]
        return max(sizes)

    def eventually(self, count: int) -> bool:
        """Whether the background thread writes so many rows by itself, before the default age."""
        deadline = time.monotonic() + 4.0
        while self.count() < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.count() == count

    def failed(self, times: int) -> CircuitBreaker:
        """The breaker of a ledger with these settings, after failures in a row."""
        ledger = installed_ledger()
        assert ledger is not None
        breaker = CircuitBreaker(ledger.settings)
        for _ in range(times):
            breaker.note_failure()
        return breaker

    def lost_without_disk(self, calls: int) -> object:
        """Calls lost by a ledger with these settings whose disk and database are away."""
        ledger = installed_ledger()
        assert ledger is not None
        self.folder.write_bytes(b"no folder")
        away = "postgresql://127.0.0.1:1/x"
        broken = PostgresLedger(
            replace(ledger.settings, database_url=away, spool_dir=str(self.folder))
        )
        for _ in range(calls):
            broken.append(b"a call")
        lost = broken.health()["lost"]
        broken.shutdown(timeout=5.0)
        return lost

    def asks_for_usage(self) -> bool:
        """Whether a stream that says nothing of its usage is asked for it."""
        with OpenAI() as client:
            list(client.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True))
        return "stream_options" in (self.provider.requests[-1].body or {})


@pytest.fixture
def tried(
    database_url: str, app: InMemorySpanExporter, tmp_path: Path, sdks: DemoProvider
) -> Tried:
    return Tried(database_url, app, tmp_path / "elsewhere", sdks)


EFFECTS: dict[str, tuple[str, Callable[[Tried], bool]]] = {
    "database_url": ("DATABASE", lambda tried: tried.column("cost_usd") == {COST}),
    "embedded": ("true", lambda tried: tried.records_without_a_database()),
    "app_name": ("shop", lambda tried: tried.column("app_name") == {"shop"}),
    "environment": ("test", lambda tried: tried.column("environment") == {"test"}),
    "batch_size": ("2", lambda tried: tried.largest_commit() <= 2),
    "flush_interval_seconds": ("0.05", lambda tried: tried.eventually(3)),
    "async_mode": ("false", lambda tried: tried.count() == 3),
    "sample_rate": ("0", lambda tried: not scopes(tried.app)),
    "default_metadata": ("team=ml", lambda tried: tried.column("team") == {"ml"}),
    "agent_id": ("clerk", lambda tried: tried.column("agent_id") == {"clerk"}),
    "tags": (
        '{"region": "eu"}',
        lambda tried: tried.column("metadata ->> 'region'") == {"eu"},
    ),
    "enabled": ("false", lambda tried: tokenledger.flush() == tried.count() == 0),
    "debug": ("true", lambda tried: tried.printed.count("tokenledger: gpt-4o") == 3),
    "spool_dir": ("FOLDER", lambda tried: any(tried.folder.rglob("*"))),
    "stream_usage": ("false", lambda tried: not tried.asks_for_usage()),
    "provider_hosts": ("127.0.0.1=groq", lambda tried: tried.column("provider") == {"groq"}),
    "buffer_size": ("2", lambda tried: tried.lost_without_disk(5) == 3),
    "max_retries": ("0", lambda tried: tried.failed(1).pause_seconds >= 0.7 * 30),
    "retry_backoff_base": ("8", lambda tried: 0.7 * 8 <= tried.failed(1).pause_seconds <= 8),
    "retry_backoff_max": ("2", lambda tried: tried.failed(3).pause_seconds <= 2),
    "circuit_breaker_threshold": ("1", lambda tried: tried.failed(1).state == "open"),
    "circuit_breaker_timeout": ("7", lambda tried: tried.failed(5).pause_seconds <= 7),
}
"""Option -> its variable's value, and what must be seen of it."""


def test_every_option_has_an_effect_to_show() -> None:
    assert tuple(EFFECTS) == OPTIONS


@pytest.mark.parametrize("option", OPTIONS)
def test_the_variable_of_an_option_has_its_effect(
    option: str,
    sdks: DemoProvider,
    tried: Tried,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    value, has_effect = EFFECTS[option]
    value = value.replace("DATABASE", tried.database_url).replace("FOLDER", str(tried.folder))
    if option != "database_url":
        monkeypatch.setenv("DATABASE_URL", tried.database_url)
    monkeypatch.setenv(environment_variable(option), value)
    tokenledger.init()
    for _ in range(3):
        ask_openai(sdks)
    if option == "debug":
        tokenledger.flush(SECONDS)
        tried.printed = capfd.readouterr().err
    assert has_effect(tried)


# Without a database there is nothing to see, and the default wait of 5 s is too long.
@pytest.mark.parametrize(
    "option", [name for name in OPTIONS if name not in {"database_url", "flush_interval_seconds"}]
)
def test_without_its_variable_an_option_has_no_such_effect(
    option: str, sdks: DemoProvider, tried: Tried
) -> None:
    tokenledger.init(database_url=tried.database_url)
    for _ in range(3):
        ask_openai(sdks)
    assert not EFFECTS[option][1](tried)


SELF_TRACING = int(version("anthropic").split(".")[0]) >= 2


@pytest.mark.asyncio
async def test_a_call_that_anthropic_traces_too_is_one_row_and_both_spans_are_exported(
    sdks: DemoProvider, database_url: str, app: InMemorySpanExporter
) -> None:
    tokenledger.init(database_url=database_url)
    sdks.script(*[USED] * 4)
    about: dict[str, Any] = {"model": "claude-sonnet-4-6", "max_tokens": 64, "messages": ASKED}
    with Anthropic() as client:
        client.messages.create(**about)
        assert list(client.messages.create(**about, stream=True))
        with client.messages.stream(**about) as stream:
            assert stream.get_final_text()
    async with AsyncAnthropic() as async_client:
        await async_client.messages.create(**about)
    assert tokenledger.flush(SECONDS) == 4
    cost = mtok("3", 1_000) + mtok("15", 100)
    found = ask(database_url, "SELECT scope, cost_usd FROM token_ledger_events")
    assert found == [(f"{SCOPE_PREFIX}anthropic", cost)] * 4
    exported = {f"{SCOPE_PREFIX}anthropic": 4}
    if SELF_TRACING:
        exported[ANTHROPIC_SDK_SCOPE] = 4
    assert scopes(app) == exported


@pytest.mark.asyncio
async def test_every_way_to_call_carries_its_attribution(
    sdks: DemoProvider, database_url: str
) -> None:
    tokenledger.init(database_url=database_url)
    chat: dict[str, Any] = {"model": "gpt-4o", "messages": ASKED}
    message: dict[str, Any] = {"model": "claude-sonnet-4-6", "max_tokens": 9, "messages": ASKED}

    def by(feature: str) -> contextlib.AbstractContextManager[None]:
        return tokenledger.attribution(user_id="ada", feature=feature)

    with OpenAI() as openai, Anthropic() as anthropic:
        with by("chat"):
            openai.chat.completions.create(**chat)
        with by("chat stream"):
            stream = openai.chat.completions.create(**chat, stream=True)
        # Read after the block: the call was made inside.
        assert list(stream)
        with by("message"):
            anthropic.messages.create(**message)
        with by("helper"), anthropic.messages.stream(**message) as helper:
            assert helper.get_final_text()
    async with AsyncOpenAI() as async_openai, AsyncAnthropic() as async_anthropic:
        with by("async chat"):
            await async_openai.chat.completions.create(**chat)
        with by("async stream"):
            chunks = await async_openai.chat.completions.create(**chat, stream=True)
        assert [chunk async for chunk in chunks]
        with by("async helper"):
            async with async_anthropic.messages.stream(**message) as async_helper:
                assert await async_helper.get_final_text()
    tokenledger.flush(SECONDS)
    query = "SELECT user_id, feature FROM token_ledger_events ORDER BY timestamp"
    assert ask(database_url, query) == [
        ("ada", "chat"),
        ("ada", "chat stream"),
        ("ada", "message"),
        ("ada", "helper"),
        ("ada", "async chat"),
        ("ada", "async stream"),
        ("ada", "async helper"),
    ]
    assert len(sdks.requests) == 7


def test_health_flush_and_shutdown_report_their_results(
    sdks: DemoProvider, database_url: str
) -> None:
    tokenledger.init(database_url=database_url)
    ask_openai(sdks)
    ask_openai(sdks)
    assert tokenledger.flush(SECONDS) == 2
    assert tokenledger.flush(SECONDS) == 0
    health = tokenledger.health()
    ledger = health.pop("ledger")
    assert health == {
        "configured": True,
        "enabled": True,
        "instrumented": ["openai", "anthropic"],
        "failures": {},
    }
    assert isinstance(ledger, dict)
    assert {name: ledger[name] for name in ("waiting", "committed", "lost", "last_error")} == {
        "waiting": 0,
        "committed": 2,
        "lost": 0,
        "last_error": None,
    }
    assert "@" not in ledger["database"]
    tokenledger.shutdown()
    tokenledger.shutdown()
    ask_openai(sdks)
    assert tokenledger.flush() == 0
    assert tokenledger.health()["configured"] is False
    assert ask(database_url, COUNT) == [(2,)]


def test_shutdown_writes_what_waits(sdks: DemoProvider, database_url: str) -> None:
    tokenledger.init(database_url=database_url, flush_interval_seconds=600.0)
    ask_openai(sdks)
    tokenledger.shutdown(SECONDS)
    assert ask(database_url, "SELECT cost_usd FROM token_ledger_events") == [(COST,)]
