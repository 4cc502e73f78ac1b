"""Every grant and every denial, with real logins; readers that see one organization."""

from __future__ import annotations

import itertools
import os
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import psycopg
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from psycopg import errors as pg_errors
from psycopg import sql
from psycopg.conninfo import make_conninfo

from support.call_reports import OTHER, OURS, CallReport
from support.ledger_rows import ask, chat_attributes, row
from tokenledger_exporter.cli import main
from tokenledger_exporter.db.roles import create_roles, script
from tokenledger_exporter.errors import InvalidRequestError, SchemaError
from tokenledger_exporter.maintenance.deduplicate import deduplicate_marked
from tokenledger_exporter.maintenance.erase import erase
from tokenledger_exporter.maintenance.install import migrate
from tokenledger_exporter.maintenance.maintaining_writer import MaintainingWriter
from tokenledger_exporter.maintenance.purge import purge
from tokenledger_exporter.maintenance.retention import run_retention, set_retention
from tokenledger_exporter.maintenance.runner import MaintenanceRunner
from tokenledger_exporter.queries import TokenLedgerQueries
from tokenledger_exporter.rollups.refresh import refresh
from tokenledger_exporter.store.partitions import make_months_ahead
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

ONE_CALL: Final = Decimal("0.0035")  # gpt-4o: 1,000 x 2.50/M + 100 x 10/M
NOW: Final = datetime.now(timezone.utc)
VIEWS: Final = "SELECT viewname FROM pg_views WHERE schemaname = 'public' ORDER BY 1"
TABLES: Final = (
    "SELECT oid::regclass::text, relispartition FROM pg_class WHERE relkind IN ('r', 'p')"
    " AND relname LIKE 'token_ledger_%' AND relnamespace = 'public'::regnamespace ORDER BY 1"
)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Logins:
    """Connection strings of a ledger, for its owner and for a login of each role."""

    prefix: str
    owner: str
    writer: str
    keeper: str
    reader: str
    bound: str


@pytest.fixture
def logins(database_url: str) -> Generator[Logins]:
    prefix = f"t{os.getpid()}_{next(_numbers)}"
    names = create_roles(database_url, prefix)
    users = [f"{name}_login" for name in (*names, f"{prefix}_bound")]
    urls = [make_conninfo(database_url, user=name, password="pw") for name in users]
    with psycopg.connect(database_url) as connection:
        for name, role in zip(users, (*names, names[2]), strict=True):
            identifiers = (sql.Identifier(name), sql.Identifier(role))
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'pw' IN ROLE {}").format(*identifiers)
            )
        bind = "INSERT INTO token_ledger_reader_organizations VALUES (%s, %s, now(), %s)"
        connection.execute(bind, (users[3], "acme", False))
        connection.execute(bind, (users[2], "", True))
    yield Logins(prefix, database_url, *urls)
    drop(database_url, (*users, *names))


def drop(database_url: str, names: Iterable[str]) -> None:
    with psycopg.connect(database_url) as connection:
        for name in names:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def leaf(timestamp: datetime = NOW) -> str:
    return f"token_ledger_events_{timestamp:%Y_%m}"


def is_refused(database_url: str, statement: str) -> bool:
    """Whether the statement fails for a missing privilege."""
    with psycopg.connect(database_url) as connection:
        try:
            connection.execute(statement.encode())
        except pg_errors.InsufficientPrivilege:
            return True
        connection.rollback()
        return False


def fill(database_url: str) -> None:
    """Write a call of acme, one of globex and one without organization, each with a repricing."""
    writer = MaintainingWriter(database_url)
    organization = attributes.ORGANIZATION_ID
    writer.write([row(chat_attributes() | {organization: of}) for of in ("acme", "globex", "")])
    writer.close()
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_repricings (event_id, reason)"
            " SELECT event_id, 'test' FROM token_ledger_events"
        )


