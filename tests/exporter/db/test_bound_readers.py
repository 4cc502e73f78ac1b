"""A reader sees the organizations it is bound to, and nothing if it is not bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql

from support.database_roles import fill, refusal, roles_of
from support.ledger_rows import ask
from tokenledger_exporter.cli import main
from tokenledger_exporter.db.roles import bind_reader, create_roles
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.maintenance.retention import set_retention
from tokenledger_exporter.queries import TokenLedgerQueries
from tokenledger_exporter.rollups.refresh import refresh

if TYPE_CHECKING:
    from collections.abc import Generator

    from typing_extensions import LiteralString

    from support.database_roles import Roles

SEEN = "SELECT DISTINCT organization_id FROM token_ledger_events ORDER BY 1"
ALL = [("",), ("acme",), ("globex",)]


@pytest.fixture
def roles(database_url: str) -> Generator[Roles]:
    fill(database_url)
    with roles_of(database_url) as new_roles:
        yield new_roles


def test_an_unbound_reader_is_refused(roles: Roles) -> None:
    url = roles.url(roles.login("new", roles.reader))
    for statement in (SEEN, "SELECT * FROM token_ledger_daily_costs", "TABLE token_ledger_losses"):
        assert "bound to no organization" in refusal(url, statement), statement
    for words in (["db", "migrate"], ["doctor"]):
        output = CliRunner().invoke(main, [*words, "--database-url", roles.owner]).output
        assert f"{roles.logins[-1]} may read but is not bound to an organization" in output, words
    done = CliRunner().invoke(main, ["report", "--by", "model", "--database-url", url])
    assert done.exit_code == 1
    assert "is bound to no organization" in done.stderr


def test_a_reader_can_be_bound_to_all_organizations(roles: Roles) -> None:
    name = roles.login("auditor", roles.reader)
    words = ["db", "roles", "--reader", name, "--all", "--database-url", roles.owner]
    assert CliRunner().invoke(main, words).stdout == f"{name} sees all organizations\n"
    assert ask(roles.url(name), SEEN) == ALL
    assert ask(roles.url(name), "SELECT sum(records) FROM token_ledger_losses") == [(3,)]


def test_a_login_of_a_bound_group_is_bound(roles: Roles) -> None:
    group = roles.login("group", roles.reader, options="NOLOGIN")
    inner = roles.login("inner", group, options="NOLOGIN")
    bind_reader(roles.owner, group, ["acme"])
    url = roles.url(roles.login("member", inner))
    assert ask(url, SEEN) == [("acme",)]
    assert ask(url, "SELECT count(*) FROM token_ledger_repricings") == [(1,)]


def test_a_renamed_reader_stays_bound(roles: Roles) -> None:
    name = roles.login("before", roles.reader)
    bind_reader(roles.owner, name, ["acme"])
    renamed = f"{name} \"odd'"
    with psycopg.connect(roles.owner) as connection:
        rename = sql.SQL("ALTER ROLE {} RENAME TO {}")
        connection.execute(rename.format(sql.Identifier(name), sql.Identifier(renamed)))
        # Renaming clears a password that is hashed with the role's name.
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD 'pw'").format(sql.Identifier(renamed)))
    roles.logins[-1] = renamed
    assert ask(roles.url(renamed), SEEN) == [("acme",)]
    assert bind_reader(roles.owner, renamed, ["globex"]).organizations == ("acme", "globex")
    # A new role with the old name is not bound.
    again = roles.login("before", roles.reader)
    assert "bound to no organization" in refusal(roles.url(again), SEEN)


def test_an_organization_wins_over_a_group_that_sees_all(roles: Roles) -> None:
    """The role that all readers share sees all organizations; a bound tenant in it does not."""
    bind_reader(roles.owner, roles.reader, [], to_all=True)
    everybody = roles.url(roles.login("any", roles.reader))
    assert ask(everybody, SEEN) == ALL
    tenant = roles.login("tenant", roles.reader)
    bind_reader(roles.owner, tenant, ["acme"])
    group = roles.login("group", roles.reader, options="NOLOGIN")
    bind_reader(roles.owner, group, ["globex"])
    member = roles.login("member", group)
    for name, sees in ((tenant, "acme"), (member, "globex")):
        assert ask(roles.url(name), SEEN) == [(sees,)]
        with psycopg.connect(roles.url(name)) as connection:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(roles.reader)))
            assert connection.execute(SEEN.encode()).fetchall() == [(sees,)]


def test_one_login_that_acts_as_each_tenant_sees_that_tenant(roles: Roles) -> None:
    """Like PostgREST: the login is a member of every tenant's role and inherits from none."""
    tenants: dict[str, str] = {}
    for organization in ("acme", "globex"):
        tenants[organization] = roles.login(organization, roles.reader, options="NOLOGIN")
        bind_reader(roles.owner, tenants[organization], [organization])
    unbound = roles.login("unbound", roles.reader, options="NOLOGIN")
    login = roles.login("api", *tenants.values(), unbound, options="LOGIN PASSWORD 'pw' NOINHERIT")
    with psycopg.connect(roles.url(login)) as connection:
        for organization, role in tenants.items():
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            assert connection.execute(SEEN.encode()).fetchall() == [(organization,)]
    assert "bound to no organization" in refusal(roles.url(login), f'SET ROLE "{unbound}"; {SEEN}')


