"""Zero-code start: when it starts, with which settings, and that it never harms the app."""

from __future__ import annotations

import logging
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

from tokenledger import _state, environment_variables
from tokenledger._zero_code import before_instrumentors, is_requested
from tokenledger_semconv.settings import ALIASES, OPTIONS, environment_variable, launcher_variable

if TYPE_CHECKING:
    from support.ledger_in_memory import LedgerInMemory


@pytest.mark.parametrize(
    ("environ", "acts"),
    [
        ({}, False),
        ({"DATABASE_URL": "postgresql://h/d"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp,console"}, False),
        ({"OTEL_TRACES_EXPORTER": "tokenledger"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp, tokenledger"}, True),
        ({"TOKENLEDGER_DATABASE_URL": "postgresql://h/d"}, True),
        ({"OTEL_PYTHON_TOKENLEDGER_DATABASE_URL": "postgresql://h/d"}, True),
        ({"TOKENLEDGER_DATABASE_URL": ""}, False),
        ({"TOKENLEDGER_APP_NAME": "shop"}, False),
    ],
    ids=str,
)
def test_it_starts_if_the_exporter_or_the_database_is_named(
    environ: dict[str, str], *, acts: bool
) -> None:
    assert is_requested(environ) is acts


def test_zero_code_start_calls_configure(
    ledgers: list[LedgerInMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "tokenledger")
    monkeypatch.setenv("TOKENLEDGER_BATCH_SIZE", "9")
    monkeypatch.setenv("OTEL_PYTHON_TOKENLEDGER_APP_NAME", "shop")
    before_instrumentors()
    assert ledgers[0].settings.batch_size == 9
    assert ledgers[0].settings.app_name == "shop"


def test_without_exporter_or_database_nothing_opens(ledgers: list[LedgerInMemory]) -> None:
    before_instrumentors()
    assert not ledgers


def test_an_invalid_option_is_one_log_line_and_not_an_error(
    ledgers: list[LedgerInMemory],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", "postgresql://u:canary-password@h/d")
    monkeypatch.setenv("TOKENLEDGER_BATCH_SIZE", "many")
    with caplog.at_level(logging.WARNING, "tokenledger"):
        before_instrumentors()
    assert not ledgers
    assert len(caplog.records) == 1
    assert "TOKENLEDGER_BATCH_SIZE must be a whole number" in caplog.text
    assert "canary" not in caplog.text


def test_any_other_failure_is_one_log_line_and_not_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_args: object) -> None:
        raise OSError("canary-password")

    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "tokenledger")
    monkeypatch.setattr(_state.RUNTIME, "start", broken)
    with caplog.at_level(logging.WARNING, "tokenledger"):
        before_instrumentors()
    assert len(caplog.records) == 1
    assert "OSError" in caplog.text
    assert "canary" not in caplog.text


def test_every_option_has_its_launcher_flag_and_no_other_exists() -> None:
    flags = {
        name: value
        for name, value in vars(environment_variables).items()
        if name.startswith("OTEL_")
    }
    assert all(name == value for name, value in flags.items())
    assert list(flags) == [launcher_variable(option) for option in (*OPTIONS, *ALIASES)]
    names = [environment_variable(option) for option in (*OPTIONS, *ALIASES)]
    assert [name.replace("OTEL_PYTHON_", "") for name in flags] == names


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("opentelemetry_pre_instrument", "tokenledger"),
        ("opentelemetry_instrumentor", "tokenledger_openai"),
        ("opentelemetry_instrumentor", "tokenledger_anthropic"),
        ("opentelemetry_environment_variables", "tokenledger"),
    ],
    ids=str,
)
def test_opentelemetry_finds_the_entry_points(group: str, name: str) -> None:
    registered = entry_points(group=group, name=name)
    assert len(registered) == 1
    assert next(iter(registered)).load()