def test_a_writer_can_do_all_the_work_of_a_writer(logins: Logins) -> None:
    writer = MaintainingWriter(logins.writer)
    one = row()
    long_ago = replace(row(), timestamp=NOW - timedelta(days=800))
    refused = replace(row(), timestamp=datetime(2014, 1, 1, tzinfo=timezone.utc))
    # The month 800 days ago has no partition; the writer may create it.
    assert writer.write([one, long_ago]).stored == 2
    assert writer.write([replace(one, usage_hash=b"other"), refused]).conflicting == 1
    sent = replace(row(), cost_usd=None, cost_status="unmeasured", usage_hash=b"sent")
    writer.write([sent])
    measured = replace(one, event_id=sent.event_id, timestamp=sent.timestamp)
    assert writer.write([measured]).stored == 1
    inner = CallReport()
    outer = inner.around()
    assert writer.write([inner.within(outer).row]).stored == 1
    assert writer.write([outer.row]).unsettled == 1
    writer.deduplicate()
    writer.count_loss("app", "test", 1)
    writer.close()
    assert ask(logins.owner, "SELECT count(*) FROM token_ledger_events") == [(5,)]
    assert ask(logins.owner, "SELECT count(*) FROM token_ledger_rejected") == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE token_ledger_events SET cost_usd = 0",
        f"UPDATE {leaf()} SET cost_usd = 0",
        "TRUNCATE token_ledger_events",
        f"DROP TABLE {leaf()}",
        "SELECT event FROM token_ledger_rejected",
        "SELECT event FROM token_ledger_conflicts",
        "DELETE FROM token_ledger_duplicates",
        "DELETE FROM token_ledger_dirty_minutes",
        "INSERT INTO token_ledger_prices SELECT * FROM token_ledger_prices",
        "SELECT * FROM token_ledger_repricings",
        "SELECT * FROM token_ledger_audit_log",
        "INSERT INTO token_ledger_audit_log (action) VALUES ('x')",
        "INSERT INTO token_ledger_erasures VALUES ('', '')",
        "DELETE FROM token_ledger_retention",
        "SELECT * FROM token_ledger_reader_organizations",
        "INSERT INTO token_ledger_migrations VALUES ('x', 'x')",
        "SELECT token_ledger_revoke_api_roles()",
    ],
)
def test_a_writer_may_not(logins: Logins, statement: str) -> None:
    assert is_refused(logins.writer, statement)


def test_a_keeper_gives_a_row_the_reported_cost_of_its_duplicate_and_records_why(
    logins: Logins,
) -> None:
    unknown = {
        attributes.REQUEST_MODEL: "no/such-model",
        attributes.PROVIDER_NAME: "openrouter",
    }
    ours = CallReport(more=unknown)
    reported = {attributes.REPORTED_COST: "0.25", attributes.COST_SOURCE: "usage.cost"}
    writer = MaintainingWriter(logins.writer)
    writer.write([ours.row])
    assert writer.write([ours.around(more={**unknown, **reported}).row]).unsettled == 1
    writer.close()
    with psycopg.connect(logins.keeper) as connection:
        assert deduplicate_marked(connection).moved == 1
    costs = "SELECT cost_usd, cost_status FROM token_ledger_events"
    assert ask(logins.owner, costs) == [(Decimal("0.25"), "reported")]
    reason = "another report of the call has the cost that the provider reports"
    changes = "SELECT old_cost_status, new_cost_status, reason FROM token_ledger_repricings"
    assert ask(logins.owner, changes) == [("unpriced", "reported", reason)]


