"""From an ended span to a committed row: options, outages, kills and forks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from support.ledger_rows import ask, chat_attributes
from support.ledgers import DOWN, call, eventually, opened
from tokenledger_exporter import LedgerSpanExporter
from tokenledger_exporter.maintenance.install import migrate
from tokenledger_exporter.recorder.ledger import PostgresLedger, install
from tokenledger_semconv.settings import SettingsError, read_settings

if TYPE_CHECKING:
    from pathlib import Path

COST = Decimal("2.5") * 1_000 / 1_000_000 + Decimal(10) * 100 / 1_000_000
CHILD = """
import os, sys
from support.ledgers import call
from tokenledger_exporter.recorder.ledger import PostgresLedger
from tokenledger_semconv.settings import read_settings
ledger = PostgresLedger(read_settings({"flush_interval_seconds": 60.0}))
for _ in range(10):
    call(ledger)
os.kill(os.getpid(), 9)
"""


def test_a_span_becomes_a_priced_row(database_url: str) -> None:
    with opened(database_url, app_name="shop", environment="test") as ledger:
        call(ledger, user__id="u1")
        assert ledger.flush(timeout=10.0) == 1
    columns = "cost_usd, cost_status, user_id, app_name, environment, price_id <> ''"
    found = ask(database_url, f"SELECT {columns} FROM token_ledger_events")
    assert found == [(COST, "priced", "u1", "shop", "test", True)]


def test_batch_size_bounds_the_rows_of_a_commit(database_url: str) -> None:
    with opened(database_url, batch_size=7, flush_interval_seconds=60.0) as ledger:
        for _ in range(25):
            call(ledger)
        ledger.flush(timeout=10.0)
    commits = "SELECT count(*) FROM token_ledger_events GROUP BY xmin::text ORDER BY 1"
    sizes = [size for (size,) in ask(database_url, commits)]
    assert sum(sizes) == 25
    assert max(sizes) <= 7


def test_a_full_batch_is_written_without_waiting_for_the_interval(database_url: str) -> None:
    with opened(database_url, batch_size=5, flush_interval_seconds=600.0) as ledger:
        for _ in range(5):
            call(ledger)
        assert eventually(lambda: ledger.health()["committed"] == 5)


def test_the_flush_interval_bounds_a_rows_age(database_url: str) -> None:
    with opened(database_url, flush_interval_seconds=0.2) as ledger:
        call(ledger)
        assert eventually(lambda: ledger.health()["committed"] == 1)


def test_async_mode_off_returns_after_commit(database_url: str) -> None:
    with opened(database_url, async_mode=False, flush_interval_seconds=600.0) as ledger:
        call(ledger)
        assert ask(database_url, "SELECT count(*) FROM token_ledger_events") == [(1,)]


def test_async_mode_off_returns_after_the_spool_write_when_the_database_is_away() -> None:
    with opened(DOWN, async_mode=False) as ledger:
        begun = time.monotonic()
        for _ in range(20):
            call(ledger)
        assert time.monotonic() - begun < 5
        assert ledger.waiting == 20


def test_debug_prints_one_line_a_call(database_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    with opened(database_url, debug=True) as ledger:
        call(ledger, user__id="u1", tokenledger__feature="chat")
        call(ledger, gen_ai__request__model="acme-support-7b")
        ledger.flush(timeout=10.0)
    lines = re.sub(r"\d+ ms", "0 ms", capfd.readouterr().err).splitlines()
    assert lines == [
        "tokenledger: gpt-4o: 1000 in, 100 out, $0.0035, 0 ms, user=u1 feature=chat",
        (
            "tokenledger: acme-support-7b: 1000 in, 100 out, unpriced "
            "(no price for acme-support-7b at openai), 0 ms, user=- feature=-"
        ),
    ]


def test_debug_says_the_cost_once_even_while_the_database_is_away(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with opened(DOWN, debug=True) as ledger:
        call(ledger)
        ledger.flush(timeout=10.0)
        ledger.flush(timeout=10.0)
    lines = [
        line for line in capfd.readouterr().err.splitlines() if line.startswith("tokenledger: ")
    ]
    assert len(lines) == 1
    assert "$0.0035" in lines[0]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("down", "connection refused"),
        ("malformed", "malformed"),
        pytest.param("empty", "tables are missing", marks=pytest.mark.integration),
    ],
)
def test_an_outage_is_one_clear_line_and_the_rows_wait(
    fault: str,
    said: str,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = {"down": DOWN, "malformed": "canaryuser:canarypass"}.get(fault)
    with opened(url or request.getfixturevalue("empty_database_url")) as ledger:
        for _ in range(3):
            call(ledger)
            assert ledger.flush(timeout=10.0) == 0
        assert ledger.waiting == 3
    [line] = [entry.getMessage() for entry in caplog.records]
    assert said in line
    assert "canary" not in caplog.text


def test_rows_that_waited_are_written_when_the_ledger_is_there(empty_database_url: str) -> None:
    with opened(empty_database_url) as ledger:
        call(ledger)
        assert ledger.flush(timeout=10.0) == 0
        migrate(empty_database_url)
        # The drainer may have come back by itself meanwhile: what counts is that the row is there.
        ledger.flush(timeout=10.0)
        assert ledger.health()["committed"] == 1
        assert ledger.waiting == 0


def test_what_a_closed_ledger_left_is_written_by_the_next(
    database_url: str, empty_database_url: str
) -> None:
    with opened(empty_database_url) as ledger:
        call(ledger)
    migrate(empty_database_url)
    with opened(empty_database_url) as ledger:
        assert ledger.flush(timeout=10.0) == 1
    with opened(database_url) as other:
        assert other.flush(timeout=10.0) == 0


def test_a_process_killed_right_after_its_calls_loses_nothing(database_url: str) -> None:
    environment = {
        **os.environ,
        "TOKENLEDGER_DATABASE_URL": database_url,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    killed = subprocess.run([sys.executable, "-c", CHILD], env=environment, check=False)
    assert killed.returncode == -9
    with opened(database_url) as heir:
        heir.flush(timeout=10.0)
    found = ask(database_url, "SELECT count(*), sum(cost_usd) FROM token_ledger_events")
    assert found == [(10, 10 * COST)]


def test_a_forked_child_and_its_parent_each_write_their_own_calls(database_url: str) -> None:
    with opened(database_url) as ledger:
        call(ledger, user__id="parent")
        ledger.flush(timeout=10.0)
        child = os.fork()
        if not child:
            call(ledger, user__id="child")
            os._exit(0 if ledger.flush(timeout=10.0) == 1 else 1)
        assert os.waitpid(child, 0)[1] == 0
        call(ledger, user__id="parent")
        assert ledger.flush(timeout=10.0) == 1
    users = "SELECT user_id, count(*) FROM token_ledger_events GROUP BY 1 ORDER BY 1"
    assert ask(database_url, users) == [("child", 1), ("parent", 2)]


def test_the_sdks_own_span_below_ours_is_not_a_second_row(database_url: str) -> None:
    """Anthropic 1.14 and later trace themselves; their span is a child of our instrumentor's."""
    exported = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    with opened(database_url) as ledger:
        ledger.attach(provider)
        ours, theirs = (
            provider.get_tracer(scope) for scope in ("tokenledger.x", "com.anthropic.sdk.python")
        )
        call_attributes: dict[str, Any] = dict(chat_attributes())
        with (
            ours.start_as_current_span("chat", attributes=call_attributes),
            theirs.start_as_current_span("messages", attributes=call_attributes),
        ):
            pass
        with theirs.start_as_current_span("messages", attributes=call_attributes):
            pass
        ledger.flush(timeout=10.0)
    scopes = "SELECT scope FROM token_ledger_events ORDER BY 1"
    assert ask(database_url, scopes) == [("com.anthropic.sdk.python",), ("tokenledger.x",)]
    assert len(exported.get_finished_spans()) == 3


