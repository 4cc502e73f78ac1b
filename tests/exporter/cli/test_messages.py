"""What the commands say: one prefix, correct plurals, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.testing import CliRunner

from tokenledger_exporter.cli import main
from tokenledger_exporter.plain_text import counted

if TYPE_CHECKING:
    import pytest
    from click.testing import Result


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