def test_a_role_with_other_access_to_calls_cannot_be_bound(roles: Roles) -> None:
    group = roles.login("g", roles.writer, options="NOLOGIN")
    ways: dict[str, tuple[str, LiteralString]] = {
        "writer": (roles.writer, "LOGIN PASSWORD 'pw'"),
        "writer_by_group": (group, "LOGIN PASSWORD 'pw'"),
        "writer_by_set_role": (roles.writer, "LOGIN PASSWORD 'pw' NOINHERIT"),
        "keeper": (roles.keeper, "LOGIN PASSWORD 'pw'"),
        "everything": ("pg_read_all_data", "LOGIN PASSWORD 'pw'"),
        "owner": ("postgres", "LOGIN PASSWORD 'pw'"),
        "superuser": (roles.reader, "LOGIN SUPERUSER PASSWORD 'pw'"),
        "bypass": (roles.reader, "LOGIN BYPASSRLS PASSWORD 'pw'"),
    }
    for way, (role, options) in ways.items():
        name = roles.login(way, role, roles.reader, options=options)
        with pytest.raises(InvalidRequestError, match="other access to calls"):
            bind_reader(roles.owner, name, ["acme"])
    direct = roles.login("direct", roles.reader)
    with psycopg.connect(roles.owner) as connection:
        leaf = "SELECT inhrelid::regclass::text FROM pg_inherits ORDER BY 1 LIMIT 1"
        [(partition,)] = connection.execute(leaf).fetchall()
        connection.execute(f'GRANT SELECT ON {partition} TO "{direct}"'.encode())
    with pytest.raises(InvalidRequestError, match="other access to calls"):
        bind_reader(roles.owner, direct, ["acme"])
    assert ask(roles.owner, "SELECT count(*) FROM token_ledger_reader_organizations") == [(0,)]


def test_binding_reads_as_the_role_and_reports_what_it_sees(roles: Roles) -> None:
    name = roles.login("tenant", roles.reader)
    assert bind_reader(roles.owner, name, ["acme"]).sentence == f"{name} can see only calls of acme"
    bound = bind_reader(roles.owner, name, ["newco"])
    assert bound.sentence == f"{name} can see only calls of acme; no calls of newco yet"
    # A policy created manually lets the reader see everything.
    with psycopg.connect(roles.owner) as connection:
        policy = f'CREATE POLICY open ON token_ledger_events FOR SELECT TO "{name}" USING (true)'
        connection.execute(policy.encode())
    with pytest.raises(InvalidRequestError, match="sees more than acme, globex, newco"):
        bind_reader(roles.owner, name, ["globex"])
    stranger = roles.login("stranger")
    with pytest.raises(InvalidRequestError, match="cannot read calls"):
        bind_reader(roles.owner, stranger, ["acme"])
    bindings = "SELECT organization_id FROM token_ledger_reader_organizations ORDER BY 1"
    assert ask(roles.owner, bindings) == [("acme",), ("newco",)]


