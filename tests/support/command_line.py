"""Runs the command line against a ledger that holds given rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from click.testing import CliRunner

from tokenledger_exporter.cli.main import main

if TYPE_CHECKING:
    import pytest
    from click.testing import Result


def fill_ledger(database_url: str, rows: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run an INSERT, and make the ledger the default of the command line."""
    with psycopg.connect(database_url) as connection:
        connection.execute(rows.encode())
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    return database_url


def run(*words: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, words)
