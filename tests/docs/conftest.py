"""What the tests of the documentation share: a loopback provider, and a ledger with a few calls."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tokenledger_exporter.demo.provider import DemoProvider

if TYPE_CHECKING:
    from collections.abc import Generator

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]

# Calls of the last days, one of them of a model without a price.
CALLS = """
import datetime
import tokenledger

now = datetime.datetime.now(datetime.timezone.utc)
tokenledger.configure()
for hours, user, feature, team in (
    (0, "ada", "chat", "ml"),
    (5, "ben", "search", "web"),
    (40, "ada", "chat", "ml"),
):
    tokenledger.track_cost(
        model="gpt-4o", provider="openai", input_tokens=1_000, output_tokens=100, cached_tokens=600,
        user_id=user, feature=feature, team=team, project="web", organization_id="acme",
        metadata={"tier": "gold"}, requested_at=now - datetime.timedelta(hours=hours),
    )
tokenledger.track_cost(model="acme-7b", provider="vllm", input_tokens=1_000, output_tokens=100)
assert tokenledger.flush(30) == 4
"""


@pytest.fixture
def program_environment(database_url: str, tmp_path: Path) -> Generator[dict[str, str]]:
    """Variables of a program that finds the ledger, the providers and our commands."""
    with DemoProvider() as provider:
        yield {
            **os.environ,
            "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)]),
            "HOME": str(tmp_path),
            "COLUMNS": "200",
            "TOKENLEDGER_DATABASE_URL": database_url,
            "OPENAI_BASE_URL": provider.openai_base_url,
            "OPENAI_API_KEY": "k",
            "ANTHROPIC_BASE_URL": provider.anthropic_base_url,
            "ANTHROPIC_API_KEY": "k",
        }


@pytest.fixture
def ledger_with_calls(program_environment: dict[str, str]) -> dict[str, str]:
    """The same, with four calls in the ledger."""
    subprocess.run([sys.executable, "-c", CALLS], env=program_environment, check=True)
    return program_environment
