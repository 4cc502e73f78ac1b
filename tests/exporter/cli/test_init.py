"""`tokenledger init` writes settings: it asks in a terminal only, and never prints a password."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from support.command_line import run
from tokenledger_exporter.db.hosted import (
    HOSTS,
    app_url,
    host_of,
    migration_url,
    without_password,
)

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cr:et"
NEON = "postgresql://alex:s3cr%3Aet@ep-x-pooler.us-east-2.aws.neon.tech/db"
SUPABASE = "postgresql://postgres.ref:s3cr%3Aet@aws-0-eu.pooler.supabase.com:6543/postgres"
RDS = "postgresql://u:p@name.abc.eu-west-1.rds.amazonaws.com:5432/db"


@pytest.mark.parametrize("place", list(HOSTS))
def test_in_a_pipe_it_prints_a_script_and_asks_nothing(place: str) -> None:
    result = run("init", place)
    assert result.exit_code == 0
    settings, *comments = result.stdout.splitlines()
    assert settings.startswith("export TOKENLEDGER_DATABASE_URL=")
    assert HOSTS[place].example in settings
    assert all(line.startswith("# ") for line in comments)
    assert "#   tokenledger doctor" in comments
    assert ("'tokenledger db sql'" in result.stdout) == (place in {"supabase", "neon"})


def test_a_file_has_the_settings_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    result = run("init", "--database-url", NEON, "--env-file", str(file))
    assert result.exit_code == 0
    assert file.stat().st_mode & 0o077 == 0
    sourced = subprocess.run(
        ["sh", "-c", f'. "{file}"; printf %s "$TOKENLEDGER_DATABASE_URL"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert sourced.stdout == f"{NEON}?sslmode=require"
    for text in (result.stdout, result.stderr):
        assert "s3cr" not in text
    assert "--database-url 'postgresql://alex@ep-x.us-east-2.aws.neon.tech/db?sslmode=require'" in (
        result.stdout
    )


def test_a_file_that_exists_is_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("mine")
    result = run("init", "rds", "--env-file", str(file))
    assert result.exit_code == 2
    assert "exists and was not changed; use another --env-file" in result.stderr
    assert file.read_text() == "mine"


def test_without_a_file_the_password_is_left_out() -> None:
    result = run("init", "--database-url", SUPABASE)
    assert "s3cr" not in result.stdout + result.stderr
    shown = SUPABASE.replace(":s3cr%3Aet", "")
    assert result.stdout.splitlines()[:2] == [
        f"export TOKENLEDGER_DATABASE_URL='{shown}?sslmode=require'",
        "# The password is not printed: set PGPASSWORD to it, or put it into ~/.pgpass.",
    ]
    malformed = run("init", "--database-url", "mysql://u:s3cret@h/d")
    assert malformed.exit_code == 2
    assert "s3cret" not in malformed.stderr


def test_it_creates_the_tables_if_asked(empty_database_url: str) -> None:
    result = run("init", "--migrate", "--database-url", empty_database_url)
    assert "# up to date at " in result.stdout
    assert "db migrate" not in result.stdout
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT count(*) FROM token_ledger_events").fetchone() == (0,)
    refused = run("init", "--migrate")
    assert refused.exit_code == 2
    assert "--migrate needs --database-url" in refused.stderr


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (NEON, "neon"),
        (SUPABASE, "supabase"),
        (RDS, "rds"),
        ("host=db.ref.supabase.co user=u", "supabase"),
        ("postgresql://u@neon.tech.example.com/db", "postgres"),
    ],
)
def test_the_host_name_says_where_the_database_is(url: str, place: str) -> None:
    assert host_of(url) == place


def test_addresses_of_apps_and_of_migrations() -> None:
    assert migration_url(SUPABASE, "supabase") == SUPABASE.replace(":6543", ":5432")
    assert migration_url(NEON, "neon") == NEON.replace("-pooler", "")
    direct = "postgresql://u:p@db.ref.supabase.co:5432/postgres"
    assert migration_url(direct, "supabase") == direct
    assert app_url(RDS, "rds") == f"{RDS}?sslmode=require"
    assert app_url(f"{RDS}?sslmode=verify-full", "rds") == f"{RDS}?sslmode=verify-full"
    assert app_url("postgresql://u@localhost/db", "postgres") == "postgresql://u@localhost/db"


@pytest.mark.parametrize(
    "url",
    [NEON, "host=h user=u password='s3cr:et' dbname=d", f"postgresql://u@h/d?password={SECRET}"],
)
def test_only_the_password_is_left_out(url: str) -> None:
    plain, has_password = without_password(url)
    assert has_password
    expected = conninfo_to_dict(url)
    assert expected.pop("password") == SECRET
    assert conninfo_to_dict(plain) == expected
    assert without_password(plain) == (plain, False)


def test_in_a_terminal_it_asks_and_does_not_show_the_url(
    empty_database_url: str, tmp_path: Path
) -> None:
    main_end, other_end = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TOKENLEDGER_DATABASE")}
    # Click reads a hidden answer from the controlling terminal, if there is one.
    with subprocess.Popen(
        [sys.executable, "-m", "tokenledger_exporter", "init"],
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
    ) as init:
        os.close(other_end)
        screen = b""
        answers = {
            b"run?": "postgres",
            b"(not shown):": empty_database_url,
            b"[.env.tokenledger]:": "",
            b"now? [Y/n]:": "",
        }
        for question, answer in answers.items():
            while question not in screen:
                screen += os.read(main_end, 4_096)
            os.write(main_end, f"{answer}\n".encode())
        try:
            while part := os.read(main_end, 4_096):
                screen += part
        except OSError:
            # Linux reports the end of a terminal as an error.
            pass
        assert init.wait(60) == 0
    os.close(main_end)
    password = str(conninfo_to_dict(empty_database_url)["password"])
    assert password.encode() not in screen
    assert password in (tmp_path / ".env.tokenledger").read_text()
    assert b"# up to date at " in screen
