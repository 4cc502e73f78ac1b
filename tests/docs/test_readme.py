"""The README is short, and its first calls are booked with the right money."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg

from docs.conftest import ROOT
from docs.fences import fences
from docs.test_fences import EXAMPLE_URL

if TYPE_CHECKING:
    from pathlib import Path

README = ROOT / "README.md"


def test_it_has_120_lines_at_most() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 120


def test_its_program_books_two_calls_at_their_price(
    program_environment: dict[str, str], tmp_path: Path
) -> None:
    url = program_environment["TOKENLEDGER_DATABASE_URL"]
    program = tmp_path / "readme.py"
    source = "".join(each.text for each in fences(README) if each.language == "python")
    program.write_text(source.replace(EXAMPLE_URL, url))
    subprocess.run([sys.executable, program], env=program_environment, check=True)
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT user_id, feature, team, metadata, input_tokens, output_tokens, cost_usd "
            "FROM token_ledger_events ORDER BY timestamp"
        ).fetchall()
    assert [row[:4] for row in rows] == [
        ("user_123", "", "", {}),
        ("u1", "summarize", "ml", {"tier": "gold"}),
    ]
    # $2.50 in and $10 out for a million tokens, 2026-11-22.
    for *_, tokens_in, tokens_out, cost in rows:
        assert cost == (Decimal("2.5") * tokens_in + Decimal(10) * tokens_out) / 1_000_000
