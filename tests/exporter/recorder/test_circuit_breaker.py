"""A database that fails is tried again after growing pauses, and then left in peace for a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

import tokenledger
from support.ledger_rows import ask
from support.ledgers import DOWN, call, eventually, opened
from tokenledger_exporter.db import answer_timeout
from tokenledger_exporter.maintenance.install import migrate
from tokenledger_exporter.recorder.circuit_breaker import CLOSED, HALF_OPEN, OPEN, CircuitBreaker
from tokenledger_exporter.recorder.ledger import install
from tokenledger_semconv import metrics as names
from tokenledger_semconv.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

QUICK = {"retry_backoff_base": 0.01, "retry_backoff_max": 0.01, "batch_size": 1}


def test_pauses_double_up_to_the_longest_and_then_the_circuit_opens() -> None:
    options = {
        "retry_backoff_base": 1.0,
        "retry_backoff_max": 3.0,
        "circuit_breaker_timeout": 100.0,
    }
    breaker = CircuitBreaker(read_settings(options, {}))
    pauses: list[float] = []
    for _ in range(6):
        breaker.note_failure()
        pauses.append(breaker.pause_seconds)
    # Each pause is shortened by up to a third, so that workers do not return together.
    for pause, most in zip(pauses, (1.0, 2.0, 3.0, 3.0, 100.0, 100.0), strict=True):
        assert 0.7 * most <= pause <= most
    assert breaker.state == OPEN


def test_an_open_circuit_is_half_open_while_it_is_tried_and_closed_by_a_success() -> None:
    breaker = CircuitBreaker(read_settings({"circuit_breaker_threshold": 1}, {}))
    assert breaker.state == CLOSED
    breaker.note_failure()
    breaker.is_attempting = True
    assert breaker.state == HALF_OPEN
    breaker.note_success()
    assert (breaker.state, breaker.pause_seconds) == (CLOSED, 0.0)


def test_a_dead_database_opens_the_circuit_and_the_call_waits() -> None:
    with opened(
        DOWN, circuit_breaker_threshold=2, circuit_breaker_timeout=600.0, **QUICK
    ) as ledger:
        call(ledger)
        assert eventually(lambda: ledger.health()["circuit"] == OPEN)
        health = ledger.health()
        assert (health["failed_attempts"], health["waiting"], health["lost"]) == (2, 1, 0)


def test_a_flush_tries_even_an_open_circuit_and_closes_it(empty_database_url: str) -> None:
    options = {**QUICK, "circuit_breaker_threshold": 1, "circuit_breaker_timeout": 600.0}
    with opened(empty_database_url, **options) as ledger:
        call(ledger)
        assert eventually(lambda: ledger.health()["circuit"] == OPEN)
        migrate(empty_database_url)
        assert ledger.flush(timeout=10.0) == 1
        assert ledger.health()["circuit"] == CLOSED


def test_a_silent_server_is_abandoned(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_timeout, "ANSWER_SECONDS", 0.3)
    with opened(database_url, **QUICK) as ledger:
        with psycopg.connect(database_url) as holder:
            holder.execute("LOCK TABLE token_ledger_events IN ACCESS EXCLUSIVE MODE")
            call(ledger)
            assert eventually(lambda: ledger.health()["failed_attempts"] != 0)
        ledger.flush(timeout=10.0)
    assert ask(database_url, "SELECT count(*) FROM token_ledger_events") == [(1,)]


def test_health_says_what_waits_since_when_and_where(database_url: str) -> None:
    with opened(DOWN) as ledger:
        call(ledger)
        ledger.flush(timeout=10.0)
        health = ledger.health()
        assert (health["waiting"], health["waiting_in_memory"]) == (1, 0)
        assert 0 < float(str(health["oldest_waiting_seconds"])) < 60
        assert int(str(health["spool_bytes"])) > 100
        assert health["circuit"] == CLOSED
    with opened(database_url) as ledger:
        call(ledger)
        ledger.flush(timeout=10.0)
        health = ledger.health()
        assert (health["waiting"], health["oldest_waiting_seconds"]) == (0, 0.0)


def test_the_apps_own_meter_provider_gets_the_same(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", provider)
    monkeypatch.setattr("tokenledger_exporter.installed.PROCESS.has_metrics", False)
    ledger = install(TracerProvider(), read_settings({"database_url": database_url}))
    call(ledger)
    ledger.flush(timeout=10.0)
    metrics = _metrics(reader)
    assert (metrics[names.COMMITTED], metrics[names.WAITING], metrics[names.LOST]) == (1, 0, 0)
    assert (metrics[names.CIRCUIT_OPEN], metrics[names.FAILURES]) == (0, 0)
    assert metrics[names.SPOOL_SIZE] > 0
    assert metrics[names.OLDEST_WAITING] == 0
    ledger.shutdown(timeout=5.0)
    provider.shutdown()


def _metrics(reader: InMemoryMetricReader) -> Mapping[str, float]:
    data = reader.get_metrics_data()
    assert data is not None
    [scope] = data.resource_metrics[0].scope_metrics
    return {
        metric.name: float(getattr(metric.data.data_points[0], "value"))  # noqa: B009 - of two classes
        for metric in scope.metrics
    }


def test_a_flush_from_an_event_loop_returns_the_rows(database_url: str) -> None:
    tokenledger.configure(database_url=database_url)
    try:
        tokenledger.track_cost(input_tokens=1, output_tokens=1, model="gpt-4o")
        assert asyncio.run(tokenledger.aflush(10.0)) == 1
    finally:
        tokenledger.shutdown()


@pytest.mark.parametrize("times", [2])
def test_a_ledger_can_be_shut_down_twice(database_url: str, times: int) -> None:
    with opened(database_url) as ledger:
        call(ledger)
        for _ in range(times):
            ledger.shutdown(timeout=5.0)
    assert ask(database_url, "SELECT count(*) FROM token_ledger_events") == [(1,)]