def test_a_call_reported_by_a_framework_by_us_and_by_an_sdk_is_one_settled_row(
    database_url: str,
) -> None:
    """No response id tells them apart here: what counts is which span is within which."""
    provider = TracerProvider()
    http, framework, ours, vendor, sdk = (
        provider.get_tracer(scope)
        for scope in (
            *("an.http.client", "a.framework", "tokenledger.x", "a.vendor"),
            "com.anthropic.sdk.python",
        )
    )
    call_attributes: dict[str, Any] = dict(chat_attributes())
    with opened(database_url) as ledger:
        ledger.attach(provider)
        with (
            framework.start_as_current_span("run", attributes={"gen_ai.operation.name": "chat"}),
            framework.start_as_current_span(
                "chat", attributes={**call_attributes, "user.id": "u1"}
            ),
            http.start_as_current_span("a step between"),
            ours.start_as_current_span("chat", attributes=call_attributes),
            vendor.start_as_current_span("chat", attributes=call_attributes),
            sdk.start_as_current_span("chat", attributes=call_attributes),
        ):
            pass
        ledger.flush(timeout=10.0)
    # The outermost span counts nothing and names no model: whose call it is, is unknown.
    question = (
        "SELECT scope, user_id, settled FROM token_ledger_events WHERE cost_status = 'priced'"
    )
    assert ask(database_url, question) == [("tokenledger.x", "u1", True)]
    assert ask(database_url, "SELECT event ->> 'scope' FROM token_ledger_duplicates") == [
        ("a.framework",)
    ]


