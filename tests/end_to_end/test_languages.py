"""The examples in other languages: real SDKs and real instrumentations, sent to `serve`.

`make languages` builds those whose tools are here, and runs this module.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from docs.fences import fences
from end_to_end.money import mtok
from end_to_end.programs import tokenledger
from support.ledger_rows import ask
from support.otlp_service import serving
from tokenledger_exporter.demo.scripts import Use

if TYPE_CHECKING:
    from decimal import Decimal

    from tokenledger_exporter.demo.provider import DemoProvider

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = ROOT / "examples" / "any-language"
PAGE: Final = ROOT / "docs" / "guides" / "languages.md"
SECONDS: Final = 120
USE: Final = {"input": 2_000, "output": 100, "cache_read": 1_024}


@dataclass(frozen=True)
class Example:
    """One example.

    Args:
        command: starts it in its folder.
        cached_tokens: what its instrumentation reports of the 1,024 cached tokens.
        cost: the cost of one call, with gpt-4o's dollars per million tokens.
    """

    command: str
    cached_tokens: int | None
    cost: Decimal


WHOLE: Final = mtok("2.5", 976) + mtok("1.25", 1_024) + mtok("10", 100)
EXAMPLE_OF: Final = {
    # The instrumentation does not report cached tokens, so they cost as much as others.
    "node": Example(
        "node --require ./telemetry.cjs app.cjs", None, mtok("2.5", 2_000) + mtok("10", 100)
    ),
    "java": Example(
        "java -javaagent:target/lib/opentelemetry-javaagent-2.33.1.jar"
        " -cp 'target/classes:target/lib/*' App",
        1_024,
        WHOLE,
    ),
    "go": Example("./app", 1_024, WHOLE),
}


@pytest.mark.integration
@pytest.mark.parametrize("language", EXAMPLE_OF)
def test_calls_of_another_language_say_who_they_are_for(
    database_url: str, sdks: DemoProvider, language: str
) -> None:
    """With the page's variables; the page shows the report."""
    example, folder = EXAMPLE_OF[language], ROOT / "build" / "languages" / language
    if not folder.is_dir():
        pytest.skip(f"the {language} example is not built; `make languages` builds it")
    sdks.script(*[Use({**USE})] * 2)
    with serving(database_url) as service:
        text = PAGE.read_text(encoding="utf-8").replace("http://127.0.0.1:4318", service.endpoint)
        variables = dict(re.findall(r"^export (\w+)=(\S+)", text, flags=re.MULTILINE))
        done = subprocess.run(
            ["sh", "-c", example.command],
            cwd=folder,
            env=os.environ | variables,
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    assert done.returncode == 0, done.stderr
    assert len(sdks.requests) == 2
    # Who a call is for is no concern of the provider.
    assert not any("baggage" in request.headers for request in sdks.requests)
    columns = "user_id, feature, team, cost_center, app_name, input_tokens, cached_tokens, cost_usd"
    rest = ("web", "cc-1", "shop", 2_000, example.cached_tokens, example.cost)
    assert ask(database_url, f"SELECT {columns} FROM token_ledger_events ORDER BY timestamp") == [
        ("ada", "support", *rest),
        ("", "", *rest),
    ]
    if example.cost == WHOLE:
        report = tokenledger("report", "--by", "user,feature,team", "--database-url", database_url)
        assert report.output.rstrip() in text, report.output


def test_the_pages_code_is_that_of_the_examples() -> None:
    files = [path for path in EXAMPLES.rglob("*") if path.suffix in {".cjs", ".java", ".go"}]
    code = "\n".join(path.read_text(encoding="utf-8") for path in files)
    blocks = [each for each in fences(PAGE) if each.language in {"js", "java", "go"}]
    assert {each.language for each in blocks} == {"js", "java", "go"}
    for block in blocks:
        lines = [line.strip() for line in block.text.splitlines() if line.strip()]
        assert "\n".join(lines) in "\n".join(
            line.strip() for line in code.splitlines() if line.strip()
        ), block.place


def test_the_pages_commands_are_those_of_the_examples() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for example in EXAMPLE_OF.values():
        assert example.command in text.replace("\\\n    ", "")
