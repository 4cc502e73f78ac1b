"""The README's own words, run: its programs, its SQL, its commands and its table of options."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from click.testing import CliRunner

from tokenledger_exporter.cli import main
from tokenledger_exporter.db.dimensions import dimension_names
from tokenledger_exporter.demo.provider import DemoProvider
from tokenledger_semconv.settings import OPTIONS

if TYPE_CHECKING:
    import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()
EXAMPLE_URL = "postgresql://user:password@localhost:5432/db"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_programs_run_as_they_stand_and_book_the_right_money(
    database_url: str, tmp_path: Path
) -> None:
    """Only the example's database URL is exchanged, for one that exists."""
    program = tmp_path / "readme.py"
    program.write_text("\n".join(blocks("python")).replace(EXAMPLE_URL, database_url))
    with DemoProvider() as provider:
        done = subprocess.run(
            [sys.executable, program],
            env={**os.environ, "OPENAI_BASE_URL": provider.openai_base_url, "OPENAI_API_KEY": "k"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "coverage: 7 of 7 calls priced (100.0 %)" in done.stdout
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT user_id, feature, team, cost_center, metadata, input_tokens, output_tokens, "
            "cost_usd FROM token_ledger_events ORDER BY timestamp"
        ).fetchall()
        for statement in blocks("sql"):
            connection.execute(statement.encode())
    assert [row[:5] for row in rows] == [
        ("user_123", "", "", "", {}),
        ("u1", "summarize", "ml", "", {"tier": "gold"}),
        ("u2", "chat", "", "CC-001", {}),
        ("u3", "greeting", "", "", {"tier": "gold"}),
        ("user_123", "chat", "", "", {}),
        ("", "translation", "", "", {}),
        ("", "", "", "", {}),
    ]
    for *_, tokens_in, tokens_out, cost in rows:
        assert cost == (Decimal("2.5") * tokens_in + Decimal(10) * tokens_out) / 1_000_000
    # 150 tokens in at $2.50 and 500 out at $10 a million, booked by hand.
    assert rows[4][-1] == Decimal("0.000375") + Decimal("0.005")
    # The meter's figure is the row's.
    assert rows[6][-1] == Decimal(done.stdout.split()[0])


def test_the_commands_exist(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    commands = re.findall(r"^tokenledger (.*)$", "\n".join(blocks("sh")), flags=re.MULTILINE)
    assert "db migrate" in commands
    # It does not end: test_serve.py starts it.
    commands.remove("serve")
    for command in commands:
        done = CliRunner().invoke(main, command.split())
        assert done.exit_code == 0, (command, done.output)


def test_the_table_of_options_is_complete() -> None:
    table = README.partition("| option | default | effect |")[2].partition("\n\n")[0]
    named = re.findall(
        r"`(\w+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if line)
    )
    assert sorted(named) == sorted(OPTIONS)


def test_every_dimension_is_named() -> None:
    listed = README.partition("Group by ")[2].partition("Every\nreport")[0]
    words = {word.rstrip(".") for word in re.findall(r"[\w.<>]+", listed)}
    assert set(dimension_names()) <= words