def test_a_binding_that_the_owner_cannot_verify_says_why(roles: Roles) -> None:
    owner = roles.login("owner", options="LOGIN PASSWORD 'pw' CREATEROLE")
    name = roles.login("tenant", roles.reader)
    with psycopg.connect(roles.owner) as connection:
        for table in ("events", "reader_organizations", "rollup_days", "rollup_hours", "losses"):
            change = sql.SQL("ALTER TABLE {} OWNER TO {}")
            connection.execute(
                change.format(sql.Identifier(f"token_ledger_{table}"), sql.Identifier(owner))
            )
    bound = bind_reader(roles.url(owner), name, ["acme"])
    assert "is bound to acme; not verified: this user may not act as" in bound.sentence
    with psycopg.connect(roles.owner) as connection:
        connection.execute(f'REASSIGN OWNED BY "{owner}" TO postgres'.encode())


def test_a_bound_reader_sees_no_names_of_others(roles: Roles) -> None:
    """Losses name apps, roll-ups name users, and the archive's folder names a machine's path."""
    name = roles.login("tenant", roles.reader)
    bind_reader(roles.owner, name, ["acme"])
    set_retention(roles.owner, "2y", "/srv/archive-of-everybody")
    with psycopg.connect(roles.owner, autocommit=True) as connection:
        refresh(connection)
    url = roles.url(name)
    assert ask(url, "SELECT count(*) FROM token_ledger_losses") == [(0,)]
    assert ask(url, "SELECT sum(lost) FROM token_ledger_coverage") == [(0,)]
    for level in ("slices", "hours", "days", "weeks"):
        assert ask(url, f"SELECT count(*) FROM token_ledger_rollup_{level}") == [(0,)]
    assert refusal(url, "SELECT archive_to FROM token_ledger_retention")
    assert refusal(url, "SELECT changed_by FROM token_ledger_retention")
    assert ask(url, "SELECT token_ledger_horizon() IS NULL") == [(False,)]
    assert TokenLedgerQueries(url).get_cost_summary().total_requests == 1


def test_policies_of_an_earlier_release_still_hide_the_rows_of_unbound_readers(
    database_url: str,
) -> None:
    """Without recreating the roles, the old policies fail closed."""
    fill(database_url)
    with roles_of(database_url) as roles, psycopg.connect(database_url) as connection:
        unbound, tenant = (roles.login(name, roles.reader) for name in ("new", "tenant"))
        for table in ("token_ledger_events", "token_ledger_losses"):
            connection.execute(f"DROP POLICY {roles.reader} ON {table}".encode())
        connection.execute(
            f"CREATE POLICY {roles.reader} ON token_ledger_events FOR SELECT TO {roles.reader}"
            " USING ((SELECT token_ledger_readable_organizations(current_user)) IS NULL"
            " OR organization_id = ANY("
            "(SELECT token_ledger_readable_organizations(current_user))::text[]))".encode()
        )
        bind = "INSERT INTO token_ledger_reader_organizations (role, organization_id)"
        connection.execute(f"{bind} VALUES ('{tenant}', 'acme')".encode())
        connection.commit()
        assert "bound to no organization" in refusal(roles.url(unbound), SEEN)
        assert ask(roles.url(tenant), SEEN) == [("acme",)]


def test_roles_are_refused_while_the_schema_is_open(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    with pytest.raises(Exception, match="PUBLIC may create objects in schema public"):
        create_roles(database_url, "open_schema")
    words = ["db", "roles", "--prefix", "open_schema", "--database-url", database_url]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert "REVOKE CREATE ON SCHEMA public FROM PUBLIC" in done.stderr
    assert ask(database_url, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'open_%'") == [(0,)]
