"""URLs of other tools are understood, and a wrong part of one is named without its secrets."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tokenledger_exporter.cli import main
from tokenledger_exporter.db.connection import connect, fingerprint
from tokenledger_exporter.db.database_url import libpq_url
from tokenledger_exporter.errors import DatabaseUnreachableError, DatabaseUrlError

PLAIN = "postgresql://u:p@h:5433/db"


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u:p@h:5433/db",
        "postgresql+asyncpg://u:p@h:5433/db",
        "postgresql+psycopg2://u:p@h:5433/db",
        "postgresql+psycopg://u:p@h:5433/db",
        "postgres+pg8000://u:p@h:5433/db",
        "POSTGRESQL://u:p@h:5433/db",
        "  postgresql://u:p@h:5433/db\n",
        '"postgresql://u:p@h:5433/db"',
        "' postgresql://u:p@h:5433/db '",
        "postgresql://u:p@h:5433/db?schema=public",
        "postgresql://u:p@h:5433/db?pgbouncer=true&connection_limit=1",
        "postgresql+asyncpg://u:p@h:5433/db?prepared_statement_cache_size=0",
    ],
)
def test_a_url_of_another_tool_is_the_same_ledger(url: str) -> None:
    assert conninfo_to_dict(libpq_url(url)) == conninfo_to_dict(PLAIN)
    assert fingerprint(url) == fingerprint(PLAIN)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("schema=tenant_a", {"options": "-csearch_path=tenant_a"}),
        (
            "options=-cstatement_timeout%3D5&schema=a",
            {"options": "-cstatement_timeout=5 -csearch_path=a"},
        ),
        ("ssl=require", {"sslmode": "require"}),
        ("ssl=true&pgbouncer=true", {"sslmode": "require"}),
        ("sslmode=no-verify", {"sslmode": "require"}),
        (
            "sslmode=verify-full&connect_timeout=3",
            {"sslmode": "verify-full", "connect_timeout": "3"},
        ),
    ],
)
def test_parameters_of_another_tool_keep_their_meaning(
    query: str, expected: dict[str, str]
) -> None:
    parts = conninfo_to_dict(libpq_url(f"{PLAIN}?{query}"))
    assert {name: parts[name] for name in expected} == expected
    assert conninfo_to_dict(PLAIN).items() <= parts.items()


def test_a_connection_string_without_a_scheme_is_left_as_it_is() -> None:
    assert libpq_url("host=h dbname=db password='a ? b'") == "host=h dbname=db password='a ? b'"


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("canary:canary@h/db", "it does not begin with postgresql://"),
        ("mysql://canary:canary@h/db", "it begins with mysql://, and the ledger needs Postgres"),
        ("postgresql://u:canary%@h/db", "its user name or password contains %; write it as %25"),
        ("postgresql://u:canary@[::1/db", "its host has [ without ]"),
        ("postgresql://u:canary@h/db?poolSize=3", "no connection parameter 'poolSize'; remove it"),
        ("postgresql://u:canary@127.0.0.1:1/db?sslmode=on", "sslmode must be disable, allow"),
        ("postgresql://u:canary@127.0.0.1:1/db?connect_timeout=x", "connect_timeout must be a num"),
        ("postgresql://u:canary@canary@127.0.0.1:1/db", "contains @, : or /: write them as %40"),
        ("postgresql://u:canary/canary@127.0.0.1:1/db", "contains @, : or /: write them as %40"),
    ],
)
def test_the_wrong_part_of_a_url_is_named_and_is_a_usage_error(url: str, fault: str) -> None:
    with pytest.raises(DatabaseUrlError) as caught:
        connect(url)
    assert fault in str(caught.value)
    assert "canary" not in str(caught.value)
    # A script that waits for the database also waits for a better URL.
    assert isinstance(caught.value, DatabaseUnreachableError)
    result = CliRunner().invoke(main, ["report"], env={"TOKENLEDGER_DATABASE_URL": url})
    assert result.exit_code == 2
    assert fault in result.stderr


def test_a_database_that_does_not_exist_is_named_with_the_command_that_creates_it(
    database_url: str,
) -> None:
    parts = conninfo_to_dict(database_url)
    url = make_conninfo(database_url, dbname="nowhere")
    with pytest.raises(DatabaseUnreachableError) as caught:
        connect(url)
    assert (
        f"create it with 'createdb -h {parts['host']} -p {parts['port']} nowhere', then run "
        "'tokenledger db migrate'"
    ) in str(caught.value)


def test_a_ledger_is_read_through_the_url_of_an_orm(database_url: str) -> None:
    url = database_url.replace("postgresql://", "postgresql+asyncpg://") + "?pgbouncer=true"
    result = CliRunner().invoke(main, ["report"], env={"TOKENLEDGER_DATABASE_URL": f" '{url}' "})
    assert (result.exit_code, result.stderr) == (0, "tokenledger: no calls match\n")
