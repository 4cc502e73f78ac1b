"""Batches reach the ledger exactly once, despite other writers, and a bad row costs only itself."""

from __future__ import annotations

import subprocess
import sys
import traceback
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from msgspec.structs import replace
from psycopg.conninfo import make_conninfo

from support.ledger_rows import ask, chat_attributes, row
from tokenledger_exporter.errors import DatabaseUnreachableError, SchemaError
from tokenledger_exporter.store.batch import WriteResult
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv import attributes
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from collections.abc import Generator

    from tokenledger_exporter.domain.ledger_row import LedgerRow

REPLAY = """
import pickle, sys
from tokenledger_exporter.store.writer import BatchWriter
rows = pickle.load(sys.stdin.buffer)
if sys.argv[2] == "backwards":
    rows.reverse()
writer = BatchWriter(sys.argv[1])
for _ in range(5):
    writer.write(rows)
"""


@pytest.fixture
def writer(database_url: str) -> Generator[BatchWriter]:
    made = BatchWriter(database_url)
    yield made
    made.close()


def test_a_batch_sent_twice_changes_nothing_the_second_time(
    database_url: str, writer: BatchWriter
) -> None:
    rows = [row() for _ in range(50)]
    assert writer.write(rows) == WriteResult(stored=50)
    before = ask(database_url, "SELECT * FROM token_ledger_events ORDER BY event_id")
    assert writer.write(rows) == WriteResult(resent=50)
    assert ask(database_url, "SELECT * FROM token_ledger_events ORDER BY event_id") == before


def test_a_partly_stored_batch_stores_the_rest(writer: BatchWriter) -> None:
    rows = [row() for _ in range(20)]
    writer.write(rows[:10])
    assert writer.write(rows) == WriteResult(stored=10, resent=10)


