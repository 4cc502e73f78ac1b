"""Deleting and erasing: what goes, what stays, what is counted, and what comes late."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from psycopg import errors as pg_errors
from psycopg import sql
from psycopg.conninfo import make_conninfo

from support.call_reports import CallReport
from support.ledger_rows import ask, chat_attributes, row
from tokenledger_exporter.cli import main
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.maintenance.deduplicate import deduplicate_marked
from tokenledger_exporter.maintenance.erase import erase
from tokenledger_exporter.maintenance.maintaining_writer import MaintainingWriter
from tokenledger_exporter.maintenance.purge import Purged, apurge, purge
from tokenledger_exporter.queries import TokenLedgerQueries
from tokenledger_semconv import attributes
from tokenledger_semconv.dimensions import DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Generator

    from tokenledger_exporter.domain.span_record import AttributeValue

ONE_CALL: Final = Decimal("0.0035")  # gpt-4o: 1,000 x 2.50/M + 100 x 10/M
NOW: Final = datetime.now(timezone.utc)
METADATA: Final = "tokenledger.metadata."
WHERE_AN_ID_MAY_STAND: Final = " UNION ALL ".join(
    f"SELECT {table}::text FROM {table}"
    for table in (
        *("token_ledger_events", "token_ledger_duplicates", "token_ledger_conflicts"),
        *("token_ledger_rejected", "token_ledger_audit_log", "token_ledger_erasures"),
    )
)


@pytest.fixture
def writer(database_url: str) -> Generator[MaintainingWriter]:
    made = MaintainingWriter(database_url)
    yield made
    made.close()


def of(user: str = "", **more: str) -> dict[str, AttributeValue]:
    """The attributes of a call for a user; keywords are metadata."""
    told: dict[str, AttributeValue] = {METADATA + key: value for key, value in more.items()}
    return chat_attributes() | {attributes.USER_ID: user} | told


def fill(writer: MaintainingWriter) -> None:
    """Two users with a call, a conflict and a rejected row each, and a repricing of every call."""
    for user in ("ann", "bob"):
        one = row(of(user, boss="ann"))
        early = replace(row(of(user)), timestamp=datetime(2014, 5, 5, tzinfo=timezone.utc))
        writer.write([one, early])
        writer.write([replace(one, usage_hash=b"other")])
    inner = CallReport(more={attributes.USER_ID: "ann"})
    writer.write([inner.row])
    writer.write([inner.around().row])
    writer.deduplicate()


def everything(database_url: str) -> list[tuple[str]]:
    return ask(database_url, WHERE_AN_ID_MAY_STAND)


def test_a_purge_deletes_everything_about_its_calls(
    database_url: str, writer: MaintainingWriter
) -> None:
    fill(writer)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_repricings (event_id, reason)"
            " SELECT event_id, 'test' FROM token_ledger_events"
        )
    before = everything(database_url)
    counted = purge(database_url, user="ann", simulate=True)
    assert everything(database_url) == before
    # The second report names no user, and is deleted with its call.
    assert counted == Purged(2, 1, 1, 1, 2, 2 * ONE_CALL, simulated=True)
    assert asyncio.run(apurge(database_url, user="ann", simulate=True)) == counted
    done = purge(database_url, user="ann")
    assert done == Purged(2, 1, 1, 1, 2, 2 * ONE_CALL)
    assert done.events_deleted == 2
    assert ask(database_url, "SELECT user_id, cost_usd FROM token_ledger_events") == [
        ("bob", ONE_CALL)
    ]
    assert purge(database_url, user="ann") == Purged()
    assert ask(database_url, "SELECT count(*) FROM token_ledger_repricings") == [(1,)]


def test_part_of_a_day_is_cut_to_the_microsecond(
    database_url: str, writer: MaintainingWriter
) -> None:
    noon = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    one = timedelta(microseconds=1)
    moments = [noon - one, noon, noon + one, noon + 2 * one]
    writer.write([replace(row(of("ann")), timestamp=moment) for moment in moments])
    done = purge(database_url, user="ann", time_from=noon, time_to=(noon + 2 * one))
    assert done.events == 2
    left = ask(database_url, "SELECT timestamp FROM token_ledger_events ORDER BY 1")
    assert left == [(noon - one,), (noon + 2 * one,)]


def test_every_dimension_can_be_purged_by(database_url: str) -> None:
    """The list that reports and queries group by is the one that deletes."""
    for dimension in DIMENSIONS:
        value = f"it's {dimension.name} %s"
        columns = {"provider": "p", "model": "m"} | {dimension.column: value}
        with psycopg.connect(database_url) as connection:
            for told in (columns, {"provider": "p", "model": "m"}):
                names = sql.SQL(", ").join(map(sql.Identifier, told))
                insert = sql.SQL("INSERT INTO token_ledger_events ({}) VALUES ({})")
                values = sql.SQL(", ").join(map(sql.Literal, told.values()))
                connection.execute(insert.format(names, values))
        where = {dimension.name: value}
        narrowed = TokenLedgerQueries(database_url).get_cost_summary(where=where)
        assert narrowed.total_requests == 1
        assert purge(database_url, where=where, simulate=True).events == 1
        assert purge(database_url, where=where).events == 1
    assert ask(database_url, "SELECT count(*) FROM token_ledger_events") == [(len(DIMENSIONS),)]


def test_a_purge_without_a_filter_is_rejected(database_url: str) -> None:
    with pytest.raises(InvalidRequestError, match="no filter"):
        purge(database_url)


@pytest.mark.parametrize(
    "where",
    [{"user": ""}, {"metadata.tenant": ""}, {"team": ["ml", ""]}, {"team": "ml", "project": ""}],
    ids=str,
)
def test_an_empty_value_is_refused(
    database_url: str, writer: MaintainingWriter, where: dict[str, str | list[str]]
) -> None:
    """A shell passes it for a variable that is not set; every call without a user would go."""
    fill(writer)
    with pytest.raises(InvalidRequestError, match="empty"):
        purge(database_url, where=where)
    for words in (["--user", ""], ["--project", ""], ["--organization", ""], ["--where", "team="]):
        done = CliRunner().invoke(main, ["purge", *words, "--database-url", database_url])
        assert done.exit_code == 2, words
    assert CliRunner().invoke(main, ["erase", "--user", ""]).exit_code == 2
    assert ask(database_url, "SELECT count(*) FROM token_ledger_events") == [(3,)]


def test_a_purged_person_is_in_no_sum(database_url: str, writer: MaintainingWriter) -> None:
    """Also of calls that are older than the sums by slice."""
    writer.write([row(of("ann")), replace(row(of("ann")), timestamp=NOW - timedelta(days=20))])
    writer.refresh_rollups()
    sums = " UNION ALL ".join(
        f"SELECT value FROM token_ledger_rollup_{level} WHERE dimension = 'user' AND value <> ''"
        for level in ("slices", "hours", "days", "weeks")
    )
    assert {value for (value,) in ask(database_url, sums)} == {"ann"}
    purge(database_url, user="ann")
    assert ask(database_url, sums) == []


def test_every_spelling_of_an_id_is_erased(database_url: str, writer: MaintainingWriter) -> None:
    """A column keeps 255 letters of an id, metadata all of them; no database keeps a NUL."""
    long, odd = "ann" * 200, "an\0n"
    calls = [row(of(long, boss=long)), row(of(odd, boss=odd))]
    writer.write(calls)
    stored = ask(database_url, "SELECT user_id FROM token_ledger_events")
    assert {user for (user,) in stored} == {"an\ufffdn", long[:255]}
    names = {erase(database_url, told).pseudonym for told in (long, odd)}
    writer.write([replace(call, event_id=uuid4()) for call in calls])
    found = ask(database_url, "SELECT user_id, metadata ->> 'boss' FROM token_ledger_events")
    assert {name for told in found for name in told} == names
    assert len(found) == 4


def test_an_id_in_the_reason_of_a_repricing_is_erased(
    database_url: str, writer: MaintainingWriter
) -> None:
    fill(writer)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_repricings (event_id, reason) VALUES"
            " (gen_random_uuid(), 'asked by ann, not by ann@else.org or joann; ann.')"
        )
    done = erase(database_url, "ann")
    name = done.pseudonym
    assert done.repricings == 1
    assert ask(database_url, "SELECT reason FROM token_ledger_repricings") == [
        (f"asked by {name}, not by ann@else.org or joann; {name}.",)
    ]


def test_an_erasure_reports_where_the_id_remains(
    database_url: str, writer: MaintainingWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    session = {attributes.SESSION_ID: "ann", attributes.TEAM: "ann"}
    writer.write([row(of("ann") | session), row(of("ann"))])
    done = CliRunner().invoke(main, ["erase", "--user", "ann"])
    assert done.stdout.endswith(": 2 calls\n")
    assert done.stderr == (
        "tokenledger: the same value remains in columns other than the user id: "
        "session_id (1 call), team (1 call)\n"
    )
    assert erase(database_url, "bob").remains == {}


def test_an_erased_person_costs_a_look_up_and_not_a_hash(
    database_url: str, writer: MaintainingWriter
) -> None:
    """Each id is hashed once, however many people were erased."""
    writer.write([row()])
    erased = (
        "SELECT token_ledger_add_erasure(ARRAY[convert_to('p' || n, 'UTF8')])"
        " FROM generate_series({}, {}) AS n"
    )
    took: list[float] = []
    for first, last in ((1, 10), (11, 3_000)):
        ask(database_url, erased.format(first, last))
        quickest = 60.0
        for _ in range(3):
            rows = [row(of(f"u{uuid4()}", a=f"{uuid4()}", b=f"{uuid4()}")) for _ in range(1_000)]
            began = time.perf_counter()
            writer.write(rows)
            quickest = min(quickest, time.perf_counter() - began)
        took.append(quickest)
    # It took 70 times as long before.
    assert took[1] < 3 * took[0]


def test_ids_cannot_be_tested_outside_the_database(database_url: str) -> None:
    erase(database_url, "ann")
    [(told, key)] = ask(
        database_url,
        "SELECT id_hash, inner_key || outer_key FROM token_ledger_erasures,"
        " token_ledger_erasure_key",
    )
    assert len(key) == 128
    plain = {hashlib.sha256(b"ann").digest(), hashlib.sha256(key + b"ann").digest()}
    assert bytes(told) not in plain
    inner = hashlib.sha256(key[:64] + b"ann").digest()
    assert bytes(told) == hashlib.sha256(key[64:] + inner).digest()
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE ROLE looks LOGIN PASSWORD 'pw'")
        # Also who was given everything in the schema sees neither.
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO looks")
    try:
        url = make_conninfo(database_url, user="looks", password="pw")
        for table in ("erasures", "erasure_key", "reader_organizations"):
            assert ask(url, f"SELECT count(*) FROM token_ledger_{table}") == [(0,)]
        with pytest.raises(pg_errors.InsufficientPrivilege):
            ask(url, "SELECT * FROM token_ledger_find_erased(ARRAY['ann'::bytea])")
    finally:
        with psycopg.connect(database_url) as connection:
            connection.execute("DROP OWNED BY looks")
            connection.execute("DROP ROLE looks")


def test_an_erased_id_is_nowhere_and_costs_are_unchanged(
    database_url: str, writer: MaintainingWriter
) -> None:
    fill(writer)
    money = ask(database_url, "SELECT count(*), sum(cost_usd) FROM token_ledger_events")
    done = erase(database_url, "ann")
    assert (done.events, done.conflicts, done.rejected) == (3, 2, 1)
    assert not [told for (told,) in everything(database_url) if "ann" in told]
    assert ask(database_url, "SELECT count(*), sum(cost_usd) FROM token_ledger_events") == money
    summary = TokenLedgerQueries(database_url).get_cost_summary(user_id=done.pseudonym)
    assert summary.total_cost == 2 * ONE_CALL
    # Bob's call names her in its metadata alone.
    question = "SELECT metadata ->> 'boss' FROM token_ledger_events WHERE user_id = 'bob'"
    assert ask(database_url, question) == [(done.pseudonym,)]
    assert erase(database_url, "ann").pseudonym == done.pseudonym
    assert erase(database_url, "bob").pseudonym != done.pseudonym


def test_metadata_of_quarantined_rows_is_erased_too(
    database_url: str, writer: MaintainingWriter
) -> None:
    fill(writer)
    done = purge(database_url, where={"metadata.boss": "ann", "user": "bob"})
    assert (done.events, done.conflicts, done.rejected) == (1, 1, 0)


def test_unreadable_metadata_with_the_id_is_removed(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_rejected (event_id, reason, event) VALUES"
            " (gen_random_uuid(), 'x', %s::jsonb), (gen_random_uuid(), 'x', %s::jsonb)",
            ('{"metadata": "{broken ann"}', '{"metadata": "{broken bob"}'),
        )
    assert erase(database_url, "ann").rejected == 1
    found = ask(database_url, "SELECT event -> 'metadata' FROM token_ledger_rejected ORDER BY 1")
    assert found == [("{broken bob",), ({},)]


def test_a_call_that_waited_in_a_spool_arrives_without_the_erased_id(
    database_url: str, writer: MaintainingWriter
) -> None:
    done = erase(database_url, "ann")
    early = replace(row(of("ann")), timestamp=datetime(2014, 5, 5, tzinfo=timezone.utc))
    one = row(of("ann", boss="ann", other="bob"))
    writer.write([one, row(of("bob")), early])
    writer.write([replace(one, usage_hash=b"other")])
    assert not [told for (told,) in everything(database_url) if "ann" in told]
    assert ask(
        database_url,
        "SELECT user_id, metadata ->> 'other' FROM token_ledger_events ORDER BY user_id = 'bob'",
    ) == [(done.pseudonym, "bob"), ("bob", None)]


def test_a_row_written_during_an_erasure_is_erased_by_maintenance(
    database_url: str, writer: MaintainingWriter
) -> None:
    lock = "SELECT FROM token_ledger_locks WHERE name = 'settle' FOR UPDATE"
    with psycopg.connect(database_url) as holder:
        holder.execute(lock)
        assert writer.write([row(of("ann", boss="ann"))]).unsettled == 1
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_erasures"
            " VALUES (token_ledger_erasure_hash('ann'), 'erased-1')"
        )
    with psycopg.connect(database_url) as connection:
        deduplicate_marked(connection)
    question = "SELECT user_id, metadata, settled FROM token_ledger_events"
    assert ask(database_url, question) == [("erased-1", {"boss": "erased-1"}, True)]


def test_erasing_while_others_write_leaves_no_row_behind(database_url: str) -> None:
    stop = threading.Event()

    def write() -> None:
        own = MaintainingWriter(database_url)
        while not stop.is_set():
            own.write([row(of("ann")) for _ in range(5)])
        own.close()

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        erase(database_url, "ann")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    with psycopg.connect(database_url) as connection:
        deduplicate_marked(connection)
    question = "SELECT count(*) FROM token_ledger_events WHERE user_id = 'ann'"
    assert ask(database_url, question) == [(0,)]


def test_every_action_is_logged_without_user_ids(
    database_url: str, writer: MaintainingWriter
) -> None:
    fill(writer)
    purge(database_url, project="web", user="bob", time_from=datetime(2020, 1, 1))  # noqa: DTZ001
    purge(database_url, project="web", simulate=True)
    erase(database_url, "ann")
    found = ask(
        database_url,
        "SELECT action, changed_by, dimensions, time_from, counts ->> 'events'"
        " FROM token_ledger_audit_log ORDER BY recorded_at",
    )
    beginning = datetime(2020, 1, 1, tzinfo=timezone.utc)
    assert found == [
        ("purge", "postgres", {"project": "web", "user": ""}, beginning, "0"),
        ("erase", "postgres", {"user": ""}, None, "3"),
    ]


def test_the_command_says_what_it_would_delete_and_what_it_deleted(
    database_url: str, writer: MaintainingWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(writer)
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    words = ["purge", "--user", "bob", "--from", "2020-01-01", "--include-aggregates"]
    told = "1 call ($0.0035), 1 conflict\n"
    assert CliRunner().invoke(main, [*words, "--simulate"]).stdout == f"would delete {told}"
    assert CliRunner().invoke(main, words).stdout == f"deleted {told}"
    erased = CliRunner().invoke(main, ["purge", "--user", "ann", "--erase"])
    assert erased.stdout.startswith("erased as erased-")
    again = CliRunner().invoke(main, ["erase", "--user", "ann"])
    assert (again.exit_code, again.stdout.split(":")[0]) == (0, "nothing matched")
    assert CliRunner().invoke(main, words).stdout == "nothing matched: no call was deleted\n"
    for wrong in (["--erase"], ["--erase", "--user", "a", "--from", "7d"], [], ["--where", "x=1"]):
        assert CliRunner().invoke(main, ["purge", *wrong]).exit_code == 2, wrong
