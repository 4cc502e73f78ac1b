"""The command line: standard output, standard error and exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from decimal import Decimal

import psycopg
import pytest

from support.command_line import fill_ledger, run
from tokenledger_semconv.dimensions import DIMENSIONS

ROWS = """
INSERT INTO token_ledger_events
    (provider, model, feature, user_id, cost_status, cost_usd, input_tokens, metadata)
VALUES
    ('openai', 'gpt-4o', 'chat', 'u1', 'priced', 0.1, 10, '{"tier": "gold"}'),
    ('openai', 'gpt-4o', 'chat', 'u2', 'priced', 0.2, 20, '{"tier": "gold"}'),
    ('anthropic', 'claude-opus-5', 'search', 'u1', 'priced', 0.000000001, 30, '{}'),
    ('openai', 'acme-7b', '=HYPERLINK("x")', 'u1', 'unpriced', NULL, 40, '{}'),
    ('openai', 'gpt-4o', 'chat', 'u1', 'unmeasured', NULL, NULL, '{}')
"""


@pytest.fixture
def ledger_url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    return fill_ledger(database_url, ROWS, monkeypatch)


@pytest.mark.usefixtures("ledger_url")
def test_a_report_sums_exactly_and_shows_its_coverage() -> None:
    result = run("report", "--by", "feature,model", "--format", "json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["schema_version"] == 1
    assert [(row["feature"], row["model"], row["cost_usd"]) for row in document["rows"]] == [
        ("chat", "gpt-4o", "0.3"),
        ("search", "claude-opus-5", "0.000000001"),
        ('=HYPERLINK("x")', "acme-7b", None),
    ]
    assert document["totals"]["cost_usd"] == "0.300000001"
    assert document["coverage"] == {
        "priced": 3,
        "partial": 0,
        "estimated": 0,
        "unpriced": 1,
        "unmeasured": 1,
        "lost": 0,
        "not_settled": 0,
        "reported": 0,
        "cost_differs": 0,
        "calls": 5,
    }


@pytest.mark.usefixtures("ledger_url")
def test_a_report_by_any_dimension_adds_up_to_the_total() -> None:
    names = [dimension.name for dimension in DIMENSIONS]
    for name in (*names, "hour", "day", "month", "metadata.tier", "metadata.it's"):
        document = json.loads(run("report", "--by", name, "--format", "json").stdout)
        parts = [Decimal(row["cost_usd"] or 0) for row in document["rows"]]
        assert sum(parts) == Decimal("0.300000001"), name


@pytest.mark.usefixtures("ledger_url")
def test_a_table_ends_with_the_coverage_line() -> None:
    result = run("report", "--by", "model")
    assert result.stdout.splitlines()[-1] == (
        "coverage: 3 of 5 calls priced (60.0%), 1 unpriced, 1 unmeasured"
    )
    assert "0.300000" in result.stdout


@pytest.mark.usefixtures("ledger_url")
def test_a_csv_file_holds_the_rows_and_standard_error_their_coverage() -> None:
    result = run("report", "--by", "model", "--format", "csv")
    costs = {row["model"]: row["cost_usd"] for row in csv.DictReader(io.StringIO(result.stdout))}
    assert costs == {"gpt-4o": "0.3", "claude-opus-5": "0.000000001", "acme-7b": ""}
    assert result.stderr == (
        "tokenledger: coverage: 3 of 5 calls priced (60.0%), 1 unpriced, 1 unmeasured\n"
    )


@pytest.mark.usefixtures("ledger_url")
def test_csv_cells_are_never_formulas() -> None:
    text = run("report", "--by", "feature", "--format", "csv").stdout
    labels = [row[0] for row in csv.reader(io.StringIO(text))]
    assert labels == ["feature", "chat", "search", '\'=HYPERLINK("x")']


@pytest.mark.usefixtures("ledger_url")
def test_markdown_is_a_table_with_totals() -> None:
    lines = run("report", "--by", "model", "--format", "md").stdout.splitlines()
    assert lines[0].startswith("| model | cost_usd |")
    assert lines[-4].startswith("| **total** | 0.300000001+ | 5 |")


@pytest.mark.usefixtures("ledger_url")
def test_since_and_until_limit_a_report() -> None:
    words = ("report", "--format", "json", "--since", "2020-01-01", "--until", "2020-02-01")
    assert json.loads(run(*words).stdout)["totals"]["calls"] == 0


@pytest.mark.usefixtures("ledger_url")
def test_an_unknown_dimension_is_refused_with_the_list_of_dimensions() -> None:
    result = run("report", "--by", "nonsense")
    assert result.exit_code == 2
    assert "unknown dimension 'nonsense'" in result.stderr
    assert all(dimension.name in result.stderr for dimension in DIMENSIONS)
    assert "hour, day, month" in result.stderr
    filtered = run("report", "--where", "nonsense=1")
    assert "unknown dimension 'nonsense'; use one of" in filtered.stderr
    assert "hour, day, month" not in filtered.stderr, "a report cannot be filtered by these"


@pytest.mark.usefixtures("ledger_url")
@pytest.mark.parametrize("words", ["soon", "7 dayz", "2026-13-01", "", "999999w", "999999d"])
def test_an_invalid_time_is_refused_with_the_list_of_forms(words: str) -> None:
    result = run("report", "--since", words)
    assert result.exit_code == 2
    assert repr(words) in result.stderr
    assert "7d, 24h, 90m, 2w, today, yesterday, now, 2026-11-01" in result.stderr


@pytest.mark.usefixtures("ledger_url")
def test_a_start_after_the_end_is_refused_with_both_times() -> None:
    result = run("report", "--since", "2026-02-01T00:00", "--until", "2026-01-01T00:00")
    assert result.exit_code == 2
    assert "2026-02-01" in result.stderr
    assert "2026-01-01" in result.stderr


def test_a_metadata_key_is_never_read_as_a_placeholder(ledger_url: str) -> None:
    key = "100%s %(x)s {x} it's \\ 5%"
    with psycopg.connect(ledger_url) as connection:
        connection.execute(
            "UPDATE token_ledger_events SET metadata = jsonb_build_object(%s::text, 'found')",
            [key],
        )
    result = run("report", "--by", f"metadata.{key}", "--format", "json")
    assert [row[f"metadata.{key}"] for row in json.loads(result.stdout)["rows"]] == ["found"]


@pytest.mark.usefixtures("ledger_url")
@pytest.mark.parametrize("key", ["", "\udcff", "a\0b"], ids=["empty", "no text", "nul"])
def test_a_metadata_key_that_no_row_can_have_is_a_usage_error(key: str) -> None:
    result = run("report", "--by", f"metadata.{key}")
    assert result.exit_code == 2
    assert "unknown dimension" in result.stderr


@pytest.mark.usefixtures("ledger_url")
def test_a_repeated_dimension_counts_once() -> None:
    assert run("report", "--by", "model,model").stdout == run("report", "--by", "model").stdout


@pytest.mark.usefixtures("ledger_url")
def test_where_filters_a_report_and_values_of_one_dimension_are_alternatives() -> None:
    words = ("report", "--by", "", "--format", "json", "--where", "feature=chat")
    one = json.loads(run(*words).stdout)
    assert one["totals"]["cost_usd"] == "0.3"
    assert one["where"] == {"feature": ["chat"]}
    two = json.loads(run(*words, "--where", "feature=search").stdout)
    assert two["totals"]["cost_usd"] == "0.300000001"
    none = json.loads(run(*words, "--where", "model=a=b' OR true").stdout)
    assert none["totals"]["calls"] == 0
    for wrong in ("feature", "nonsense=1", "day=2026-01-01"):
        assert run("report", "--where", wrong).exit_code == 2, wrong


@pytest.mark.usefixtures("ledger_url")
def test_a_report_uses_the_hours_and_days_of_its_time_zone() -> None:
    words = ("report", "--by", "hour", "--format", "json")
    utc, kathmandu = (
        json.loads(run(*words, "--timezone", zone).stdout) for zone in ("UTC", "Asia/Kathmandu")
    )
    assert "timezone" not in utc
    assert kathmandu["timezone"] == "Asia/Kathmandu"
    assert utc["rows"][0]["hour"] != kathmandu["rows"][0]["hour"]
    assert run("report", "--timezone", "Mars/Olympus").exit_code == 2
    since = json.loads(run(*words, "--timezone", "Asia/Tokyo", "--since", "2026-01-01").stdout)
    assert since["since"] == "2026-01-01T00:00:00+09:00"


@pytest.mark.usefixtures("ledger_url")
def test_a_comparison_adds_the_previous_cost_and_the_change() -> None:
    document = json.loads(run("report", "--by", "model", "--compare", "--format", "json").stdout)
    assert document["totals"]["previous_cost_usd"] == "0"
    assert document["totals"]["change_usd"] == "0.300000001"
    assert document["compared_with"]["until"] == document["since"]
    assert document["compared_with"]["coverage"]["priced"] == 0
    assert "change $" in run("report", "--compare").stdout
    assert run("report", "--compare", "--format", "csv").stdout.startswith(
        "model,cost_usd,calls,input_tokens,output_tokens,cached_tokens,without_cost,"
        "previous_cost_usd,change_usd"
    )
    assert run("report", "--compare", "--as-of", "now").exit_code == 2


@pytest.mark.usefixtures("ledger_url")
def test_a_report_without_dimensions_is_only_the_total() -> None:
    markdown, comma_separated, table, document = (
        run("report", "--by", "", "--format", shape).stdout
        for shape in ("md", "csv", "table", "json")
    )
    lines = markdown.splitlines()[:3]
    assert lines[2].startswith("| 0.300000001+ | 5 |")
    assert len({line.count("|") for line in lines}) == 1
    assert next(iter(csv.DictReader(io.StringIO(comma_separated))))["cost_usd"] == "0.300000001"
    assert table.count("0.300000") == 1
    assert json.loads(document)["totals"]["calls"] == 5


def test_no_label_breaks_a_markdown_row(ledger_url: str) -> None:
    with psycopg.connect(ledger_url) as connection:
        connection.execute(
            "UPDATE token_ledger_events SET feature = %s", ["two\nlines\r\nand a | and \\|"]
        )
    lines = run("report", "--by", "feature", "--format", "md").stdout.splitlines()
    assert lines[2].startswith("| two lines and a \\| and \\\\\\| | 0.300000001+ |")
    assert len(lines) == 7


@pytest.mark.usefixtures("ledger_url")
@pytest.mark.parametrize("columns", ["20", "80", "200"])
def test_a_table_keeps_every_digit_in_any_terminal(columns: str) -> None:
    """Runs a real process, because locale and terminal width only matter there."""
    environment = {
        **os.environ,
        "COLUMNS": columns,
        "NO_COLOR": "1",
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
    }
    result = subprocess.run(
        [sys.executable, "-c", "from tokenledger_exporter.cli import main; main()", "report"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "0.300000" in result.stdout


def test_an_unknown_format_is_a_usage_error() -> None:
    assert run("report", "--format", "xml").exit_code == 2


def test_an_unreachable_database_is_exit_code_3_without_secrets() -> None:
    url = "postgresql://canaryuser:canarypass@127.0.0.1:1/ledger"
    for words in (("report",), ("db", "status"), ("db", "migrate"), ("doctor",)):
        result = run(*words, "--database-url", url)
        assert result.exit_code == 3, words
        assert "connection refused" in result.output
        assert "canary" not in result.output


def test_a_report_on_a_database_without_tables_names_the_command_to_run(
    empty_database_url: str,
) -> None:
    result = run("report", "--database-url", empty_database_url)
    assert result.exit_code == 1
    assert "run 'tokenledger db migrate'" in result.stderr


def test_db_commands_accept_the_names_of_tokenledger_0_1(empty_database_url: str) -> None:
    at = ("--database-url", empty_database_url)
    assert run("db", "status", *at).exit_code == 1
    assert run("db", "init", *at).exit_code == 0
    assert run("db", "upgrade", *at).exit_code == 0
    for name in ("status", "current", "history"):
        result = run("db", name, *at)
        assert result.exit_code == 0
        assert "0001_calls  applied" in result.stdout
        assert result.stdout.splitlines()[-1].startswith("up to date at ")


def test_the_install_script_goes_to_standard_output_only() -> None:
    result = run("db", "sql")
    assert result.exit_code == 0
    assert result.stdout.startswith("BEGIN;")
    assert result.stdout.rstrip().endswith("COMMIT;")
    assert result.stderr == ""


@pytest.mark.usefixtures("ledger_url")
def test_draining_an_empty_spool_writes_nothing() -> None:
    result = run("spool", "drain")
    assert result.exit_code == 0
    assert result.stdout.startswith("0 calls written")
