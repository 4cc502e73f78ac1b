"""What a keeper cannot do stops nothing else that it does, and is named."""

from __future__ import annotations

import random
from contextlib import closing
from datetime import timedelta, timezone
from typing import TYPE_CHECKING

import psycopg
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from support.call_reports import CallReport
from support.ledger_rows import ask, chat_attributes, row
from tokenledger_exporter.cli import main
from tokenledger_exporter.maintenance.deduplicate import deduplicate_marked
from tokenledger_exporter.maintenance.retention import run_retention, set_retention
from tokenledger_exporter.rollups.refresh import refresh
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from tokenledger_exporter.domain.ledger_row import LedgerRow

_REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.{column} = 'poison' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse();
"""


def refusing(database_url: str, **names: str) -> None:
    """Make the database refuse whatever says `poison`."""
    with psycopg.connect(database_url) as connection:
        connection.execute(_REFUSING.format(**names).encode())


def write(database_url: str, *rows: LedgerRow) -> None:
    with closing(BatchWriter(database_url)) as writer:
        writer.write(rows)


def ago(made: LedgerRow, hours: float) -> LedgerRow:
    """The row as of some hours before."""
    back = timedelta(hours=hours)
    return replace(made, timestamp=made.timestamp - back, ended_at=made.ended_at - back)


@pytest.mark.parametrize("level", ["slices", "hours", "days"])
@pytest.mark.parametrize("hours", [0.0, 30.0], ids=["now", "yesterday"])
def test_a_failing_sum_does_not_block_others(database_url: str, level: str, hours: float) -> None:
    refusing(database_url, column="value", event="INSERT", table=f"token_ledger_rollup_{level}")
    for user, further in (("ann", 2.0), ("poison", 4.0), ("bob", 6.0)):
        # Hours apart, so that each is in an hour of its own; of today, in a slice of its own.
        made = row(chat_attributes(**{attributes.FEATURE: user}))
        write(database_url, ago(made, hours + further if hours else further / 3_600))
    with psycopg.connect(database_url) as connection:
        skipped = refresh(connection).skipped
    if level == "slices" and hours:
        # Yesterday has no slices any more.
        assert skipped == {}
    else:
        assert list(skipped.values()) == ["not this one"]
    report = CliRunner().invoke(main, ["report", "--by", "feature", "--database-url", database_url])
    assert all(name in report.output for name in ("ann", "poison", "bob"))
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP FUNCTION refuse CASCADE")
        connection.commit()
        assert refresh(connection).skipped == {}


def test_a_failing_minute_does_not_block_others(database_url: str) -> None:
    minute_ms = 60_000
    for number, user in enumerate(("ann", "poison", "bob")):
        told = CallReport(
            after_ms=number * minute_ms, more={"user.id": user}, response_id=f"r{number}" * 12
        )
        write(database_url, replace(told.row, event_id=told.row.event_id))
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE token_ledger_events SET settled = false")
        connection.execute(
            "INSERT INTO token_ledger_dirty_minutes (minute)"
            " SELECT date_trunc('minute', timestamp) FROM token_ledger_events"
        )
    refusing(database_url, column="user_id", event="UPDATE", table="token_ledger_events")
    with psycopg.connect(database_url) as connection:
        kept = deduplicate_marked(connection)
    [(minute, reason)] = kept.skipped.items()
    assert (minute.astimezone(timezone.utc).second, reason) == (0, "not this one")
    waiting = "SELECT user_id FROM token_ledger_events WHERE NOT settled"
    assert ask(database_url, waiting) == [("poison",)]
    done = CliRunner().invoke(main, ["keep", "--database-url", database_url])
    assert done.exit_code == 0
    assert "were skipped and will be retried: not this one" in done.output
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP FUNCTION refuse CASCADE")
        connection.commit()
        assert deduplicate_marked(connection).skipped == {}
    assert ask(database_url, waiting) == []


def test_the_longest_names_there_can_be_are_rolled_up(database_url: str) -> None:
    """A key of the roll-ups takes them all at once, four bytes a letter, none compressible."""
    dice = random.Random(7)  # noqa: S311 - no secret

    def name() -> str:
        return "".join(chr(dice.randrange(0x10000, 0x1F000)) for _ in range(5_000))

    told = {
        attribute: name()
        for attribute in (
            *(attributes.PROVIDER_NAME, attributes.REQUEST_MODEL, attributes.OPERATION_NAME),
            *(attributes.RESPONSE_ID, attributes.USER_ID, attributes.FEATURE, attributes.TEAM),
            *(attributes.ENDPOINT, attributes.SESSION_ID, attributes.AGENT_ID),
        )
    }
    write(database_url, *(row(chat_attributes() | told) for _ in range(3)))
    with psycopg.connect(database_url) as connection:
        assert refresh(connection).skipped == {}
        connection.commit()
    assert ask(database_url, "SELECT sum(calls) FROM token_ledger_daily_costs") == [(3,)]
    assert ask(database_url, "SELECT count(*) FROM token_ledger_rollup_dirty_slices") == [(0,)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("input_tokens", "2000000000"),
        ("images", "9223372036854775807"),
        ("total_tokens", "2000000001"),
        ("model", "repeat('m', 256)"),
        ("provider", "repeat('p', 65)"),
        ("user_id", "repeat('u', 256)"),
        ("duration_ms", "-1"),
        ("duration_ms", "'NaN'"),
        ("time_to_first_token_ms", "'Infinity'"),
    ],
)
def test_the_database_rejects_rows_beyond_the_limits(
    database_url: str, column: str, value: str
) -> None:
    columns = {"provider": "'openai'", "model": "'gpt-4o'", column: value}
    statement = (
        f"INSERT INTO token_ledger_events ({', '.join(columns)})"
        f" VALUES ({', '.join(columns.values())})"
    )
    with psycopg.connect(database_url) as connection, pytest.raises(psycopg.IntegrityError):
        connection.execute(statement.encode())


def test_a_month_whose_sums_cannot_be_stored_stays_and_is_named(database_url: str) -> None:
    old = row(chat_attributes(**{attributes.FEATURE: "poison"}))
    write(database_url, ago(old, 24 * 120))
    refusing(database_url, column="value", event="INSERT", table="token_ledger_rollup_hours")
    set_retention(database_url, "2mo")
    months = [month for month in run_retention(database_url) if month.waits]
    assert [month.waits for month in months] == ["its sums cannot be computed: not this one"]
    assert ask(database_url, "SELECT count(*) FROM token_ledger_events") == [(1,)]


@pytest.mark.parametrize("minute", ["infinity", "-infinity", "4000-01-01 BC", "9999-01-01"])
def test_a_mark_with_an_impossible_time_is_rejected(database_url: str, minute: str) -> None:
    for statement in (
        "INSERT INTO token_ledger_dirty_minutes (minute) VALUES (%s)",
        "INSERT INTO token_ledger_rollup_dirty_slices (bucket) VALUES (%s)",
    ):
        with psycopg.connect(database_url) as connection, pytest.raises(psycopg.IntegrityError):
            connection.execute(statement, [minute])


def test_metadata_that_is_no_object_is_refused(database_url: str) -> None:
    statement = (
        "INSERT INTO token_ledger_events (provider, model, metadata) VALUES ('p', 'm', '[1, 2]')"
    )
    with psycopg.connect(database_url) as connection, pytest.raises(psycopg.IntegrityError):
        connection.execute(statement)
