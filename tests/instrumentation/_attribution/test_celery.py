"""A Celery task's calls get the producer's attribution if the worker trusts the producer."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

import pytest

from support.spans import attributes_of
from tokenledger import attribution, track_cost
from tokenledger_semconv.attributes import FEATURE, TEAM, USER_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ledger_in_memory import LedgerInMemory

Celery = Any
"""Celery brings no types of its own."""

_WAIT_SECONDS = 20


def _ask() -> None:
    with attribution(feature="task"):
        track_cost(1, 1, "gpt-4o")


@pytest.fixture(scope="module", name="task")
def _task() -> Iterator[Celery]:
    """A task of a real worker, whose broker is this process's memory."""
    root = logging.getLogger()
    level = root.level
    celery: Celery = importlib.import_module("celery")
    worker: Celery = importlib.import_module("celery.contrib.testing.worker")
    app = celery.Celery("tests", broker="memory://", backend="cache+memory://")
    app.conf.update(
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=False,
        broker_transport_options={"polling_interval": 0.02},
    )

    task = app.task(name="ask")(_ask)
    with worker.start_worker(app, pool="solo", perform_ping_check=False, loglevel="ERROR"):
        yield task
    # A worker configures the logging of the whole process.
    root.setLevel(level)


@pytest.fixture
def carried() -> Iterator[None]:
    """OpenTelemetry's instrumentor of Celery, which `opentelemetry-instrument` switches on."""
    module: Celery = importlib.import_module("opentelemetry.instrumentation.celery")
    instrumentor = module.CeleryInstrumentor()
    instrumentor.instrument()
    yield
    instrumentor.uninstrument()


def _run(task: Celery) -> None:
    task.delay().get(timeout=_WAIT_SECONDS)


@pytest.mark.usefixtures("carried")
def test_an_untrusted_producer_attributes_nothing(ledger: LedgerInMemory, task: Celery) -> None:
    with attribution(user_id="u1", team="ml"):
        _run(task)
    said = ledger.only()
    assert not {USER_ID, TEAM} & said.keys()
    assert said[FEATURE] == "task"


@pytest.mark.usefixtures("carried")
def test_a_trusted_producer_attributes_a_task(
    ledger: LedgerInMemory, task: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_TRUST_BAGGAGE", "user_id")
    for user in ("u1", "u2"):
        with attribution(user_id=user, team="ml"):
            _run(task)
    _run(task)
    rows = [attributes_of(span) for span in ledger.spans]
    assert [row.get(USER_ID) for row in rows] == ["u1", "u2", None]
    assert not [row for row in rows if TEAM in row]


def test_without_the_instrumentor_a_task_is_not_attributed(
    ledger: LedgerInMemory, task: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_TRUST_BAGGAGE", "*")
    with attribution(user_id="u1"):
        _run(task)
    assert USER_ID not in ledger.only()
