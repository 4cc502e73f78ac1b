"""What the commands say: one prefix, correct plurals, and what to do next."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psycopg
from click.testing import CliRunner
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tokenledger_exporter.cli import main
from tokenledger_exporter.plain_text import counted

if TYPE_CHECKING:
    import pytest
    from click.testing import Result


_UNPRICED = "no price is known, so there is no cost; see 'tokenledger prices missing'"


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_a_number_has_the_noun_it_needs() -> None:
    assert counted(1, "call") == "1 call"
    assert counted(0, "call") == "0 calls"
    assert counted(2_000, "reason of a repricing", "reasons") == "2,000 reasons"


def test_a_migration_names_what_it_did_and_what_is_next_and_then_nothing(
    empty_database_url: str,
) -> None:
    first = run("db", "migrate", "--database-url", empty_database_url)
    lines = first.stdout.splitlines()
    assert lines[0] == "0001_calls  applied"
    assert any(line.startswith("up to date at ") and "next: record calls" in line for line in lines)
    assert "tokenledger doctor" in lines[-1]
    again = run("db", "migrate", "--database-url", empty_database_url)
    assert (again.exit_code, again.stdout, again.stderr) == (0, "", "")


def test_what_matches_nothing_is_said(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    assert run("purge", "--user", "x").stdout == "nothing matched: no call was deleted\n"
    assert run("erase", "--user", "x").stdout.startswith(
        "nothing matched: no row has this user id; calls of it that arrive later are stored as "
        "erased-"
    )
    repriced = run("reprice", "--since", "30d", "--model", "x")
    assert repriced.stderr == "tokenledger: nothing matched: no call was repriced\n"


def test_a_short_id_and_a_misspelled_provider_name_the_remedy(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    assert "'01a2'; give at least eight digits" in run("explain", "01a2").stderr
    preferred = run("prices", "prefer-reported", "openroutr").stderr
    assert preferred.endswith("; did you mean openrouter?\n")


def test_a_price_that_was_set_names_the_command_for_recorded_calls(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    words = ("prices", "set", "acme", "acme-7b", "--input", "1", "--from", "2026-11-01")
    hint = "recorded calls: tokenledger reprice --provider acme --model acme-7b --since 2026-11-01"
    assert run(*words).stdout.splitlines()[-1] == hint
    assert "recorded calls" not in run(*words).stdout


def test_an_unpriced_call_is_explained_without_empty_lines_or_repetition(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_events (event_id, timestamp, provider, model, operation,"
            " input_tokens, cost_status, cost_note) VALUES"
            " ('01a20000-0000-4000-8000-000000000001', '2026-11-28 12:00Z', 'openai', 'acme-7b',"
            " 'chat', 9, 'unpriced', 'no price for acme-7b at openai')"
        )
    assert run("explain", "01a20000").stdout.splitlines() == [
        "01a20000-0000-4000-8000-000000000001  2026-11-28 12:00:00+0000",
        "acme-7b at openai, chat",
        "",
        "cost    unknown",
        f"status  unpriced: {_UNPRICED}",
        "note    no price for acme-7b at openai",
    ]


def test_a_user_that_may_not_create_tables_and_a_wrong_password_are_explained(
    empty_database_url: str,
) -> None:
    role = f"guest_{os.getpid()}"
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(role))
        )
    try:
        url = make_conninfo(empty_database_url, user=role, password="x")
        refused = run("db", "migrate", "--database-url", url)
        assert refused.stderr.startswith("tokenledger: creating the tables was refused (")
    finally:
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
    unknown = run("report", "--database-url", make_conninfo(empty_database_url, user="nobody_x"))
    assert "check user and password in the database URL" in unknown.stderr


def test_an_unknown_provider_is_answered_with_the_close_ones(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    close = run("prices", "show", "antropic", "claude").stderr
    assert close.startswith("tokenledger: unknown provider 'antropic'; did you mean anthropic? ")
    other = run("prices", "show", "zzzzzz", "x").stderr
    assert other.startswith(
        "tokenledger: unknown provider 'zzzzzz'; 'tokenledger prices list' lists the "
    )
    assert len(other) < 160
