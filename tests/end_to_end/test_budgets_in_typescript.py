"""The client of docs/guides/budgets-any-language.md reserves, calls and settles."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from docs.fences import fences
from support.otlp_service import serving
from tokenledger_exporter.budgets.budgets import budget_status, set_budget
from tokenledger_exporter.demo.scripts import Use

if TYPE_CHECKING:
    from tokenledger_exporter.demo.provider import DemoProvider

ROOT: Final = Path(__file__).parents[2]
EXAMPLE: Final = ROOT / "examples" / "any-language" / "typescript" / "budget.ts"
BUILT: Final = ROOT / "build" / "languages" / "typescript" / "budget.js"
PAGE: Final = ROOT / "docs" / "guides" / "budgets-any-language.md"
# The first release that runs TypeScript without an option.
RUNS_TYPESCRIPT: Final = (22, 18)
SECONDS: Final = 60


@pytest.mark.integration
def test_the_third_call_has_no_room_and_is_not_sent(database_url: str, sdks: DemoProvider) -> None:
    """Each call: 1,000 input tokens at $2.50 and 100 output tokens at $10 a million, $0.0035."""
    program = _program()
    sdks.script(*[Use({"input": 1_000, "output": 100})] * 3)
    set_budget(database_url, "web", limit="0.008", where={"team": "web"})
    with serving(database_url) as service:
        done = subprocess.run(
            ["node", str(program)],
            env={**os.environ, "TOKENLEDGER_URL": service.endpoint},
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout in PAGE.read_text(encoding="utf-8"), done.stdout
    assert "call 3: the call must not be sent" in done.stdout
    assert len(sdks.requests) == 2
    [status] = budget_status(database_url, "web")
    assert status.reserved_usd == 2 * Decimal("0.0035")


def test_the_pages_code_is_that_of_the_example() -> None:
    [block] = [each for each in fences(PAGE) if each.language == "ts"]
    assert block.text in EXAMPLE.read_text(encoding="utf-8")


def _program() -> Path:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    text = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    match = re.match(r"v(\d+)\.(\d+)", text)
    if match and (int(match[1]), int(match[2])) >= RUNS_TYPESCRIPT:
        return EXAMPLE
    if not BUILT.exists():
        pytest.skip(f"node {text.strip()} does not run TypeScript; `make languages` builds it")
    return BUILT
