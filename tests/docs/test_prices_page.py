"""Every command in docs/guides/custom-prices.md, run in order, prints what the page shows.

Days, times, ids and releases differ from run to run and are compared by their shape.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from support.ledger_rows import chat_attributes, row
from tokenledger_exporter.cli import main
from tokenledger_exporter.store.writer import BatchWriter

TEXT = (Path(__file__).parents[2] / "docs" / "guides" / "custom-prices.md").read_text()
CONSOLE = "\n".join(re.findall(r"```console\n(.*?)```", TEXT, flags=re.DOTALL))
STEPS = [step.split("\n", 1) for step in re.split(r"^\$ ", CONSOLE, flags=re.MULTILINE)[1:]]
SHAPES = {
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "EVENT",
    r"20\d\d-\d\d-\d\d([T ]\d\d:\d\d:\d\d\+00:?00)?": "TIME",
    r"/(custom-)?[0-9a-f]{8}\b": "/SHEET",
    r"genai-prices [\d.]+": "PACKAGE",
    r"^\d+ new price sheets": "N new price sheets",
}


def shaped(text: str) -> list[str]:
    for pattern, name in SHAPES.items():
        text = re.sub(pattern, name, text, flags=re.MULTILINE)
    return [line.rstrip() for line in text.splitlines() if line.strip()]


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="genai-prices for Python 3.10 lists other prices"
)
def test_every_command_prints_what_the_document_says(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    priced = row(chat_attributes(gen_ai__usage__cache_read__input_tokens=600))
    acme = chat_attributes(gen_ai__provider__name="vllm", gen_ai__request__model="acme-7b")
    writer = BatchWriter(database_url)
    writer.write([priced, row(acme)])
    writer.close()
    assert len(STEPS) == 10
    for command, printed in STEPS:
        echo, _, ours = command.rpartition(" | ")
        line = re.sub(next(iter(SHAPES)), str(priced.event_id), ours)
        text = shlex.split(echo)[1] if echo else None
        done = CliRunner().invoke(main, shlex.split(line)[1:], input=text)
        assert done.exit_code in {0, 1}, done.output
        assert sorted(shaped(done.stdout + done.stderr)) == sorted(shaped(printed)), command
