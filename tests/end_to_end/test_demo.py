"""`tokenledger demo`: the right money, exit 0, and nothing left behind however it ends."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts import draw_report

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

pytestmark = pytest.mark.integration

DEMO = (str(Path(sys.executable).with_name("tokenledger")), "demo")
SECONDS = 60
WARM_SECONDS = 15.0


def mtok(price_usd: str, tokens: int) -> Decimal:
    """US dollars of some tokens at a price for a million."""
    return Decimal(price_usd) * tokens / 1_000_000


# Prices of OpenAI and Anthropic on 2026-11-22, US dollars a million tokens.
SUMMARIZE = mtok("2.50", 10_056 - 8_064) + mtok("1.25", 8_064) + mtok("10", 384)
DRAFT = (
    mtok("3", 10_001 - 8_589 - 1_227) + mtok("3.75", 1_227) + mtok("0.30", 8_589) + mtok("15", 361)
)
DIGEST = mtok("0.25", 418) + mtok("2", 679)
TRANSLATE = mtok("1", 110) + mtok("5", 235)
EXPLAIN = mtok("0.15", 5_013) + mtok("0.60", 45)
CLASSIFY = mtok("0.15", 274) + mtok("0.60", 32)
SEARCH = mtok("0.02", 170)
TOTAL = SUMMARIZE + DRAFT + DIGEST + TRANSLATE + EXPLAIN + CLASSIFY + SEARCH


@dataclass(frozen=True)
class Ended:
    """A demo that ran to its end."""

    code: int
    output: str
    errors: str
    left_behind: list[str]

    def cells(self, label: str) -> list[str]:
        """The cells of the first table row that begins with a label."""
        rows = (re.split(r" {2,}", line) for line in self.output.splitlines())
        return next(row for row in rows if row and row[0] == label)


@pytest.fixture(scope="module")
def folder() -> Generator[Path]:
    """Where the demo puts what it makes; open to the user Postgres drops to."""
    path = Path(tempfile.mkdtemp(prefix="tokenledger-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def demo(folder: Path) -> Ended:
    with started(DEMO, folder) as process:
        output, errors = process.communicate(timeout=SECONDS)
    return Ended(process.returncode, output, errors, left_behind(folder))


@contextlib.contextmanager
def started(command: Sequence[str], folder: Path) -> Generator[subprocess.Popen[str]]:
    environment = {**os.environ, "TMPDIR": str(folder), "COLUMNS": "80"}
    # What a developer has set for their own ledger must not reach the demo.
    environment = {k: v for k, v in environment.items() if not k.startswith("TOKENLEDGER_")}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def left_behind(folder: Path) -> list[str]:
    """Files in the folder, and processes that were started with it in arguments or environment."""
    found = [path.name for path in folder.iterdir()]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command_and_environment = (process / "cmdline").read_bytes() + (
                process / "environ"
            ).read_bytes()
            if str(folder).encode() in command_and_environment:
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


def test_the_demo_succeeds_and_cleans_up(demo: Ended) -> None:
    assert (demo.code, demo.errors) == (0, "")
    assert demo.left_behind == []


@pytest.mark.parametrize(
    ("feature", "cost", "calls"),
    [
        ("summarize ticket", f"{SUMMARIZE:,.6f}", 8),
        ("draft reply", f"{DRAFT:,.6f}", 8),
        ("weekly digest", f"{DIGEST:,.6f}", 3),
        ("translate", f"{TRANSLATE:,.6f}", 4),
        # One of the two was refused as too long: it is a call, and it costs nothing.
        ("explain log", f"{EXPLAIN:,.6f}", 2),
        ("classify", f"{CLASSIFY:,.6f}", 8),
        ("search articles", f"{SEARCH:,.6f}", 9),
        ("experiment", "unknown", 1),
        ("total", f"{TOTAL:,.6f}+", 43),
    ],
)
def test_every_feature_costs_what_its_tokens_cost(
    demo: Ended, feature: str, cost: str, calls: int
) -> None:
    assert demo.cells(feature)[1:3] == [cost, str(calls)]


def test_the_total_equals_the_expected_sum() -> None:
    assert Decimal("0.0356381") == TOTAL


def test_models_and_users_are_distinguished(demo: Ended) -> None:
    assert demo.cells("gpt-4o-2024-08-06")[1] == f"{SUMMARIZE:,.6f}"
    assert demo.cells("claude-sonnet-4-6")[1] == f"{DRAFT:,.6f}"
    calls = {user: demo.cells(user)[2] for user in ("ada", "ben", "chloe", "dev", "emil", "fatou")}
    assert calls == {"ada": "11", "ben": "9", "chloe": "5", "dev": "4", "emil": "5", "fatou": "5"}


def test_what_has_no_price_is_said_and_not_counted_as_free(demo: Ended) -> None:
    assert demo.cells("experiment")[1:4] == ["unknown", "1", "1"]
    assert "coverage: 42 of 43 calls priced (97.6%), 1 unpriced" in demo.output


def test_the_reports_fit_80_columns(demo: Ended) -> None:
    lines = demo.output.splitlines()
    first = lines.index("Cost by feature")
    assert max(len(line) for line in lines[first : lines.index("", first)]) <= 80


def test_the_picture_in_the_readme_is_what_the_demo_prints(demo: Ended) -> None:
    """If it is not: `python scripts/draw_report.py`."""
    drawn = draw_report.picture(draw_report.feature_report(demo.output))
    assert draw_report.PICTURE.read_text(encoding="utf-8") == drawn


def test_the_demo_says_what_it_does_and_what_to_do_next(demo: Ended) -> None:
    steps = [line for line in demo.output.splitlines() if line.startswith("==> ")]
    assert len(steps) == 3
    assert "tokenledger db migrate" in demo.output
    (took,) = [line for line in demo.output.splitlines() if line.startswith("All of it took")]
    assert float(took.split()[-2]) < WARM_SECONDS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
def test_an_interrupted_demo_leaves_nothing_behind(folder: Path, number: signal.Signals) -> None:
    with started(DEMO, folder) as process:
        assert process.stdout is not None
        until_the_app = (line for line in process.stdout if "classified" in line)
        assert next(until_the_app)
        process.send_signal(number)
        output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (130, "")
    assert "interrupted; nothing was left behind" in output
    assert left_behind(folder) == []


def test_a_failing_app_is_named_and_leaves_nothing_behind(folder: Path) -> None:
    program = (
        "import sys, pathlib; from tokenledger_exporter.demo import run; "
        "run.APP = pathlib.Path(sys.executable); sys.exit(run.main())"
    )
    with started((sys.executable, "-c", program), folder) as process:
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "tokenledger: the app ended with exit code 1" in errors
    assert left_behind(folder) == []