def test_a_keeper_can_do_all_the_work_of_a_keeper(logins: Logins) -> None:
    fill(logins.owner)
    writer = MaintainingWriter(logins.writer)
    inner = CallReport()
    writer.write([inner.row])
    assert writer.write([inner.around().row]).unsettled == 1
    writer.close()
    month = leaf(NOW.replace(day=1) + timedelta(days=62))
    with psycopg.connect(logins.owner) as connection:
        connection.execute(f"DROP TABLE {month}".encode())
    with psycopg.connect(logins.keeper) as connection:
        assert deduplicate_marked(connection).moved == 1
    with psycopg.connect(logins.keeper, autocommit=True) as connection:
        assert make_months_ahead(connection) == ""
    assert is_refused(logins.reader, f"SELECT * FROM {month}")
    assert not is_refused(logins.writer, f"SELECT * FROM {month}")
    assert purge(logins.keeper, organization="globex").repricings == 1
    assert erase(logins.keeper, "unknown").events == 0
    for words in (["reprice", "--since", "7d"], ["prices", "update"], ["keep"]):
        done = CliRunner().invoke(main, [*words, "--database-url", logins.keeper])
        assert done.exit_code == 0, (words, done.stderr)
    # Only the owner of the tables may drop months.
    set_retention(logins.keeper, "1mo")
    writer = MaintainingWriter(logins.owner)
    writer.close()
    old = (NOW.replace(day=1) - timedelta(days=40)).date()
    with psycopg.connect(logins.owner) as connection:
        connection.execute("SELECT token_ledger_add_partitions(%s, %s)", (old, old))
    with pytest.raises(SchemaError):
        run_retention(logins.keeper)


@pytest.mark.parametrize(
    "statement",
    [
        f"DROP TABLE {leaf()}",
        "TRUNCATE token_ledger_events",
        "ALTER TABLE token_ledger_events DISABLE ROW LEVEL SECURITY",
        "DELETE FROM token_ledger_audit_log",
        "UPDATE token_ledger_audit_log SET action = ''",
        "INSERT INTO token_ledger_migrations VALUES ('x', 'x')",
        "SELECT * FROM token_ledger_reader_organizations",
        "SELECT token_ledger_revoke_api_roles()",
    ],
)
def test_a_keeper_may_not(logins: Logins, statement: str) -> None:
    assert is_refused(logins.keeper, statement)


def test_a_reader_reads_reports_and_every_view(logins: Logins) -> None:
    fill(logins.owner)
    summary = TokenLedgerQueries(logins.reader).get_cost_summary()
    assert summary.total_cost == 3 * ONE_CALL
    for (view,) in ask(logins.owner, VIEWS):
        ask(logins.reader, f"SELECT * FROM {view}")
    words = ("report", "--as-of", "now", "--database-url", logins.reader)
    assert CliRunner().invoke(main, words).exit_code == 0
    assert (
        CliRunner().invoke(main, ["db", "status", "--database-url", logins.reader]).exit_code == 0
    )


@pytest.mark.parametrize(
    "table",
    [
        *(
            "duplicates",
            "conflicts",
            "rejected",
            "dirty_minutes",
            "parents",
            "audit_log",
            "erasures",
        ),
        *("reader_organizations", f"events_{NOW:%Y_%m}"),
    ],
)
def test_a_reader_may_not_read(logins: Logins, table: str) -> None:
    assert is_refused(logins.reader, f"SELECT * FROM token_ledger_{table}")


def test_a_reader_changes_nothing(logins: Logins) -> None:
    for name, _ in ask(logins.owner, TABLES):
        for statement in (f"DELETE FROM {name}", f"INSERT INTO {name} DEFAULT VALUES"):
            assert is_refused(logins.reader, statement), statement
    add = "SELECT token_ledger_add_partitions('2026-01-01', '2026-01-01')"
    assert is_refused(logins.reader, add)


