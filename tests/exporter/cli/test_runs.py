"""`tokenledger runs` lists agent runs or sessions, highest cost first, as the dashboard does."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from support.command_line import fill_ledger, run
from support.run_rows import FAILED, HIGH, LOW, RUN_ROWS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def ledger_url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    return fill_ledger(database_url, RUN_ROWS, monkeypatch)


def test_the_run_with_the_highest_cost_comes_first_and_the_total_is_that_of_all() -> None:
    result = run("runs")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    cells = [line.split() for line in lines]
    # 0.5 + 0.25, and a part without a price; 0.1; a call of which nothing is known; 0.75 + 0.1.
    [high, low, failed] = [row for row in cells if row and row[0] in {"a" * 12, "b" * 12, "c" * 12}]
    assert (high[0], high[3], high[-1]) == (HIGH[:12], "ann", "0.750000+")
    assert (low[0], low[-1]) == (LOW[:12], "0.100000")
    assert (failed[0], failed[-3:]) == (FAILED[:12], ["1", "0", "unknown"])
    assert ["3", "traces", "5", "1", "0", "0.850000+"] in cells
    assert lines[-1] == "coverage: 3 of 5 calls priced (60.0%), 1 unpriced, 1 unmeasured"
    assert result.stderr == ""
    assert run("trace", high[0]).exit_code == 0


def test_a_wide_terminal_shows_whole_ids_and_durations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    [line] = [line for line in run("runs").stdout.splitlines() if line.startswith(HIGH)]
    assert "3.0 s" in line


def test_sessions_hold_the_calls_of_several_users_and_a_filter_leaves_calls_out() -> None:
    [line] = [
        line for line in run("runs", "--kind", "session").stdout.splitlines() if "talk" in line
    ]
    assert "ann ..." in line
    document = json.loads(
        run("runs", "--kind", "session", "--where", "user=bob", "--format", "json").stdout
    )
    assert [(each["run_id"], each["cost_usd"]) for each in document["runs"]] == [("talk/1", "0.1")]
    assert (document["kind"], document["count"], document["total"]["calls"]) == ("session", 1, 1)


@pytest.mark.parametrize(
    ("sort", "order"),
    [("cost", [HIGH, LOW, FAILED]), ("time", [FAILED, LOW, HIGH]), ("calls", [HIGH, LOW, FAILED])],
)
def test_runs_are_sorted(sort: str, order: list[str]) -> None:
    document = json.loads(run("runs", "--sort", sort, "--format", "json").stdout)
    assert [each["run_id"] for each in document["runs"]] == order


def test_a_cut_list_says_how_many_there_are_and_a_file_says_the_coverage() -> None:
    result = run("runs", "--limit", "1", "--format", "csv")
    [row] = csv.DictReader(io.StringIO(result.stdout))
    assert (row["run_id"], row["cost_usd"], row["steps"], row["calls"]) == (HIGH, "0.75", "2", "3")
    assert result.stderr.splitlines() == [
        "tokenledger: coverage: 3 of 5 calls priced (60.0%), 1 unpriced, 1 unmeasured",
        "tokenledger: 1 of 3 traces, highest cost first; --limit shows more",
    ]


def test_a_parquet_file_has_times_counts_and_exact_costs(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "runs.parquet"
    assert run("runs", "--format", "parquet", "--output", str(file)).exit_code == 0
    content = parquet.read_table(file)
    types = {field.name: str(field.type) for field in content.schema}
    assert types["started_at"] == "timestamp[us, tz=UTC]"
    assert (types["steps"], types["has_users"], types["cost_usd"]) == ("int64", "bool", "string")
    assert content.column("cost_usd").to_pylist() == ["0.75", "0.1", None]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--kind", "agent"), 2, "'trace', 'session'"),
        (("--sort", "size"), 2, "'cost', 'time', 'calls'"),
        (("--limit", "0"), 2, "1<=x<=10000"),
        (("--where", "color=red"), 2, "unknown dimension 'color'; use one of"),
        (("--month", "last", "--since", "7d"), 2, "--month and --since cannot be combined"),
        (("--where", "user=x"), 0, "no traces match; a call belongs to a trace if its span is"),
        (("--kind", "session", "--month", "2019-01"), 0, "if the app sets session_id"),
    ],
)
def test_a_wrong_option_or_an_empty_list_says_what_to_do(
    words: tuple[str, ...], code: int, text: str
) -> None:
    result = run("runs", *words)
    assert result.exit_code == code
    assert text in result.stderr
