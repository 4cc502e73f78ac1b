"""Every fenced block of README, CONTRIBUTING, docs/ and examples/ runs, or says why it cannot.

Python blocks of one page are one program, at the line numbers they have on the page. Bash and
console blocks run in order in one folder; `exit="1"` on the fence is another exit code than 0.
SQL runs statement by statement. TOML and JSON are parsed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest

from docs.conftest import ROOT
from docs.fences import fences

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pathlib import Path

    from docs.fences import Fence

SECONDS = 120
EXAMPLE_URL = "postgresql://user:password@localhost:5432/db"
PARSERS = {"toml": tomllib.loads, "json": json.loads}
RUN_TOGETHER = ("python", "bash", "sql", "console")
FILES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
    ]
)
BLOCKS = [block for file in FILES for block in fences(file)]


def page_id(file: Path) -> str:
    return str(file.relative_to(ROOT))


def pages(language: str) -> list[Path]:
    """The files with blocks of a language that run."""
    return sorted({each.file for each in BLOCKS if each.language == language and each.runs})


def blocks(file: Path, language: str) -> list[Fence]:
    return [each for each in fences(file) if each.language == language and each.runs]


def test_the_pages_contain_code_blocks() -> None:
    assert len(BLOCKS) > 50
    assert {"python", "bash", "sql", "console", "toml"} <= {block.language for block in BLOCKS}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_every_block_runs_or_says_why_it_cannot(block: Fence) -> None:
    if not block.runs:
        assert len(block.attributes["no-run"]) > len("a word")
        return
    assert block.language in {*RUN_TOGETHER, *PARSERS}, "give a language that runs, or no-run="


def test_no_page_hides_code_in_an_indented_block() -> None:
    """Markdown has a second kind of code block, which no test would see."""
    for file in FILES:
        outside = re.sub(
            r"^\s*```.*?^\s*```", "", file.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE
        )
        indented = re.search(r"\n\n {4}(?!\s*[-*\d])[^\n]+", outside)
        assert indented is None, f"{page_id(file)}: {indented}"


@pytest.mark.parametrize(
    "block", [each for each in BLOCKS if each.language in PARSERS], ids=lambda block: block.place
)
def test_data_is_well_formed(block: Fence) -> None:
    assert PARSERS[block.language](block.text)


@pytest.mark.parametrize("file", pages("python"), ids=page_id)
def test_the_python_of_a_page_runs(
    file: Path, ledger_with_calls: dict[str, str], tmp_path: Path
) -> None:
    program: list[str] = []
    for block in blocks(file, "python"):
        program += [""] * (block.line - 1 - len(program)) + block.text.splitlines()
    script = tmp_path / f"{file.stem.replace('-', '_')}_page.py"
    source = "\n".join(program).replace(EXAMPLE_URL, ledger_with_calls["TOKENLEDGER_DATABASE_URL"])
    script.write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script],
        env=ledger_with_calls,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("file", pages("bash"), ids=page_id)
def test_the_commands_of_a_page_run(
    file: Path, ledger_with_calls: dict[str, str], tmp_path: Path
) -> None:
    for block in blocks(file, "bash"):
        commands = block.text.replace(EXAMPLE_URL, ledger_with_calls["TOKENLEDGER_DATABASE_URL"])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            env=ledger_with_calls,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        expected = int(block.attributes.get("exit", "0"))
        assert done.returncode == expected, f"{block.place}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("file", pages("sql"), ids=page_id)
def test_the_sql_of_a_page_runs(file: Path, ledger_with_calls: dict[str, str]) -> None:
    url = ledger_with_calls["TOKENLEDGER_DATABASE_URL"]
    for block in blocks(file, "sql"):
        if "tokenledger_writer" in block.text:
            make_roles(ledger_with_calls)
        with psycopg.connect(url) as connection:
            statements = [text for text in block.text.split(";\n") if text.strip()]
            for statement in statements:
                connection.execute(statement.encode())
            assert statements
            # Roles belong to the server, which other tests use too.
            connection.rollback()


def make_roles(environment: dict[str, str]) -> None:
    subprocess.run(["tokenledger", "db", "roles"], env=environment, check=True, capture_output=True)


def test_every_table_and_function_a_page_names_exists(database_url: str) -> None:
    named = {
        name
        for file in FILES
        if file.name not in {"CHANGELOG.md", "decisions.md"}
        for name in re.findall(r"\btoken_ledger_\w+", file.read_text(encoding="utf-8"))
    }
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class UNION SELECT proname FROM pg_proc"
        ).fetchall()
    # The table and the views of TokenLedger 0.1, which a migration renames.
    older = {"token_ledger_events_v0", "token_ledger_daily_costs_v0"}
    assert named - {name for (name,) in rows} == older
    assert "token_ledger_events" in named
