"""Configuring, changing options, and shutting down."""

from __future__ import annotations

import inspect
import logging
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

import tokenledger
from support.sdk_calls import CHAT, MESSAGE, run
from tokenledger import _guard, _ledger, _state
from tokenledger_semconv.settings import (
    ALIASES,
    IGNORED_OPTIONS,
    OPTIONS,
    Settings,
    SettingsError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.ledger_in_memory import LedgerInMemory
    from support.sdk_calls import Clients
    from support.spans import AppTracing

_GIVEN: dict[str, Any] = {
    "database_url": "postgresql://u:canary-password@h/d",
    "embedded": True,
    "app_name": "shop",
    "environment": "test",
    "batch_size": 7,
    "flush_interval_seconds": 0.5,
    "async_mode": False,
    "sample_rate": 0.25,
    "default_metadata": {"team": "ml"},
    "agent_id": "a1",
    "tags": {"x": "y"},
    "enabled": True,
    "debug": True,
    "stream_usage": False,
    "provider_hosts": {"llm.example.com": "groq"},
    "spool_dir": "spool",
    "buffer_size": 50,
    "max_retries": 2,
    "retry_backoff_base": 0.1,
    "retry_backoff_max": 7.0,
    "circuit_breaker_threshold": 4,
    "circuit_breaker_timeout": 9.5,
}


def test_every_option_is_a_keyword_and_reaches_the_ledger(ledgers: list[LedgerInMemory]) -> None:
    options = (*OPTIONS, *ALIASES, *IGNORED_OPTIONS)
    assert tuple(inspect.signature(tokenledger.configure).parameters) == options
    assert _GIVEN.keys() == set(OPTIONS)
    tokenledger.configure(**_GIVEN)
    assert ledgers[0].settings == Settings(**_GIVEN)


def test_a_url_may_be_the_first_argument(ledgers: list[LedgerInMemory]) -> None:
    tokenledger.configure("postgresql://u@h/d")
    assert ledgers[0].settings.database_url == "postgresql://u@h/d"


@pytest.mark.parametrize("configure", [tokenledger.configure, tokenledger.init])
def test_an_option_without_effect_is_one_log_line(
    ledgers: list[LedgerInMemory], caplog: pytest.LogCaptureFixture, configure: Callable[..., None]
) -> None:
    for _ in range(2):
        configure(table_name="costs", pool_max_size=20)
    assert ledgers[0].settings == Settings()
    table, pool = caplog.messages
    assert "configure(table_name=) has no effect: the table is token_ledger_events" in table
    assert "configure(pool_max_size=) has no effect: a process writes over one" in pool


_NO_LEDGER = (
    "tokenledger: OpenAI is patched but no ledger is open: call tokenledger.configure() or init(). "
    "Until then its calls are not recorded"
)


def test_a_call_that_is_recorded_nowhere_says_so_once(
    clients: Clients, caplog: pytest.LogCaptureFixture, ledgers: list[LedgerInMemory]
) -> None:
    tokenledger.patch_openai()
    run(clients, CHAT)
    run(clients, CHAT)
    assert caplog.messages == [_NO_LEDGER]
    tokenledger.configure()
    run(clients, CHAT)
    assert len(ledgers[0].spans) == 1
    assert caplog.messages == [_NO_LEDGER]


@pytest.mark.usefixtures("app")
def test_without_a_ledger_the_apps_own_tracing_is_enough(
    clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    tokenledger.patch_openai()
    run(clients, CHAT)
    assert caplog.messages == []


def test_configure_leaves_the_global_provider_alone(
    app: AppTracing, ledgers: list[LedgerInMemory]
) -> None:
    sampler = app.provider.sampler
    tokenledger.init()
    assert trace.get_tracer_provider() is app.provider
    assert app.provider.sampler is sampler
    assert ledgers[0].attached == [app.provider]


def test_configuring_again_applies_new_options(
    ledgers: list[LedgerInMemory], clients: Clients
) -> None:
    tokenledger.init(default_metadata={"team": "one"})
    run(clients, CHAT)
    tokenledger.configure(default_metadata={"team": "two"})
    run(clients, CHAT)
    teams = [ledger.only()["tokenledger.team"] for ledger in ledgers]
    assert teams == ["one", "two"]


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 0}, {"sample_rate": 2.0}, {"flush_interval_seconds": 0.0}],
    ids=["batch", "rate", "interval"],
)
def test_an_invalid_option_is_an_error_at_configuration(
    ledgers: list[LedgerInMemory], options: dict[str, Any]
) -> None:
    with pytest.raises(SettingsError, match=next(iter(options))):
        tokenledger.configure(**options)
    assert not ledgers


def test_an_unknown_option_of_init_is_named(ledgers: list[LedgerInMemory]) -> None:
    with pytest.raises(SettingsError, match="colour"):
        tokenledger.init(colour="red")
    assert not ledgers