def test_a_bound_reader_sees_only_its_organization(logins: Logins) -> None:
    fill(logins.owner)
    queries = TokenLedgerQueries(logins.bound)
    assert [group.labels for group in queries.get_costs_by("organization").rows] == [("acme",)]
    assert queries.get_cost_summary().total_cost == ONE_CALL
    assert len(queries.fetch_raw().events) == 1
    assert ask(logins.bound, "SELECT count(*) FROM token_ledger_repricings") == [(1,)]
    for (view,) in ask(logins.owner, VIEWS):
        if view not in {
            *("token_ledger_suspected_duplicates", "token_ledger_rollup_stale"),
            *("token_ledger_organization_losses", "token_ledger_cost_differences"),
            "token_ledger_budget_status",
        }:
            assert ask(logins.bound, f"SELECT sum(calls) FROM {view}") == [(1,)], view
    # Neither assuming the role that all readers share nor a setting shows more.
    role = f"{logins.prefix}_reader"
    escapes = (
        f"SET ROLE {role}",
        "SET tokenledger.organization = 'globex'",
        "SET tokenledger.organization = ''",
        "SET row_security = off",
    )
    seen = "SELECT count(*) FILTER (WHERE organization_id <> 'acme') FROM token_ledger_events"
    for escape in escapes:
        with psycopg.connect(logins.bound) as connection:
            connection.execute(escape.encode())
            try:
                assert connection.execute(seen.encode()).fetchall() == [(0,)], escape
            except pg_errors.InsufficientPrivilege:
                assert escape == "SET row_security = off"
    for name, is_partition in ask(logins.owner, TABLES):
        if is_partition:
            assert is_refused(logins.bound, f"SELECT * FROM {name}")


def test_a_bound_reader_gets_sums_of_its_own_rows_and_not_the_roll_ups(logins: Logins) -> None:
    """Roll-ups include all organizations, so a reader of one organization sees none of them."""
    fill(logins.owner)
    with psycopg.connect(logins.keeper, autocommit=True) as connection:
        assert refresh(connection).slices
    with psycopg.connect(logins.owner) as connection:
        connection.execute("UPDATE token_ledger_rollup_days SET calls = 100, priced = 100")
    everything = "SELECT sum(calls) FROM token_ledger_daily_costs"
    narrowed = make_conninfo(logins.reader, options="-c tokenledger.organization=acme")
    assert ask(logins.reader, everything) == [(100,)], "the changed roll-up"
    for login in (logins.bound, narrowed):
        assert ask(login, everything) == [(1,)]
        assert TokenLedgerQueries(login).get_cost_summary().total_requests == 1
        for table in ("slices", "hours", "days", "state", "dirty_slices"):
            assert ask(login, f"SELECT count(*) FROM token_ledger_rollup_{table}") == [(0,)], table
    for login in (logins.writer, logins.reader):
        assert is_refused(login, "DELETE FROM token_ledger_rollup_days")
        assert is_refused(login, "UPDATE token_ledger_rollup_state SET since = 'infinity'")


def test_a_keeper_leaves_old_months_to_the_owner(logins: Logins) -> None:
    with closing(MaintainingWriter(logins.owner)) as writer:
        writer.write([replace(row(), timestamp=NOW - timedelta(days=200))])
    set_retention(logins.owner, "2mo")
    with MaintenanceRunner(logins.keeper) as keeper:
        done = keeper.round()
    assert done.months == []
    assert [trouble for trouble in done.troubles if "as the tables' owner" in trouble]
    assert done.rolled_up.hours == 1
    with MaintenanceRunner(logins.owner) as keeper:
        assert len(keeper.round().months) == 1


