"""Calls are followed in the order of their commits: none is skipped, none repeated."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tokenledger_exporter.db.connection import reading
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.queries.live.follow import CallFollower

if TYPE_CHECKING:
    from collections.abc import Generator

INSERT = """
INSERT INTO token_ledger_events (provider, model, timestamp, cost_status, cost_usd, settled)
VALUES ('openai', %s, %s, 'priced', 0.5, %s)
"""


def insert(
    connection: psycopg.Connection[Any],
    model: str,
    *,
    ago: timedelta = timedelta(),
    is_settled: bool = True,
) -> None:
    began = datetime.now(timezone.utc) - ago
    connection.execute("SELECT token_ledger_add_partitions(%s, %s)", [began.date(), began.date()])
    connection.execute(INSERT, [model, began, is_settled])


@pytest.fixture
def writer(database_url: str) -> Generator[psycopg.Connection[Any]]:
    """Each statement outside `transaction()` is committed by itself."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def reader(database_url: str) -> Generator[psycopg.Connection[Any]]:
    with reading(database_url) as connection:
        yield connection


def models(follower: CallFollower, reader: psycopg.Connection[Any]) -> list[str]:
    return [row["model"] for row in follower.poll(reader)]


def test_each_new_call_is_returned_once(
    writer: psycopg.Connection[Any], reader: psycopg.Connection[Any]
) -> None:
    insert(writer, "before")
    follower = CallFollower()
    follower.start(reader)
    assert models(follower, reader) == []
    insert(writer, "second", ago=timedelta(seconds=1))
    insert(writer, "first", ago=timedelta(seconds=2))
    assert models(follower, reader) == ["first", "second"]
    assert models(follower, reader) == []
    insert(writer, "third")
    assert models(follower, reader) == ["third"]


def test_a_call_that_is_committed_late_is_returned_when_it_is_committed(
    database_url: str, writer: psycopg.Connection[Any], reader: psycopg.Connection[Any]
) -> None:
    """Its transaction, and that of its savepoint, began before calls that were returned already."""
    with psycopg.connect(database_url) as slow:
        insert(slow, "before the start", ago=timedelta(minutes=2))
        with slow.transaction():
            insert(slow, "in a savepoint", ago=timedelta(minutes=1))
        follower = CallFollower()
        follower.start(reader)
        insert(writer, "meanwhile")
        assert models(follower, reader) == ["meanwhile"]
        assert models(follower, reader) == []
        slow.commit()
    assert models(follower, reader) == ["before the start", "in a savepoint"]
    assert models(follower, reader) == []


def test_a_change_of_a_call_is_no_new_call(
    writer: psycopg.Connection[Any], reader: psycopg.Connection[Any]
) -> None:
    insert(writer, "past", is_settled=False)
    follower = CallFollower()
    follower.start(reader)
    insert(writer, "new", is_settled=False)
    assert models(follower, reader) == ["new"]
    writer.execute("UPDATE token_ledger_events SET settled = true, cost_usd = 1")
    assert models(follower, reader) == []


def test_a_call_that_is_written_hours_after_it_began_is_returned_up_to_the_limit(
    writer: psycopg.Connection[Any], reader: psycopg.Connection[Any]
) -> None:
    follower = CallFollower(late_by=timedelta(hours=3))
    follower.start(reader)
    insert(writer, "two hours", ago=timedelta(hours=2))
    insert(writer, "four hours", ago=timedelta(hours=4))
    assert models(follower, reader) == ["two hours"]


def test_a_poll_of_recent_calls_only_leaves_late_ones_to_the_next_full_poll(
    writer: psycopg.Connection[Any],
    reader: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [1_000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    follower = CallFollower()
    follower.start(reader)
    assert models(follower, reader) == []
    follower._next_full_poll = 1_010.0  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as after a poll of 0.5 s
    insert(writer, "late", ago=timedelta(hours=2))
    insert(writer, "recent")
    assert models(follower, reader) == ["recent"]
    insert(writer, "more")
    assert models(follower, reader) == ["more"]
    clock[0] = 1_011.0
    assert models(follower, reader) == ["late"]
    assert models(follower, reader) == []


def test_filters_apply_to_what_is_followed(
    writer: psycopg.Connection[Any], reader: psycopg.Connection[Any]
) -> None:
    follower = CallFollower({"model": "a"})
    follower.start(reader)
    insert(writer, "a")
    insert(writer, "b")
    assert models(follower, reader) == ["a"]
    with pytest.raises(InvalidRequestError, match="unknown dimension 'x'"):
        CallFollower({"x": "1"})


def test_following_continues_on_another_connection(
    database_url: str, writer: psycopg.Connection[Any]
) -> None:
    follower = CallFollower()
    with reading(database_url) as first:
        follower.start(first)
        insert(writer, "one")
        assert models(follower, first) == ["one"]
    insert(writer, "while away")
    with reading(database_url) as second:
        assert models(follower, second) == ["while away"]