def test_disabled_it_opens_no_ledger_and_patches_no_sdk(
    ledgers: list[LedgerInMemory], clients: Clients
) -> None:
    bare = clients.openai.chat.completions.create
    tokenledger.init(enabled=False)
    tokenledger.patch_openai()
    assert type(clients.openai.chat.completions.create) is type(bare)
    run(clients, CHAT)
    tokenledger.track_cost(1, 1, "gpt-4o")
    assert not ledgers
    assert tokenledger.health()["enabled"] is False
    assert tokenledger.health()["instrumented"] == []


def test_disabled_later_stops_recording(
    app: AppTracing, ledgers: list[LedgerInMemory], clients: Clients
) -> None:
    tokenledger.init()
    tokenledger.configure(enabled=False)
    run(clients, MESSAGE)
    assert ledgers[0].shutdowns == 1
    assert not app.spans
    tokenledger.init()
    run(clients, MESSAGE)
    assert len(ledgers[1].spans) == 1


def test_opentelemetrys_own_switch_turns_the_ledger_off(
    ledgers: list[LedgerInMemory],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "True")
    tokenledger.init()
    assert not ledgers
    assert "OTEL_SDK_DISABLED" in caplog.text


def test_a_ledger_that_cannot_be_opened_is_one_log_line_without_the_url(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, clients: Clients
) -> None:
    def install(*_args: object) -> None:
        raise OSError("could not reach postgresql://u:canary-password@h/d")

    monkeypatch.setattr(_state, "find_install", lambda: install)
    with caplog.at_level(logging.WARNING, "tokenledger"):
        tokenledger.init(database_url="postgresql://u:canary-password@h/d")
    assert run(clients, CHAT)
    assert len(caplog.records) == 1
    assert "OSError" in caplog.text
    assert "canary" not in caplog.text


def test_an_option_that_must_be_text_is_named_in_one_log_line(
    caplog: pytest.LogCaptureFixture, clients: Clients
) -> None:
    with caplog.at_level(logging.WARNING, "tokenledger"):
        tokenledger.configure(database_url=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert run(clients, CHAT)
    assert caplog.messages == [
        "tokenledger: database_url must be text, not int: calls are not recorded"
    ]


def test_options_that_a_ledger_rejects_are_an_error_at_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def install(*_args: object) -> None:
        raise SettingsError("no database URL")

    monkeypatch.setattr(_state, "find_install", lambda: install)
    with pytest.raises(SettingsError, match="no database URL"):
        tokenledger.configure()


def test_a_missing_exporter_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(**_names: object) -> tuple[()]:
        return ()

    monkeypatch.setattr("importlib.metadata.entry_points", nothing)
    with pytest.raises(_ledger.LedgerNotFoundError, match="tokenledger_ledger:postgres"):
        _ledger.find_install()


def test_calls_without_configuration_are_safe(clients: Clients) -> None:
    assert tokenledger.flush() == 0
    tokenledger.shutdown()
    tokenledger.shutdown()
    tokenledger.patch_openai()
    assert run(clients, CHAT)
    tokenledger.track_cost(1, 1, "gpt-4o")
    assert tokenledger.health()["configured"] is False
    assert tokenledger.health()["failures"] == {"a call reported before init()": 1}
    _guard.reset()


def test_flush_and_health_ask_the_ledger(ledger: LedgerInMemory, clients: Clients) -> None:
    run(clients, CHAT)
    assert tokenledger.flush() == 1
    assert tokenledger.health() == {
        "configured": True,
        "enabled": True,
        "instrumented": ["openai", "anthropic"],
        "failures": {},
        "ledger": {"waiting": 0},
    }
    assert len(ledger.spans) == 1


def test_shutdown_closes_the_ledger_once_and_calls_go_on(
    ledger: LedgerInMemory, clients: Clients
) -> None:
    tokenledger.shutdown()
    tokenledger.shutdown()
    assert ledger.shutdowns == 1
    assert run(clients, CHAT)
    assert not ledger.spans


def test_a_ledger_that_fails_never_raises_in_the_app(
    ledger: LedgerInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object) -> None:
        raise RuntimeError

    for name in ("flush", "health", "shutdown"):
        monkeypatch.setattr(ledger, name, broken)
    assert tokenledger.flush() == 0
    assert tokenledger.health()["ledger"] == {}
    tokenledger.shutdown()
    assert len(_guard.counts()) == 3
    _guard.reset()


def test_importing_loads_no_driver_no_sdk_and_no_model_library() -> None:
    program = """
import sys, tokenledger
heavy = {"psycopg", "pydantic", "openai", "anthropic", "msgspec", "genai_prices", "click",
         "opentelemetry.sdk", "tokenledger_exporter", "asyncio", "httpx", "httpx2"}
print(sorted(heavy & set(sys.modules)))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


def test_the_public_names_are_few_sorted_and_callable() -> None:
    assert len(tokenledger.__all__) <= 20
    assert list(tokenledger.__all__) == sorted(tokenledger.__all__)
    assert all(callable(getattr(tokenledger, name)) for name in tokenledger.__all__)


def test_the_package_has_a_version_and_lists_only_its_public_names() -> None:
    assert tokenledger.__version__ == version("tokenledger-otel")
    shown = [name for name in dir(tokenledger) if not name.startswith("__")]
    assert shown == list(tokenledger.__all__)
