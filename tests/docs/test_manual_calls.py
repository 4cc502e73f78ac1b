"""The README is short, and the calls of its program and of two guides cost the right money."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg

from docs.conftest import ROOT
from docs.fences import fences
from docs.test_fences import EXAMPLE_URL

if TYPE_CHECKING:
    from pathlib import Path

README = ROOT / "README.md"
GUIDES = ROOT / "docs" / "guides"
QUESTION = """
SELECT user_id, feature, team, cost_center, endpoint, metadata,
    input_tokens, output_tokens, cost_usd
FROM token_ledger_events ORDER BY timestamp
"""


def test_it_has_120_lines_at_most() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 120


def test_its_program_records_two_priced_calls(
    program_environment: dict[str, str], tmp_path: Path
) -> None:
    run(README, program_environment, tmp_path)
    rows = calls(program_environment)
    assert [row[:6] for row in rows] == [
        ("user_123", "", "", "", "", {}),
        ("u1", "summarize", "ml", "", "", {"tier": "gold"}),
    ]


def test_the_guide_to_attribution_attributes_three_calls(
    program_environment: dict[str, str], tmp_path: Path
) -> None:
    run(GUIDES / "attribution.md", program_environment, tmp_path)
    rows = calls(program_environment)
    assert [row[:6] for row in rows] == [
        ("u1", "summarize", "ml", "", "", {"tier": "gold"}),
        ("u2", "chat", "", "CC-001", "", {}),
        ("u3", "greeting", "", "", "", {"tier": "gold"}),
    ]


def test_the_guide_to_tracking_books_its_tokens_and_its_meter_agrees(
    program_environment: dict[str, str], tmp_path: Path
) -> None:
    output = run(GUIDES / "manual-tracking.md", program_environment, tmp_path)
    rows = calls(program_environment)
    assert [row[:6] for row in rows] == [
        ("user_123", "chat", "", "", "", {}),
        ("", "translation", "", "", "", {}),
        ("", "", "", "", "/summary", {}),
    ]
    # 150 tokens in at $2.50 and 500 out at $10 a million.
    assert rows[0][-1] == Decimal("0.000375") + Decimal("0.005")
    assert rows[2][-1] == Decimal(output.split()[0])


def run(page: Path, environment: dict[str, str], folder: Path) -> str:
    """The output of the Python blocks of a page, which are one program."""
    source = "".join(each.text for each in fences(page) if each.language == "python")
    program = folder / "page.py"
    program.write_text(source.replace(EXAMPLE_URL, environment["TOKENLEDGER_DATABASE_URL"]))
    command = [sys.executable, str(program)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def calls(environment: dict[str, str]) -> list[tuple[Any, ...]]:
    """The calls of gpt-4o in the ledger: $2.50 in and $10 out for a million tokens, 2026-11-22."""
    with psycopg.connect(environment["TOKENLEDGER_DATABASE_URL"]) as connection:
        rows = connection.execute(QUESTION.encode()).fetchall()
    for *_, tokens_in, tokens_out, cost in rows:
        assert cost == (Decimal("2.5") * tokens_in + Decimal(10) * tokens_out) / 1_000_000
    return rows