def test_nothing_but_the_contracts_attributes_reaches_the_spool(tmp_path: Path) -> None:
    with opened(DOWN, spool_dir=str(tmp_path)) as ledger:
        call(ledger, gen_ai__input__messages="canaryprompt", http__url="https://canary/key")
        content = b"".join(path.read_bytes() for path in ledger.folder.iterdir())
    assert b"gpt-4o" in content
    assert b"canary" not in content


def test_installing_another_ledger_moves_every_provider_over(
    database_url: str, empty_database_url: str
) -> None:
    provider = TracerProvider()
    install(provider, read_settings({"database_url": empty_database_url}))
    ledger = install(provider, read_settings({"database_url": database_url}))
    call_attributes: dict[str, Any] = dict(chat_attributes())
    provider.get_tracer("tokenledger.x").start_span("chat", attributes=call_attributes).end()
    assert ledger.flush(timeout=10.0) == 1
    assert install(provider, read_settings({"database_url": database_url})) is ledger
    ledger.shutdown(timeout=5.0)


def test_the_exporter_writes_and_keeps_quiet_where_the_processor_feeds_the_ledger(
    database_url: str,
) -> None:
    call_attributes: dict[str, Any] = dict(chat_attributes())
    exporter = LedgerSpanExporter(database_url=database_url)
    plain = TracerProvider()
    plain.add_span_processor(SimpleSpanProcessor(exporter))
    plain.get_tracer("any").start_span("chat", attributes=call_attributes).end()
    assert exporter.force_flush()
    assert ask(database_url, "SELECT count(*) FROM token_ledger_events") == [(1,)]
    fed = TracerProvider()
    quiet = LedgerSpanExporter(database_url=database_url)
    fed.add_span_processor(SimpleSpanProcessor(quiet))
    ledger = install(fed, read_settings({"database_url": database_url}))
    fed.get_tracer("any").start_span("chat", attributes=call_attributes).end()
    assert quiet.force_flush()
    assert ledger.flush(timeout=10.0) == 1
    ledger.shutdown(timeout=5.0)
    plain.shutdown()
    assert ask(database_url, "SELECT count(*) FROM token_ledger_events") == [(2,)]


def test_the_exporter_writes_to_its_own_ledger(database_url: str, migrated_copy: str) -> None:
    provider = TracerProvider()
    exporter = LedgerSpanExporter(database_url=migrated_copy)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    ledger = install(provider, read_settings({"database_url": database_url}))
    call_attributes: dict[str, Any] = dict(chat_attributes())
    provider.get_tracer("any").start_span("chat", attributes=call_attributes).end()
    assert exporter.force_flush()
    ledger.flush(timeout=10.0)
    ledger.shutdown(timeout=5.0)
    exporter.shutdown()
    for url in (database_url, migrated_copy):
        assert ask(url, "SELECT count(*) FROM token_ledger_events") == [(1,)]


def test_the_exporter_alone_records_a_call_of_two_instrumentations_once(
    database_url: str,
) -> None:
    exporter = LedgerSpanExporter(database_url=database_url)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    ours, theirs, app = (
        provider.get_tracer(scope) for scope in ("tokenledger.x", "com.anthropic.sdk.python", "app")
    )
    call_attributes: dict[str, Any] = dict(chat_attributes())
    with (
        ours.start_as_current_span("chat", attributes=call_attributes),
        theirs.start_as_current_span("messages", attributes=call_attributes),
    ):
        pass
    with (
        app.start_as_current_span("request"),
        theirs.start_as_current_span("messages", attributes=call_attributes),
    ):
        pass
    assert exporter.force_flush()
    exporter.shutdown()
    scopes = "SELECT scope FROM token_ledger_events ORDER BY 1"
    assert ask(database_url, scopes) == [("com.anthropic.sdk.python",), ("tokenledger.x",)]


def test_a_ledger_without_a_database_url_says_what_to_set() -> None:
    with pytest.raises(SettingsError, match="TOKENLEDGER_DATABASE_URL"):
        PostgresLedger(read_settings())


def test_ids_are_random_even_if_the_app_seeds_random() -> None:
    import random  # noqa: PLC0415 - only this test seeds it

    ids: list[int] = []
    for _ in range(2):
        random.seed(42)
        with opened(DOWN) as ledger:
            span = ledger.tracer_provider.get_tracer("x").start_span("chat")
            ids.append(span.get_span_context().trace_id)
    assert ids[0] != ids[1]