def test_processes_that_replay_the_same_batch_at_once_store_it_once(database_url: str) -> None:
    import pickle  # noqa: PLC0415 - only to hand this test's own rows to its own children

    rows = [row() for _ in range(300)]
    children = [
        subprocess.Popen([sys.executable, "-c", REPLAY, database_url, order], stdin=subprocess.PIPE)
        for order in ("forwards", "backwards", "forwards")
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(pickle.dumps(rows))
        child.stdin.close()
    assert [child.wait(60) for child in children] == [0, 0, 0]
    found = ask(database_url, "SELECT count(*), sum(cost_usd) FROM token_ledger_events")
    assert found == [(300, 300 * Decimal("0.0035"))]
    assert ask(database_url, "SELECT count(*) FROM token_ledger_conflicts") == [(0,)]


def test_the_same_key_with_other_usage_is_kept_as_a_conflict(
    database_url: str, writer: BatchWriter
) -> None:
    first = row()
    other = replace(first, usage_hash=b"other", cost_usd=Decimal(9))
    assert writer.write([first]) == WriteResult(stored=1)
    assert writer.write([other]) == WriteResult(conflicting=1)
    assert writer.write([other]) == WriteResult(conflicting=1)
    assert ask(database_url, "SELECT cost_usd FROM token_ledger_events") == [(first.cost_usd,)]
    kept = ask(database_url, "SELECT event ->> 'cost_usd' FROM token_ledger_conflicts")
    assert kept == [("9",)]


def test_a_conflict_within_one_batch_is_kept_too(writer: BatchWriter) -> None:
    first = row()
    other = replace(first, usage_hash=b"other")
    written = writer.write([first, other, first])
    assert written == WriteResult(stored=1, resent=1, conflicting=1)


def test_only_the_rejected_row_is_quarantined(database_url: str, writer: BatchWriter) -> None:
    rows = [row() for _ in range(999)]
    poison = replace(row(), event_id=uuid4(), total_tokens=-1)
    written = writer.write([*rows[:500], poison, *rows[500:]])
    assert written == WriteResult(stored=999, rejected=1)
    [(reason,)] = ask(database_url, "SELECT reason FROM token_ledger_rejected")
    assert "tokens_are_not_negative" in reason


@pytest.mark.parametrize(
    "offset", [timedelta(days=2), timedelta(days=-365 * 40)], ids=["far ahead", "1986"]
)
def test_a_row_with_an_impossible_time_is_quarantined(
    writer: BatchWriter, offset: timedelta
) -> None:
    moved = replace(row(), timestamp=datetime.now(timezone.utc) + offset)
    assert writer.write([moved, row()]) == WriteResult(stored=1, rejected=1)


def test_a_row_of_a_month_without_a_partition_makes_it(
    database_url: str, writer: BatchWriter
) -> None:
    old = replace(row(), timestamp=datetime(2024, 2, 29, 23, 59, 59, tzinfo=timezone.utc))
    assert writer.write([old, row()]) == WriteResult(stored=2)
    assert ask(database_url, "SELECT count(*) FROM token_ledger_events_2024_02") == [(1,)]


def test_a_dropped_month_does_not_block_an_insert_only_writer(
    database_url: str,
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP ROLE IF EXISTS only_writer")
        connection.execute("CREATE ROLE only_writer LOGIN PASSWORD 'pw'")
        connection.execute("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO only_writer")
    limited = BatchWriter(
        database_url.replace("postgres:", "only_writer:").replace(
            database_url.split(":")[2].split("@", maxsplit=1)[0], "pw"
        )
    )
    old = replace(row(), timestamp=datetime(2020, 1, 5, tzinfo=timezone.utc))
    assert limited.write([old, row()]) == WriteResult(stored=1, rejected=1)
    limited.close()
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP OWNED BY only_writer")
        connection.execute("DROP ROLE only_writer")
    [(reason,)] = ask(database_url, "SELECT reason FROM token_ledger_rejected")
    assert reason == "there is no partition for 2020-01"


def test_a_connection_that_broke_is_opened_again(database_url: str, writer: BatchWriter) -> None:
    writer.write([row()])
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    ask(database_url, kill + " AND datname = current_database()")
    rows = [row()]
    with pytest.raises(DatabaseUnreachableError):
        writer.write(rows)
    assert writer.write(rows) == WriteResult(stored=1)


def test_missing_tables_are_named_with_their_remedy(empty_database_url: str) -> None:
    with pytest.raises(SchemaError, match="run 'tokenledger db migrate'"):
        BatchWriter(empty_database_url).write([row()])


def test_a_newer_schema_is_left_alone(database_url: str, writer: BatchWriter) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO token_ledger_migrations VALUES ('9999_x', 'y')")
    with pytest.raises(SchemaError, match=r"newer than this release.*upgrade the tokenledger-otel"):
        writer.write([row()])


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://canaryuser:canarypass@127.0.0.1:1/ledger?sslmode=disable",
        "postgresql://canaryuser:canarypass@[bad/ledger",
        "canaryuser canarypass",
    ],
    ids=["refused", "malformed address", "no URL at all"],
)
def test_no_secret_of_the_connection_string_reaches_a_traceback(url: str) -> None:
    with pytest.raises(DatabaseUnreachableError) as caught:
        BatchWriter(url).write([row()])
    trace = "".join(traceback.format_exception(caught.value))
    assert "canary" not in trace


def test_every_kind_of_value_survives_the_binary_copy(
    database_url: str, writer: BatchWriter
) -> None:
    call_attributes = chat_attributes(
        user__id="üñí \U0001f600",
        tokenledger__usage='{"prompt_tokens": 1000}',
        tokenledger__metadata__quote='it\'s "x"',
        gen_ai__response__time_to_first_chunk=0.25,
    )
    made = row(call_attributes)
    writer.write([made])
    [found] = ask(
        database_url,
        "SELECT event_id, timestamp, user_id, usage, metadata, time_to_first_token_ms, cost_usd, "
        "cached_tokens, settled FROM token_ledger_events",
    )
    assert found == (
        made.event_id,
        made.timestamp,
        "üñí \U0001f600",
        {"prompt_tokens": 1_000},
        {"quote": 'it\'s "x"'},
        250.0,
        Decimal("0.0035"),
        None,
        True,
    )


