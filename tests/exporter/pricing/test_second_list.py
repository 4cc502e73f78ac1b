"""`prices doubt` lists where a second price list disagrees, until the difference is judged."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from tokenledger_exporter.cli.main import main
from tokenledger_exporter.pricing.catalog import second_list
from tokenledger_exporter.pricing.catalog.second_list import Difference, judged_differences

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

# Our list: gpt-4o $2.5, $1.25 cached, $10; batch half of it. gpt-4o-mini $0.15 and $0.6.
LIST: dict[str, Any] = {
    "sample_spec": {"mode": "one of chat, embedding"},
    "gpt-4o": {
        "litellm_provider": "openai",
        "input_cost_per_token": 5e-06,
        "output_cost_per_token": 1e-05,
        "cache_read_input_token_cost": 1.25e-06,
        "output_cost_per_token_batches": 4e-06,
        "input_cost_per_token_priority": 0.0,
    },
    "openai/gpt-4o-mini": {
        "litellm_provider": "openai",
        "input_cost_per_token": 1.505e-07,
        "output_cost_per_token": 6.3e-07,
    },
    "bedrock/eu-west-1/amazon.nova-pro-v1:0": {
        "litellm_provider": "bedrock",
        "input_cost_per_token": 1e-03,
    },
    "anthropic/claude-sonnet-4-5": {
        "litellm_provider": "anthropic",
        "input_cost_per_token_above_200k_tokens": 7e-06,
    },
    "a-model-without-our-price": {
        "litellm_provider": "openai",
        "input_cost_per_token": 1e-03,
    },
}


def doubt(tmp_path: Path, *words: str, models: dict[str, Any] | None = None) -> Result:
    file = tmp_path / "list.json"
    file.write_text(json.dumps(LIST if models is None else models), encoding="utf-8")
    command = ("prices", "doubt", "--against", str(file), "--at", "2026-11-28", *words)
    return CliRunner().invoke(main, command)


def test_prices_that_differ_are_listed_with_the_largest_difference_first(tmp_path: Path) -> None:
    result = doubt(tmp_path, "--format", "json")
    rows = json.loads(result.stdout)["rows"]
    assert [(row["model"], row["kind"], row["tier"]) for row in rows] == [
        ("gpt-4o", "input", "standard"),  # 5 / 2.5
        ("gpt-4o", "output", "batch"),  # 5 / 4
        ("claude-sonnet-4-5", "input", "standard"),  # 7 / 6
        ("gpt-4o-mini", "output", "standard"),  # 0.63 / 0.6
    ]
    assert [(row["ours"], row["theirs"], row["ratio"]) for row in rows[:2]] == [
        ("2.5", "5", "0.5"),
        ("5", "4", "1.25"),
    ]
    assert rows[2]["above_input_tokens"] == 200_000
    assert result.exit_code == 1
    assert "4 prices differ, and 4 of them were not judged" in result.stderr


def test_a_provider_can_be_chosen_and_the_formats_are_those_of_other_commands(
    tmp_path: Path,
) -> None:
    text = doubt(tmp_path, "--provider", "anthropic", "--format", "csv").stdout
    (row,) = csv.DictReader(io.StringIO(text))
    assert tuple(row) == second_list.DIFFERENCE_COLUMNS
    assert (row["model"], row["ours"], row["theirs"]) == ("claude-sonnet-4-5", "6", "7")
    table = doubt(tmp_path, "--provider", "anthropic").stdout
    assert "claude-sonnet-4-5" in table
    assert "gpt-4o" not in table


def test_a_judged_difference_is_listed_on_request_only_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "gpt-4o input standard: 2.5 5"
    monkeypatch.setattr(second_list, "_verdicts", lambda: {("openai", text): "ours: a test"})
    models = {"gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 5e-06}}
    result = doubt(tmp_path, models=models)
    assert (result.exit_code, "gpt-4o" in result.stdout) == (0, False)
    assert "1 price differs; every difference was judged" in result.stderr
    shown = doubt(tmp_path, "--all", "--format", "json", models=models)
    assert [row["verdict"] for row in json.loads(shown.stdout)["rows"]] == ["ours: a test"]
    # Another price of the same model is a new difference.
    changed = {"gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 6e-06}}
    assert doubt(tmp_path, models=changed).exit_code == 1


def test_lists_that_agree_pass(tmp_path: Path) -> None:
    models = {"gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 2.5e-06}}
    result = doubt(tmp_path, models=models)
    assert (result.exit_code, "no price differs" in result.stderr) == (0, True)


@pytest.mark.parametrize(
    ("text", "why"),
    [("[", "is not valid JSON"), ("{}", "has no models"), ("[1]", "has no models")],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(main, ["prices", "doubt", "--against", str(file)])
    assert (result.exit_code, why in result.stderr) == (2, True)
    assert "other.json" in result.stderr


def test_without_a_second_list_the_error_says_how_to_give_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_package(_name: str) -> None:
        return None

    monkeypatch.setattr(second_list, "find_spec", no_package)
    result = CliRunner().invoke(main, ["prices", "doubt"])
    assert result.exit_code == 2
    assert "give one with --against FILE" in result.stderr


def test_every_judged_difference_has_a_verdict_a_reason_and_a_source() -> None:
    for judged in judged_differences():
        assert judged.verdict in {"ours", "theirs", "unknown"}
        assert judged.reason
        assert judged.source
        assert judged.prices
    texts = [(j.provider, text) for j in judged_differences() for text in j.prices]
    assert len(texts) == len(set(texts))


def test_a_difference_is_judged_by_both_prices() -> None:
    difference = Difference("x", "m", "input", "standard", 200_000, Decimal("2.50"), Decimal(3))
    assert second_list.price_text(difference) == "m input standard above 200000: 2.5 3"
    assert second_list.verdict_on(difference) == ""