def test_the_command_binds_a_reader(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(logins.owner)
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", logins.owner)

    def bind(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["db", "roles", *words])
        return done.exit_code, done.stdout or done.stderr

    reader = f"{logins.prefix}_reader_login"
    seen = "SELECT DISTINCT organization_id FROM token_ledger_events ORDER BY 1"
    assert len(ask(logins.reader, seen)) == 3
    output = f"{reader} can see only calls of globex\n"
    assert bind("--reader", reader, "--organization", "globex") == (0, output)
    assert ask(logins.reader, seen) == [("globex",)]
    assert bind("--reader", reader, "--organization", "acme")[1].endswith("acme, globex\n")
    assert "role 'x' does not exist" in bind("--reader", "x", "--organization", "acme")[1]
    assert bind("--reader", reader)[0] == 2


def test_a_setting_narrows_any_reader(logins: Logins) -> None:
    fill(logins.owner)
    narrowed = make_conninfo(logins.reader, options="-c tokenledger.organization=globex")
    report = TokenLedgerQueries(narrowed).get_costs_by("organization")
    assert [group.labels for group in report.rows] == [("globex",)]
    assert ask(narrowed, "SELECT count(*) FROM token_ledger_repricings") == [(1,)]


def test_a_role_a_web_api_acts_as_can_be_bound(logins: Logins) -> None:
    """Like PostgREST: one login assumes the role of each requester."""
    fill(logins.owner)
    role, login = f"{logins.prefix}_reader", logins.reader
    with psycopg.connect(logins.owner) as connection:
        connection.execute(
            "INSERT INTO token_ledger_reader_organizations VALUES (%s, 'globex')", (role,)
        )
    with psycopg.connect(login) as connection:
        connection.execute(f"SET ROLE {role}".encode())
        rows = connection.execute("SELECT organization_id FROM token_ledger_events").fetchall()
    assert rows == [("globex",)]
    with psycopg.connect(logins.bound) as connection:
        # A reader cannot look up the bindings of a role that it is not a member of.
        readable = "SELECT token_ledger_readable_organizations(%s)"
        [(organizations,)] = connection.execute(readable, (f"{logins.prefix}_writer",)).fetchall()
    assert organizations == ["acme"]


def test_roles_can_be_created_again_and_by_a_script(logins: Logins) -> None:
    fill(logins.owner)
    create_roles(logins.owner, logins.prefix)
    printed = CliRunner().invoke(main, ["db", "roles", "--sql", "--prefix", logins.prefix]).stdout
    assert printed == script(logins.prefix)
    with psycopg.connect(logins.owner, autocommit=True) as connection:
        connection.execute(printed.encode())
    assert TokenLedgerQueries(logins.reader).get_cost_summary().total_requests == 3
    assert TokenLedgerQueries(logins.bound).get_cost_summary().total_requests == 1


@pytest.mark.parametrize("prefix", ["", "A", "a-b", "a b", "1a", "x" * 41, "a'; --", "é"])
def test_an_invalid_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidRequestError, match="prefix"):
        script(prefix)


def test_the_public_roles_of_a_web_api_have_no_access(empty_database_url: str) -> None:
    public = ("anon", "authenticated")
    with psycopg.connect(empty_database_url) as connection:
        for name in public:
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'pw'".encode())
            # Like Supabase: new objects in schema public are granted to these roles.
            for kind in ("TABLES", "FUNCTIONS"):
                grant = f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON {kind} TO {name}"
                connection.execute(grant.encode())
    try:
        migrate(empty_database_url)
        writer = MaintainingWriter(empty_database_url)
        long_ago = replace(row(), timestamp=NOW - timedelta(days=800))
        assert writer.write([row(), long_ago]).stored == 2
        writer.close()
        tables = ask(empty_database_url, TABLES)
        assert (leaf(NOW - timedelta(days=800)), True) in tables
        for name in public:
            url = make_conninfo(empty_database_url, user=name, password="pw")
            for table in (*tables, *ask(empty_database_url, VIEWS)):
                assert is_refused(url, f"SELECT * FROM {table[0]}"), table
            assert is_refused(url, "SELECT token_ledger_add_partitions('2026-01-01', '2026-01-01')")
        secured = "SELECT bool_and(relrowsecurity) FROM pg_class WHERE relkind IN ('r', 'p')"
        named = " AND relname LIKE 'token_ledger_%' AND NOT relispartition"
        assert ask(empty_database_url, secured + named) == [(True,)]
    finally:
        drop(empty_database_url, public)


