"""One row never stops another: what the ledger cannot store is quarantined, all else is stored."""

from __future__ import annotations

import random
import string
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from msgspec.structs import replace

from support.ledger_rows import ask, chat_attributes, row
from support.ledgers import call, opened
from tokenledger_exporter.errors import LedgerError
from tokenledger_exporter.maintenance.install import migrate
from tokenledger_exporter.rating.build_rows import build_rows
from tokenledger_exporter.store.batch import WriteResult
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import Generator

    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import SpanRecord
    from tokenledger_exporter.spool.spool import Spool

_TRIGGER = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.user_id = 'poison' THEN RAISE {error}; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON token_ledger_events
FOR EACH ROW EXECUTE FUNCTION refuse()
"""
# What a user's trigger, constraint or index refuses, by the user of the row.
REFUSALS = {
    "a trigger": (_TRIGGER.format(error="EXCEPTION 'not this one'"), "not this one"),
    "an unsupported feature": (
        _TRIGGER.format(error="feature_not_supported"),
        "feature_not_supported",
    ),
    "a constraint": (
        "ALTER TABLE token_ledger_events ADD CONSTRAINT mine CHECK (user_id <> 'poison')",
        "violates check constraint",
    ),
    "an index": (
        "CREATE INDEX mine ON token_ledger_events ((metadata ->> 'long'))",
        "index row requires 9016 bytes, maximum size is 8191",
    ),
    "a division": (
        """
        CREATE INDEX mine
        ON token_ledger_events ((1 / (CASE WHEN user_id = 'poison' THEN 0 ELSE 1 END)))
        """,
        "division by zero",
    ),
}


@pytest.fixture
def writer(database_url: str) -> Generator[BatchWriter]:
    made = BatchWriter(database_url)
    yield made
    made.close()


@pytest.fixture
def latin_url(postgres_server: str) -> Generator[str]:
    """A ledger in a database that holds the letters of Western Europe alone."""
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(
            "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
        url = postgres_server.rpartition("/")[0] + "/latin"
        migrate(url)
        yield url
        connection.execute("DROP DATABASE latin WITH (FORCE)")


def of_user(user: str) -> LedgerRow:
    """The row of a call for a user."""
    return row(chat_attributes(user__id=user))


def poison() -> LedgerRow:
    """The row that `REFUSALS` refuse."""
    # Random letters: an index entry is compressed before it is measured.
    letters = "".join(random.choices(string.ascii_letters, k=9_000))  # noqa: S311 - no secret
    return replace(of_user("poison"), metadata=f'{{"long": "{letters}"}}')


@pytest.mark.parametrize("what", REFUSALS)
@pytest.mark.parametrize("before", [0, 1, 37])
def test_a_rejected_row_does_not_block_its_batch(
    database_url: str, writer: BatchWriter, what: str, before: int
) -> None:
    statement, reason = REFUSALS[what]
    with psycopg.connect(database_url) as connection:
        connection.execute(statement.encode())
    rows = [of_user("ann") for _ in range(before)] + [poison(), of_user("bob")]
    result = writer.write(rows)
    assert (result.stored, result.rejected) == (before + 1, 1)
    assert reason in result.refusals[rows[before].event_id]
    assert ask(database_url, "SELECT reason, event->>'user_id' FROM token_ledger_rejected") == [
        (result.refusals[rows[before].event_id], "poison")
    ]
    # Sent again, it is quarantined again, and nothing else changes.
    assert writer.write(rows).resent == before + 1


def test_rows_wait_if_all_fail_for_an_external_reason(
    database_url: str, writer: BatchWriter
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(REFUSALS["a trigger"][0].replace("'poison'", "NEW.user_id").encode())
    rows = [of_user("ann") for _ in range(3)]
    with pytest.raises(LedgerError):
        writer.write(rows)
    assert ask(database_url, "SELECT count(*) FROM token_ledger_rejected") == [(0,)]
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP TRIGGER refuse ON token_ledger_events")
    assert writer.write(rows) == WriteResult(stored=3)


@pytest.mark.parametrize(
    "attribute",
    [
        attributes.USER_ID,
        attributes.RESPONSE_ID,
        attributes.REQUEST_MODEL,
        "tokenledger.metadata.k",
    ],
)
def test_only_the_row_with_an_unsupported_character_is_quarantined(
    latin_url: str, attribute: str
) -> None:
    writer = BatchWriter(latin_url)
    odd = row(chat_attributes() | {attribute: "\N{GRINNING FACE} of twenty letters"})
    rows = [of_user("ann"), odd, of_user("Zo\xeb"), of_user("bob")]
    result = writer.write(rows)
    writer.close()
    assert (result.stored, result.rejected) == (3, 1)
    users = ask(latin_url, "SELECT user_id FROM token_ledger_events ORDER BY user_id")
    assert users == [("Zo\xeb",), ("ann",), ("bob",)]
    [(kept,)] = ask(latin_url, "SELECT event ->> 'as_text' FROM token_ledger_rejected")
    assert "ud83d" in kept


def test_calls_behind_an_unstorable_one_reach_the_ledger(latin_url: str) -> None:
    with opened(latin_url) as ledger:
        for user in ("\N{GRINNING FACE}", "ann", "bob"):
            call(ledger, **{"user.id": user})
        ledger.flush(timeout=10.0)
        health = ledger.health()
    assert (health["waiting"], health["lost"], health["set_aside"]) == (0, 0, 1)
    assert ask(latin_url, "SELECT count(*) FROM token_ledger_events") == [(2,)]


def test_an_unstorable_conflict_does_not_block_others(latin_url: str) -> None:
    writer = BatchWriter(latin_url)
    known = of_user("ann")
    writer.write([known])
    other = replace(known, usage_hash=b"other", user_id="\N{GRINNING FACE}")
    result = writer.write([other, of_user("bob")])
    writer.close()
    assert (result.stored, result.rejected) == (1, 1)


def test_a_record_that_cannot_be_read_is_kept_with_its_bytes(database_url: str) -> None:
    with opened(database_url) as ledger:
        spool: Spool = vars(ledger)["_spool"]
        spool.append(b"\x93no span")
        call(ledger)
        ledger.flush(timeout=10.0)
        health = ledger.health()
    assert (health["waiting"], health["lost"], health["set_aside"]) == (0, 0, 1)
    [(reason, event)] = ask(database_url, "SELECT reason, event FROM token_ledger_rejected")
    assert reason.startswith("the record cannot be read (")
    assert bytes.fromhex(event["record"]) == b"\x93no span"
    assert ask(database_url, "SELECT count(*) FROM token_ledger_events") == [(1,)]


def test_our_own_read_error_does_not_lose_the_record(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(record: SpanRecord, *others: Any) -> list[LedgerRow]:  # noqa: ANN401 - as ours
        if "poison" in str(record):
            raise KeyError("a bug")
        return build_rows(record, *others)

    monkeypatch.setattr("tokenledger_exporter.recorder.drainer.build_rows", broken)
    with opened(database_url) as ledger:
        for user in ("poison", "ann"):
            call(ledger, **{"user.id": user})
        ledger.flush(timeout=10.0)
    [(event,)] = ask(database_url, "SELECT event FROM token_ledger_rejected")
    assert b"poison" in bytes.fromhex(event["record"])
    assert ask(database_url, "SELECT user_id FROM token_ledger_events") == [("ann",)]


@pytest.mark.parametrize("error", [TypeError, MemoryError, NotImplementedError])
def test_calls_wait_where_their_prices_cannot_be_read(
    database_url: str, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def broken(*_: object) -> None:
        raise error

    with opened(database_url) as ledger:
        with monkeypatch.context() as broken_prices:
            broken_prices.setattr(BatchWriter, "prices_of", broken)
            call(ledger)
            ledger.flush(timeout=10.0)
            assert ledger.health()["waiting"] == 1
        ledger.flush(timeout=10.0)
        health = ledger.health()
    assert (health["waiting"], health["lost"], health["set_aside"]) == (0, 0, 0)
    assert ask(database_url, "SELECT cost_status FROM token_ledger_events") == [("priced",)]


def test_what_is_no_call_is_counted_with_an_example(database_url: str) -> None:
    with opened(database_url) as ledger:
        tracer = ledger.tracer_provider.get_tracer("some.agents")
        tracer.start_span("x", attributes=chat_attributes(gen_ai__operation__name="plan")).end()
        ledger.flush(timeout=10.0)
        health = ledger.health()
    assert health["dropped"] == 1
    assert health["dropped_example"] == "operation 'plan' of some.agents"


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE UNIQUE INDEX mine ON {leaf} (user_id)",
        """
        CREATE TABLE seen (user_id text PRIMARY KEY);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO seen VALUES (NEW.user_id); RETURN NEW; END $$;
        CREATE TRIGGER note BEFORE INSERT ON token_ledger_events
        FOR EACH ROW EXECUTE FUNCTION note()
        """,
    ],
    ids=["an index", "a trigger's table"],
)
def test_only_the_row_that_breaks_a_custom_constraint_is_quarantined(
    database_url: str, writer: BatchWriter, statement: str
) -> None:
    rows = [of_user("ann"), of_user("ann"), of_user("bob")]
    leaf = f"token_ledger_events_{rows[0].month}"
    with psycopg.connect(database_url) as connection:
        connection.execute(statement.format(leaf=leaf).encode())
    result = writer.write(rows)
    assert (result.stored, result.rejected) == (2, 1)


def test_rows_rejected_by_a_trigger_do_not_block_later_rows(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(REFUSALS["a trigger"][0].encode())
    with opened(database_url, batch_size=1) as ledger:
        for user in (*["poison"] * 3, "ann", "bob"):
            call(ledger, **{"user.id": user})
        for _ in range(8):
            ledger.flush(timeout=10.0)
        health = ledger.health()
    assert (health["waiting"], health["set_aside"]) == (0, 3)
    users = ask(database_url, "SELECT user_id FROM token_ledger_events ORDER BY 1")
    assert users == [("ann",), ("bob",)]


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE token_ledger_events ADD COLUMN mine text NOT NULL",
        "ALTER TABLE token_ledger_events ADD CONSTRAINT mine CHECK (feature = 'x') NOT VALID",
    ],
    ids=["a column that stays empty", "a constraint that no row meets"],
)
def test_rows_wait_while_the_database_takes_none(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(statement.encode())
    with opened(database_url) as ledger:
        for user in ("ann", "bob"):
            call(ledger, **{"user.id": user})
        ledger.flush(timeout=10.0)
        health = ledger.health()
        assert (health["waiting"], health["set_aside"]) == (2, 0)
        assert "the database refused all 2 rows" in str(health["last_error"])
        with psycopg.connect(database_url) as connection:
            connection.execute("ALTER TABLE token_ledger_events DROP COLUMN IF EXISTS mine")
            connection.execute("ALTER TABLE token_ledger_events DROP CONSTRAINT IF EXISTS mine")
        ledger.flush(timeout=10.0)
        assert ledger.health()["waiting"] == 0


def test_debug_output_has_no_control_characters(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(database_url, debug=True) as ledger:
        call(ledger, **{"gen_ai.response.model": "\x1b]52;c;aGk=\x07\u202e"})
        ledger.flush(timeout=10.0)
    said = capsys.readouterr().err
    assert "tokenledger: " in said
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
