"""Reports and calls as Parquet and Markdown, and in a file."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import subprocess
import sys
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from support.command_line import fill_ledger, run

if TYPE_CHECKING:
    from pathlib import Path

ROWS = """
INSERT INTO token_ledger_events
    (event_id, timestamp, provider, model, feature, cost_status, cost_usd, input_tokens)
VALUES
    ('01a20298-6851-8751-abf9-e437e2b87e95', now() - interval '2 minutes', 'openai', 'gpt-4o',
     'a|b', 'priced', 0.000000000123456789012345, 10),
    ('01a20298-6851-8752-abf9-e437e2b87e95', now() - interval '1 minute', 'openai', 'acme-7b', '',
     'unpriced', NULL, NULL)
"""


@pytest.fixture(autouse=True)
def ledger_url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    return fill_ledger(database_url, ROWS, monkeypatch)


def table(content: bytes) -> Any:  # noqa: ANN401 - pyarrow has no types
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    return parquet.read_table(BytesIO(content))


def test_a_report_in_parquet_is_exact_and_has_its_coverage(tmp_path: Path) -> None:
    file = tmp_path / "report.parquet"
    result = run("report", "--by", "model", "--format", "parquet", "--output", str(file))
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert result.stderr == "tokenledger: coverage: 1 of 2 calls priced (50.0%), 1 unpriced\n"
    content = table(file.read_bytes())
    rows = [(row["model"], row["cost_usd"], row["calls"]) for row in content.to_pylist()]
    assert rows == [("gpt-4o", "0.000000000123456789012345", 1), ("acme-7b", None, 1)]
    document = json.loads(content.schema.metadata[b"tokenledger"])
    assert document["coverage"]["unpriced"] == 1
    assert document["by"] == ["model"]
    assert [str(field.type) for field in content.schema][:3] == ["string", "string", "int64"]


def test_a_report_without_groups_is_one_row() -> None:
    result = run("report", "--by", "", "--format", "parquet")
    [row] = table(result.stdout_bytes).to_pylist()
    assert (row["calls"], row["without_cost"]) == (2, 1)


def test_calls_in_parquet_have_times_and_counts() -> None:
    content = table(run("calls", "--format", "parquet").stdout_bytes)
    types = {field.name: str(field.type) for field in content.schema}
    assert types["timestamp"] == "timestamp[us, tz=UTC]"
    assert types["input_tokens"] == "int64"
    assert [row["input_tokens"] for row in content.to_pylist()] == [None, 10]
    assert content.to_pylist()[1]["cost_usd"] == "0.000000000123456789012345"


def test_calls_in_markdown_are_a_table() -> None:
    lines = run("calls", "--format", "md").stdout.splitlines()
    assert lines[0].startswith("| event_id | timestamp | provider | model |")
    assert "| a\\|b |" in lines[3]
    assert len(lines) == 4


def test_any_format_can_be_written_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "calls.json"
    assert run("calls", "--format", "json", "--output", str(file)).stdout == ""
    assert len(json.loads(file.read_text(encoding="utf-8"))["rows"]) == 2
    failed = run("calls", "--output", str(tmp_path / "missing" / "x"))
    assert failed.exit_code == 2
    assert "No such file or directory" in failed.stderr


def test_parquet_without_pyarrow_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(_name: str) -> None:
        return

    monkeypatch.setattr(importlib.util, "find_spec", find_nothing)
    result = run("report", "--format", "parquet")
    assert result.exit_code == 2
    assert result.stderr == (
        "tokenledger: --format parquet needs pyarrow: run "
        "\"pip install 'tokenledger-otel[archive]'\"\n"
    )


def test_a_binary_file_is_not_printed_on_a_terminal() -> None:
    main_end, other_end = pty.openpty()
    result = subprocess.run(
        [sys.executable, "-m", "tokenledger_exporter", "report", "--format", "parquet"],
        stdout=other_end,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(other_end)
    os.close(main_end)
    assert result.returncode == 2
    assert "parquet is binary: use --output FILE" in result.stderr