def test_a_bound_reader_sees_losses_and_duplicates_of_its_own_organization(logins: Logins) -> None:
    with closing(MaintainingWriter(logins.owner)) as writer:
        for organization, records in (("acme", 7), ("globex", 5), ("", 3)):
            writer.count_loss("shop", "no ids", records, organization)
            response_id = f"a-response-to-a-call-of-{organization or 'the-operator'}"
            attribution = {attributes.ORGANIZATION_ID: organization}
            for scope in (OURS, OTHER):
                report = CallReport(scope=scope, response_id=response_id, more=attribution)
                writer.write([report.row])
    with psycopg.connect(logins.owner) as connection:
        deduplicate_marked(connection)
    losses = "SELECT organization_id, lost FROM token_ledger_organization_losses"
    assert ask(logins.bound, losses) == [("acme", 7)]
    assert ask(logins.bound, "SELECT sum(records) FROM token_ledger_losses") == [(7,)]
    totals = "SELECT token_ledger_duplicate_totals(current_user::text, '-infinity', 'infinity')"
    assert ask(logins.bound, totals) == [({"reports": 1, "cost_usd": "0.0035000"},)]
    for login in (logins.owner, logins.writer, logins.keeper):
        assert ask(login, totals)[0][0]["reports"] == 3


def test_a_reader_cannot_take_a_lock_that_writers_need(logins: Logins) -> None:
    take = "SELECT token_ledger_take_lock(current_user::text, 'settle', false)"
    for login in (logins.reader, logins.bound):
        with pytest.raises(pg_errors.InsufficientPrivilege):
            ask(login, take)
        with pytest.raises(pg_errors.InsufficientPrivilege):
            ask(login, "SELECT FROM token_ledger_locks FOR UPDATE")
    for login in (logins.owner, logins.writer, logins.keeper):
        assert ask(login, take) == [(True,)]
    with psycopg.connect(logins.bound) as busy:
        for name in ("settle", "rollups"):
            key = f"hashtextextended('token_ledger_{name} public', 0)"
            busy.execute(f"SELECT pg_advisory_lock({key})".encode())
        with closing(MaintainingWriter(logins.writer)) as writer:
            assert writer.write([CallReport().row]).unsettled == 0


@pytest.mark.parametrize("role", ["writer", "keeper"])
def test_an_app_and_a_keeper_may_ask_what_calls_cost(logins: Logins, role: str) -> None:
    """An app asks with the login that it writes with; sums and views belong to the answer."""
    fill(logins.owner)
    url = getattr(logins, role)
    with TokenLedgerQueries(url) as queries:
        assert queries.get_cost_summary().total_cost == 3 * ONE_CALL
        assert queries.get_costs_by("user", limit=5).totals.calls == 3
    for (view,) in ask(logins.owner, VIEWS):
        if view != "token_ledger_suspected_duplicates":
            ask(url, f"SELECT count(*) FROM {view}")
    done = CliRunner().invoke(main, ["doctor", "--database-url", url])
    assert done.exit_code == 0, done.output


def test_a_tenant_that_lost_a_record_can_be_bound(logins: Logins) -> None:
    fill(logins.owner)
    with psycopg.connect(logins.owner) as connection:
        connection.execute(
            "INSERT INTO token_ledger_losses (reason, records, organization_id)"
            " VALUES ('too_old', 1, 'acme')"
        )
    login = f"{logins.prefix}_reader_login"
    words = ("db", "roles", "--prefix", logins.prefix, "--reader", login, "--organization", "acme")
    done = CliRunner().invoke(main, [*words, "--database-url", logins.owner])
    assert done.exit_code == 0, done.output
    assert ask(logins.reader, "SELECT organization_id FROM token_ledger_losses") == [("acme",)]


def test_a_tenant_that_sees_the_losses_of_another_is_not_bound(logins: Logins) -> None:
    with psycopg.connect(logins.owner) as connection:
        connection.execute(
            "INSERT INTO token_ledger_losses (reason, records, organization_id)"
            " VALUES ('too_old', 1, 'globex')"
        )
        connection.execute("ALTER TABLE token_ledger_losses DISABLE ROW LEVEL SECURITY")
    login = f"{logins.prefix}_reader_login"
    words = ("db", "roles", "--prefix", logins.prefix, "--reader", login, "--organization", "acme")
    done = CliRunner().invoke(main, [*words, "--database-url", logins.owner])
    assert done.exit_code == 2
    assert "sees more than acme" in done.output