def test_prices_are_read_from_the_ledger(database_url: str, writer: BatchWriter) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM token_ledger_prices WHERE model = 'gpt-4o'")
        connection.execute("UPDATE token_ledger_prices SET usd = 7 WHERE model = 'gpt-4.1'")
    book = writer.prices_of("openai")
    now = datetime.now(timezone.utc)
    tokens = TokenVector(input_tokens=1_000_000)
    assert book.cost("openai", "gpt-4o", now, "", tokens) is None
    cost = book.cost("openai", "gpt-4.1", now, "", tokens)
    assert cost is not None
    assert cost.total_usd == 7


def _report(call_id: str, *, measured: bool, **further: str) -> LedgerRow:
    counts: dict[str, str] = (
        {} if measured else {attributes.INPUT_TOKENS: "", attributes.OUTPUT_TOKENS: ""}
    )
    given = {key.replace("__", "."): value for key, value in further.items()}
    identity: dict[str, str | int] = {
        attributes.CALL_ID: call_id,
        attributes.CALL_STARTED_NS: 1_790_000_000_000_000_000,
    }
    return row({**chat_attributes(), **counts, **identity, **given})


STORED = "SELECT cost_status, input_tokens, user_id, feature FROM token_ledger_events"


def test_a_call_only_known_to_be_sent_gives_way_to_its_measured_report(
    database_url: str, writer: BatchWriter
) -> None:
    sent = _report("r1", measured=False, user__id="u1")
    done = _report("r1", measured=True, user__id="poller", tokenledger__feature="batch")
    assert sent.event_id == done.event_id
    assert writer.write([sent]) == WriteResult(stored=1)
    assert writer.write([done]) == WriteResult(stored=1)
    assert ask(database_url, STORED) == [("priced", 1_000, "u1", "batch")]
    assert writer.write([sent]) == WriteResult(resent=1)
    assert writer.write([done]) == WriteResult(resent=1)
    assert ask(database_url, STORED) == [("priced", 1_000, "u1", "batch")]
    assert not ask(database_url, "SELECT 1 FROM token_ledger_conflicts")


@pytest.mark.parametrize("first", ["sent", "done"])
def test_both_reports_in_one_batch_are_one_measured_row(
    database_url: str, writer: BatchWriter, first: str
) -> None:
    sent = _report("r1", measured=False, user__id="u1")
    done = _report("r1", measured=True)
    writer.write([sent, done] if first == "sent" else [done, sent])
    assert [found[:2] for found in ask(database_url, STORED)] == [("priced", 1_000)]
    assert not ask(database_url, "SELECT 1 FROM token_ledger_conflicts")


def test_a_writer_that_may_not_delete_keeps_the_better_report_as_a_conflict(
    database_url: str, writer: BatchWriter
) -> None:
    writer.write([_report("r1", measured=False)])
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("CREATE ROLE only_inserts LOGIN PASSWORD 'canary'")
        owner.execute("GRANT INSERT, SELECT ON ALL TABLES IN SCHEMA public TO only_inserts")
    limited = BatchWriter(make_conninfo(database_url, user="only_inserts", password="canary"))
    try:
        assert limited.write([_report("r1", measured=True)]) == WriteResult(conflicting=1)
    finally:
        limited.close()
        with psycopg.connect(database_url, autocommit=True) as owner:
            owner.execute("DROP OWNED BY only_inserts")
            owner.execute("DROP ROLE only_inserts")
    assert len(ask(database_url, "SELECT 1 FROM token_ledger_conflicts")) == 1
