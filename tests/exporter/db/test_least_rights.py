"""What a writer and a keeper may not do, what is logged, and planted functions that never run."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from psycopg import errors as pg_errors
from psycopg.conninfo import make_conninfo

from support.database_roles import fill, refusal, roles_of
from support.ledger_rows import ask, row
from tokenledger_exporter.cli import main
from tokenledger_exporter.db.roles import bind_reader
from tokenledger_exporter.errors import SchemaError
from tokenledger_exporter.maintenance.erase import erase
from tokenledger_exporter.maintenance.purge import purge
from tokenledger_exporter.maintenance.retention import set_retention, show_retention
from tokenledger_exporter.maintenance.runner import MaintenanceRunner
from tokenledger_exporter.store.writer import BatchWriter

if TYPE_CHECKING:
    from collections.abc import Generator

    from support.database_roles import Roles

ONE_CALL = Decimal("0.0035")  # gpt-4o: 1,000 x 2.50/M + 100 x 10/M
NOW = datetime.now(timezone.utc)
LEAF = f"token_ledger_events_{NOW:%Y_%m}"


@pytest.fixture
def roles(database_url: str) -> Generator[Roles]:
    fill(database_url)
    with roles_of(database_url) as new_roles:
        yield new_roles


@pytest.fixture
def writer(roles: Roles) -> str:
    return roles.url(roles.login("w", roles.writer))


@pytest.fixture
def keeper(roles: Roles) -> str:
    return roles.url(roles.login("k", roles.keeper))


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM token_ledger_events",
        f"DELETE FROM {LEAF}",
        "SELECT token_ledger_drop_unmeasured('token_ledger_duplicates', '{}')",
        "SELECT token_ledger_drop_unmeasured('pg_class', '{}')",
        "SELECT token_ledger_add_partitions('1999-01-01', '1999-01-01')",
        "SELECT token_ledger_add_partitions('2015-01-01', '2020-01-01')",
        "SELECT token_ledger_add_partitions('2100-01-01', '2100-01-01')",
        "SELECT * FROM token_ledger_erasures",
        "SELECT * FROM token_ledger_erasure_key",
        "SELECT token_ledger_erasure_hash('ann')",
        "SELECT token_ledger_add_erasure(ARRAY['ann'::bytea])",
        "SELECT archive_to FROM token_ledger_retention",
        "SELECT token_ledger_set_retention('1 month', NULL)",
        "SELECT token_ledger_log_action('purge', '{}', NULL, NULL, '{}')",
    ],
)
def test_a_writer_may_not(writer: str, statement: str) -> None:
    assert refusal(writer, statement)


def test_a_writer_can_only_drop_unmeasured_rows(roles: Roles, writer: str) -> None:
    sent = replace(row(), cost_usd=None, cost_status="unmeasured", usage_hash=b"sent")
    with psycopg.connect(writer) as connection:
        every = "SELECT array_agg(event_id) FROM token_ledger_events"
        batch_writer = BatchWriter(writer)
        batch_writer.write([sent])
        batch_writer.close()
        drop = f"SELECT * FROM token_ledger_drop_unmeasured('{LEAF}', ({every}))"
        assert len(connection.execute(drop.encode()).fetchall()) == 1
    assert ask(roles.owner, "SELECT count(*) FROM token_ledger_events") == [(3,)]


def test_an_impossible_count_of_losses_is_refused(writer: str) -> None:
    insert = "INSERT INTO token_ledger_losses (reason, records) VALUES ('x', {})"
    with psycopg.connect(writer, autocommit=True) as connection:
        for count in (-1, 2**63 - 1):
            with pytest.raises(pg_errors.CheckViolation):
                connection.execute(insert.format(count).encode())


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO token_ledger_audit_log (action, changed_by) VALUES ('purge', 'somebody')",
        "INSERT INTO token_ledger_audit_log (action, recorded_at) VALUES ('purge', '2020-01-01')",
        (
            "INSERT INTO token_ledger_repricings (event_id, reason, changed_by)"
            " VALUES (gen_random_uuid(), 'x', 'somebody')"
        ),
        (
            "INSERT INTO token_ledger_repricings (event_id, reason, recorded_at)"
            " VALUES (gen_random_uuid(), 'x', '2020-01-01')"
        ),
        "UPDATE token_ledger_repricings SET new_cost_usd = 0",
        "DELETE FROM token_ledger_erasures",
        "SELECT * FROM token_ledger_erasure_key",
        "UPDATE token_ledger_retention SET archive_to = '/srv'",
        "DELETE FROM token_ledger_retention",
        "SELECT token_ledger_set_retention('1 month', '/srv')",
        "DELETE FROM token_ledger_losses",
        "DELETE FROM token_ledger_prices",
        f"UPDATE {LEAF} SET cost_usd = 0",
        f"DELETE FROM {LEAF}",
        "SELECT token_ledger_record_cost_changes()",
    ],
)
def test_a_keeper_may_not(keeper: str, statement: str) -> None:
    assert refusal(keeper, statement)


def test_a_cost_changed_by_hand_is_recorded(roles: Roles, keeper: str) -> None:
    name = roles.logins[-1]
    with psycopg.connect(keeper) as connection:
        connection.execute("UPDATE token_ledger_events SET cost_usd = 0, team = 'a'")
        connection.execute("UPDATE token_ledger_events SET team = 'b'")
    changes = (
        "SELECT old_cost_usd, new_cost_usd, changed_by, recorded_at > now() - interval '1 minute'"
        " FROM token_ledger_repricings WHERE reason = 'changed by hand'"
    )
    assert ask(roles.owner, changes) == [(ONE_CALL, Decimal(0), name, True)] * 3
    with psycopg.connect(keeper) as connection:
        connection.execute("DELETE FROM token_ledger_repricings")
    entries = "SELECT action, changed_by, counts FROM token_ledger_audit_log"
    assert ask(roles.owner, entries) == [("repricings deleted", name, {"repricings": 6})]


def test_a_repricing_is_recorded_once(roles: Roles, keeper: str) -> None:
    with psycopg.connect(roles.owner) as connection:
        connection.execute("UPDATE token_ledger_events SET cost_usd = 1")
    words = ["reprice", "--since", "7d", "--reason", "list", "--database-url", keeper]
    assert CliRunner().invoke(main, words).exit_code == 0
    changes = ask(roles.owner, "SELECT reason, changed_by FROM token_ledger_repricings ORDER BY 1")
    assert changes == [("list", roles.logins[-1])] * 3 + [("test", "postgres")] * 3


def test_the_audit_log_names_the_login_and_not_the_assumed_role(roles: Roles, keeper: str) -> None:
    as_role = make_conninfo(keeper, options=f"-c role={roles.keeper}")
    purge(as_role, project="x")
    erase(as_role, "ann")
    entries = ask(
        roles.owner, "SELECT action, changed_by FROM token_ledger_audit_log ORDER BY recorded_at"
    )
    assert entries == [("purge", roles.logins[-1]), ("erase", roles.logins[-1])]


def test_a_keeper_sets_the_retention_period_and_only_the_owner_sets_the_archive(
    roles: Roles, keeper: str
) -> None:
    set_retention(roles.owner, "2y", "/srv/archive")
    changed = set_retention(keeper, "1y")
    assert changed is not None
    assert (changed.keep, changed.archive_to, changed.changed_by) == (
        "1 year",
        "/srv/archive",
        roles.logins[-1],
    )
    with pytest.raises(SchemaError, match="only the tables' owner may set the folder"):
        set_retention(keeper, "1y", "/srv/elsewhere")
    # "forever" followed by another period would delete the folder from the settings.
    with pytest.raises(SchemaError, match="only the tables' owner"):
        set_retention(keeper, "forever")
    assert show_retention(roles.owner) == changed
    assert set_retention(roles.owner, "forever") is None


TRAPS = Path(__file__).with_name("traps.sql")


def test_planted_functions_never_run_with_the_privileges_of_others(
    roles: Roles, writer: str, keeper: str
) -> None:
    """Databases from before Postgres 15 let every role create objects in schema public."""
    reader_name = roles.login("r", roles.reader)
    bind_reader(roles.owner, reader_name, ["acme"])
    attacker = roles.login("attacker")
    with psycopg.connect(roles.owner) as connection:
        connection.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        connection.execute("CREATE TABLE ran_by (name text, what text)")
        connection.execute("GRANT INSERT ON ran_by TO PUBLIC")
    with psycopg.connect(roles.url(attacker)) as connection:
        connection.execute(TRAPS.read_bytes())
        count = "SELECT count(*) FROM pg_operator WHERE oprnamespace = 'public'::regnamespace"
        [(traps,)] = connection.execute(count.encode()).fetchall()
        assert traps > 2_000
    # Functions that others call and that run with the owner's privileges.
    one, long_ago = row(), replace(row(), timestamp=datetime(2019, 5, 5, tzinfo=timezone.utc))
    batch_writer = BatchWriter(writer)
    batch_writer.write([one, long_ago])
    batch_writer.write([replace(row(), cost_usd=None, cost_status="unmeasured")])
    batch_writer.close()
    assert ask(roles.url(reader_name), "SELECT organization_id FROM token_ledger_events") == [
        ("acme",)
    ]
    # Statements that the owner and a keeper run themselves.
    erase(roles.owner, "ann")
    erase(keeper, "bob")
    purge(roles.owner, project="x")
    for url in (roles.owner, keeper):
        with MaintenanceRunner(url) as runner:
            runner.round()
    for words in (["doctor"], ["report", "--by", "day,user"], ["db", "migrate"], ["db", "status"]):
        CliRunner().invoke(main, [*words, "--database-url", roles.owner])
    assert ask(roles.owner, "SELECT DISTINCT name, what FROM ran_by") == []


def test_migrate_and_doctor_warn_if_others_may_create_objects_in_the_schema(
    database_url: str,
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    remedy = "run REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    done = CliRunner().invoke(main, ["db", "migrate", "--database-url", database_url])
    assert done.exit_code == 0
    assert "PUBLIC may create objects in schema public" in done.stderr
    assert remedy in done.stderr
    assert remedy in CliRunner().invoke(main, ["doctor", "--database-url", database_url]).stdout
    with psycopg.connect(database_url) as connection:
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        connection.execute("CREATE ROLE planter")
        connection.execute("CREATE FUNCTION sum(text) RETURNS text LANGUAGE sql AS 'SELECT $1'")
        connection.execute("GRANT CREATE ON SCHEMA public TO planter")
        connection.execute("ALTER FUNCTION sum(text) OWNER TO planter")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM planter")
    output = CliRunner().invoke(main, ["doctor", "--database-url", database_url]).stdout
    assert "functions or operators named like built-in ones: sum(text) of planter" in output
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP OWNED BY planter")
        connection.execute("DROP ROLE planter")


def test_doctor_names_a_bound_reader_that_became_a_writer(roles: Roles) -> None:
    name = roles.login("tenant", roles.reader)
    bind_reader(roles.owner, name, ["acme"])
    with psycopg.connect(roles.owner) as connection:
        connection.execute(f'GRANT "{roles.writer}" TO "{name}"'.encode())
    output = CliRunner().invoke(main, ["doctor", "--database-url", roles.owner]).stdout
    assert "bound readers have other access to calls" in output
    assert f"it is a member of {roles.writer}, which may do more than read" in output


def test_an_encoding_that_cannot_store_every_character_is_a_warning(postgres_server: str) -> None:
    url = f"{postgres_server.rpartition('/')[0]}/latin_names"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(
            "CREATE DATABASE latin_names ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
        )
        try:
            for words in (["db", "migrate"], ["doctor"]):
                done = CliRunner().invoke(main, [*words, "--database-url", url])
                assert "encoding is LATIN1" in done.output, words
        finally:
            connection.execute("DROP DATABASE latin_names WITH (FORCE)")
