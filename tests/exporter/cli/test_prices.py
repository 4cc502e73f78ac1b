"""`tokenledger prices`: listing, setting, importing and quoting prices."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner

from support.ledger_rows import ask
from tokenledger_exporter.cli import main

if TYPE_CHECKING:
    from collections.abc import Mapping

    from click.testing import Result


def run(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, words, input=stdin)


def rows(*words: str) -> list[dict[str, Any]]:
    result = run(*words, "--format", "json")
    assert result.exit_code in {0, 1}, result.output
    document = json.loads(result.stdout)
    assert document["schema_version"] == 1
    printed: list[dict[str, Any]] = document["rows"]
    return printed


def quote(*usages: Mapping[str, object]) -> list[dict[str, str | None]]:
    lines = "".join(json.dumps(usage) + "\n" for usage in usages)
    result = run("prices", "quote", "--format", "json", "-", stdin=lines)
    assert result.exit_code in {0, 1}, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def million(provider: str, model: str, **more: object) -> str | None:
    """The quoted cost of a million input tokens."""
    usage: dict[str, object] = {"provider": provider, "model": model, "input_tokens": 1_000_000}
    return quote(usage | more)[0]["cost_usd"]


@pytest.fixture
def ledger_url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    return database_url


def test_a_quote_needs_no_database() -> None:
    usage = {
        "provider": "openai",
        "model": "gpt-4o",
        "input_tokens": 1_000,
        "cache_read": 600,
        "output_tokens": 100,
    }
    (answer,) = quote(usage)
    expected = Decimal("2.5") * 400 + Decimal("1.25") * 600 + Decimal(10) * 100
    assert Decimal(str(answer["cost_usd"])) == expected / 1_000_000
    assert str(answer["price_id"]).startswith("openai/gpt-4o/standard/")


def test_a_quote_on_a_tier_without_a_price_says_so_as_the_row_would() -> None:
    usage = {"provider": "google", "model": "gemini-3.8-flash", "input_tokens": 1_000_000}
    on_tier, standard, batch = quote(
        {**usage, "on": "2026-11-27", "processing": "priority"},
        {**usage, "on": "2026-11-27"},
        {**usage, "on": "2026-11-27", "model": "gemini-embedding-001", "processing": "flex"},
    )
    assert on_tier["cost_usd"] == standard["cost_usd"] == "0.75"
    assert on_tier["note"] == (
        "no priority price for gemini-3.8-flash: the standard rate is too low"
    )
    assert "note" not in standard
    assert batch["note"] == "no flex price for gemini-embedding-001: the standard rate is too high"


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        # A batch without a batch price: the note of the row.
        (
            {"provider": "x-ai", "model": "grok-4.7", "processing": "batch"},
            "no batch price for grok-4.7: the standard rate is too high",
        ),
        (
            {"provider": "google", "model": "gemini-3.8-flash", "processing": "PRIORITY"},
            "no priority price for gemini-3.8-flash: the standard rate is too low",
        ),
        (
            {"provider": "openai", "model": "gpt-4o", "processing": "turbo"},
            "no turbo price for gpt-4o: this is the standard price",
        ),
        (
            {"provider": "openai", "model": "gpt-4o", "inference_geo": "mars"},
            "no price for gpt-4o in mars: this is the price without a region",
        ),
        (
            {"provider": "aws", "model": "eu.amazon.nova-pro-v1:0"},
            "the price list has the price of us-east-1 only",
        ),
        ({"provider": "openai", "model": "gpt-4o", "processing": "batch"}, ""),
        ({"provider": "openai", "model": "gpt-4o", "processing": "default"}, ""),
        ({"provider": "openai", "model": "gpt-5.4", "inference_geo": "eu"}, ""),
        ({"provider": "anthropic", "model": "claude-opus-4-6", "inference_geo": "global"}, ""),
    ],
)
@pytest.mark.usefixtures("ledger_url")
def test_a_price_of_another_tier_or_region_than_the_one_asked_for_says_so(
    fields: dict[str, str], note: str
) -> None:
    (answer,) = quote({**fields, "input_tokens": 1_000, "on": "2026-11-27"})
    assert answer["cost_usd"]
    assert answer.get("note", "") == note
    if "inference_geo" not in fields:
        call = ("prices", "show", fields["provider"], fields["model"])
        printed = run(*call, "--tier", fields.get("processing", "")).stdout
        assert f"note: {note}" in printed if note else "note:" not in printed


def test_a_quote_of_an_image_model_without_modalities_says_so() -> None:
    usage = {"provider": "google", "model": "gemini-2.5-flash-image", "output_tokens": 1_000}
    unsplit, split = quote(usage, {**usage, "image_output_tokens": 1_000})
    assert str(unsplit["note"]).startswith("how much of the output is images")
    # 30 dollars per million.
    assert (split["cost_usd"], "note" in split) == ("0.03", False)


def test_a_quote_without_a_price_says_why_and_exits_1() -> None:
    usage = {"provider": "openai", "model": "acme-7b", "input_tokens": 1}
    result = run("prices", "quote", "-", stdin=json.dumps(usage))
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "cost_usd": None,
        "price_id": "",
        "note": "no price for acme-7b at openai",
    }


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not valid JSON"),
        ("[]", "not a JSON object"),
        ('{"model": "gpt-4o"}', "provider is missing"),
        ('{"provider": "openai", "model": "gpt-4o", "input_tokens": 1.5}', "input_tokens"),
        ('{"provider": "openai", "model": "gpt-4o", "on": "soon"}', "invalid time"),
        (
            '{"provider": "openai", "model": "gpt-4o", "inputtokens": 9}',
            "unknown field 'inputtokens'; did you mean input_tokens?",
        ),
        (
            '{"provider": "openai", "model": "gpt-4o", "prompt_tokens": 9}',
            "unknown field 'prompt_tokens'; did you mean input_tokens?",
        ),
        ('{"provider": "openai", "model": "gpt-4o", "xyz": 9}', "'xyz'; use provider, model, on"),
    ],
)
def test_an_invalid_line_is_refused_with_its_number(line: str, why: str) -> None:
    good = '{"provider": "openai", "model": "gpt-4o", "input_tokens": 1}'
    result = run("prices", "quote", "-", stdin=f"{good}\n\n{line}\n")
    assert result.exit_code == 2
    assert "line 3: " in result.stderr
    assert why in result.stderr


@pytest.mark.skipif(
    not os.environ.get("TOKENLEDGER_TEST_CORPUS"), reason="TOKENLEDGER_TEST_CORPUS is not set"
)
@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="genai-prices for Python 3.10 is older than the corpus"
)
@pytest.mark.parametrize("book", ["package", "ledger"])
def test_every_line_of_the_price_corpus_is_quoted_exactly(
    book: str, request: pytest.FixtureRequest
) -> None:
    if book == "ledger":
        request.getfixturevalue("ledger_url")
    corpus = Path(os.environ["TOKENLEDGER_TEST_CORPUS"]) / "prices" / "expected.jsonl"
    text = corpus.read_text()
    result = run("prices", "quote", "--format", "json", "-", stdin=text)
    costs = [json.loads(line)["cost_usd"] for line in result.stdout.splitlines()]
    assert costs == [json.loads(line)["cost_usd"] for line in text.splitlines()]


@pytest.mark.usefixtures("ledger_url")
def test_show_prints_a_prices_unit_source_and_day() -> None:
    prices = {row["kind"]: row for row in rows("prices", "show", "openai", "gpt-4o")}
    assert prices["input"]["usd"] == "2.5"
    assert prices["input"]["unit"] == "USD per 1,000,000 tokens"
    assert prices["input"]["source"].startswith("genai-prices ")
    assert prices["input"]["checked_on"]
    result = run("prices", "show", "openai", "gpt-4o", "--tier", "batch")
    assert "USD per 1,000,000 tokens" in result.stdout
    assert "1.25" in result.stdout
    assert "tier batch, valid from" in result.stdout


@pytest.mark.usefixtures("ledger_url")
def test_show_says_that_a_tier_has_no_price() -> None:
    note = "note: no priority price for gemini-3.8-flash: the standard rate is too low"
    call = ("prices", "show", "google", "gemini-3.8-flash", "--tier", "priority")
    assert note in run(*call).stdout
    as_json = run(*call, "--format", "json")
    assert note in as_json.stderr
    assert json.loads(as_json.stdout)["rows"]


@pytest.mark.usefixtures("ledger_url")
def test_hours_and_days_of_the_week_are_printed() -> None:
    call = ("prices", "show", "deepseek", "deepseek-flash", "--at")
    # A Friday and a Saturday.
    assert "01:00-04:00 UTC, Mon-Fri" in run(*call, "2026-11-27T02:00").stdout
    (saturday,) = {row["hours"] for row in rows(*call, "2026-11-28T02:00")}
    assert saturday == "01:00-04:00 UTC, Sat-Sun"
    sheets = rows("prices", "list", "--provider", "deepseek", "--model", "deepseek-flash")
    peak = {row["hours"] for row in sheets if row["input_usd"] == "0.3"}
    assert peak == {"01:00-04:00 UTC, Mon-Fri", "06:00-10:00 UTC, Mon-Fri"}


@pytest.mark.usefixtures("ledger_url")
def test_show_prints_long_context_prices() -> None:
    prices = rows("prices", "show", "anthropic", "claude-sonnet-4-5")
    bands = [(row["above_input_tokens"], row["usd"]) for row in prices if row["kind"] == "input"]
    assert bands == [(0, "3"), (200_000, "6")]


@pytest.mark.usefixtures("ledger_url")
def test_a_list_can_be_filtered_by_a_dated_model_name() -> None:
    sheets = rows("prices", "list", "--provider", "openai", "--model", "gpt-4o-2024-08-06")
    assert {row["model"] for row in sheets} == {"gpt-4o"}
    standard = next(row for row in sheets if row["tier"] == "standard")
    assert (standard["input_usd"], standard["output_usd"]) == ("2.5", "10")
    assert run("prices", "list", "--model", "acme-7b").exit_code == 1
    text = run("prices", "list", "--provider", "openai", "--format", "csv").stdout
    assert next(csv.DictReader(io.StringIO(text)))["provider"] == "openai"


@pytest.mark.usefixtures("ledger_url")
def test_an_unknown_provider_or_model_names_the_remedy() -> None:
    unknown = run("prices", "show", "unknown", "x")
    assert unknown.exit_code == 2
    assert "'tokenledger prices list'" in unknown.stderr
    result = run("prices", "history", "openai", "acme-7b")
    assert result.exit_code == 2
    assert "tokenledger prices set openai acme-7b" in result.stderr


@pytest.mark.usefixtures("ledger_url")
def test_a_custom_price_is_valid_from_its_day_and_for_dated_model_names() -> None:
    result = run(
        *("prices", "set", "openai", "gpt-4o", "--input", "2", "--output", "8"),
        *("--cached", "1", "--from", "2026-03-01", "--source", "contract 7"),
    )
    assert result.exit_code == 0
    assert "openai/gpt-4o/standard/custom-" in result.stdout
    for name in ("gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-latest"):
        assert million("openai", name, on="2026-03-01") == "2", name
        assert million("openai", name, on="2026-02-28") != "2", name
    assert million("openai", "gpt-4o-mini", on="2026-03-01") == "0.15"
    assert million("openai", "gpt-4o", on="2026-03-01", cache_read=1_000_000) == "1"
    shown = rows("prices", "show", "openai", "gpt-4o", "--at", "2026-03-01")
    assert {row["source"] for row in shown} == {"contract 7"}


@pytest.mark.usefixtures("ledger_url")
def test_a_tier_without_a_custom_price_keeps_the_list_price() -> None:
    run("prices", "set", "openai", "gpt-4o", "--input", "2", "--output", "8")
    assert million("openai", "gpt-4o", processing="batch") == "1.25"
    run("prices", "set", "openai", "gpt-4o", "--input", "1", "--tier", "batch")
    assert million("openai", "gpt-4o", processing="batch") == "1"
    assert million("openai", "gpt-4o") == "2"


def test_the_price_set_last_applies_and_earlier_prices_stay_unchanged(ledger_url: str) -> None:
    command = ("prices", "set", "openai", "gpt-4o", "--from", "2026-03-01", "--input")
    digest = "SELECT md5(string_agg(t::text, '' ORDER BY recorded_at)) FROM ({}) AS t"
    custom = "SELECT * FROM token_ledger_prices WHERE source NOT LIKE 'genai%%' AND usd < 4"
    assert run(*command, "3").exit_code == 0
    ((first,),) = ask(ledger_url, digest.format(custom))
    for usd in ("5", "4", "5"):
        run(*command, usd)
        assert million("openai", "gpt-4o") == usd
    assert "already exists" in run(*command, "5").stdout
    assert ask(ledger_url, digest.format(custom)) == [(first,)]


@pytest.mark.usefixtures("ledger_url")
def test_a_price_for_an_earlier_day_ends_where_the_next_begins() -> None:
    command = ("prices", "set", "openai", "gpt-4o", "--input")
    run(*command, "2", "--from", "2026-06-01")
    run(*command, "4", "--from", "2026-03-01")
    assert million("openai", "gpt-4o", on="2026-05-31") == "4"
    assert million("openai", "gpt-4o", on="2026-06-01") == "2"
    assert "already exists" in run(*command, "2", "--from", "2026-06-01").stdout
    history = rows("prices", "history", "openai", "gpt-4o")
    custom = [(r["valid_from"], r["valid_to"]) for r in history if r["source"].startswith("set by")]
    assert custom == [("2026-06-01", None), ("2026-03-01", "2026-06-01")]


@pytest.mark.usefixtures("ledger_url")
def test_a_model_that_no_list_has_can_be_priced() -> None:
    words = ("prices", "set", "vllm", "acme-7b", "--input", "0.00001", "--per", "1000")
    assert run(*words, "--pattern", "^acme-").exit_code == 0
    assert million("vllm", "acme-13b") == "0.01"


@pytest.mark.usefixtures("ledger_url")
def test_a_discount_lowers_list_prices_but_not_custom_prices() -> None:
    run("prices", "set", "openai", "gpt-4", "--input", "20", "--from", "2026-01-01")
    words = ("prices", "set", "--discount", "12.5", "--provider", "openai", "--from", "2026-03-01")
    assert run(*words).exit_code == 0
    assert million("openai", "gpt-4o", on="2026-03-01") == "2.1875"
    assert million("openai", "gpt-4o", on="2026-02-28") == "2.5"
    assert million("openai", "gpt-4o", on="2026-11-01", processing="batch") == "1.09375"
    assert million("openai", "gpt-4o-mini", on="2026-03-01") == "0.13125"
    assert million("openai", "gpt-4", on="2026-03-01") == "20"
    assert run(*words).stdout.startswith("0 new price sheets")
    shown = rows("prices", "show", "openai", "gpt-4o", "--at", "2026-03-01")
    assert shown[0]["source"].startswith("discount 12.5% off openai/gpt-4o/standard/")


@pytest.mark.usefixtures("ledger_url")
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("openai", "gpt-4o"), "a provider, a model and at least one price are required"),
        (("openai", "gpt-4o", "--input", "-1"), "--input: invalid price '-1'"),
        (("openai", "gpt-4o", "--cache-write-1h", "x"), "--cache-write-1h: invalid amount 'x'"),
        (("openai", "gpt-4o", "--input", "NaN"), "invalid price"),
        (("openai", "gpt-4o", "--input", "1", "--from", "soon"), "invalid day 'soon'"),
        (("openai", "gpt-4o", "--input", "1", "--pattern", "("), "not a regular expression"),
        (("openai", "gpt-4o", "--input", "1", "--source", "genai-prices 9"), "a source must not"),
        (("--discount", "12.5"), "--discount applies to all list prices of one provider"),
        (("--discount", "101", "--provider", "openai"), "discount must be 0 to 100 percent"),
        (("--discount", "1", "--provider", "x"), "provider 'x' has no list prices"),
    ],
)
def test_an_invalid_price_is_refused_with_the_reason(words: tuple[str, ...], why: str) -> None:
    result = run("prices", "set", *words)
    assert result.exit_code == 2
    assert why in result.stderr


def test_updating_and_comparing_with_the_package(ledger_url: str) -> None:
    assert run("prices", "update").stdout.startswith(
        "no new prices: the ledger has those of genai-prices "
    )
    assert run("prices", "diff").exit_code == 0
    with psycopg.connect(ledger_url) as connection:
        connection.execute(
            "DELETE FROM token_ledger_prices WHERE model = 'gpt-4o' AND provider = 'openai'"
        )
    result = run("prices", "diff", "--provider", "openai")
    assert result.exit_code == 1
    assert "only in the package" in result.stderr
    differences = rows("prices", "diff", "--provider", "openai")
    assert {row["model"] for row in differences} == {"gpt-4o"}
    assert not run("prices", "update").stdout.startswith("0 ")
    assert run("prices", "diff").exit_code == 0


def test_models_without_a_price_are_listed_with_the_command_to_fix_them(ledger_url: str) -> None:
    with psycopg.connect(ledger_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_events (timestamp, provider, model, input_tokens, "
            "output_tokens) SELECT '2026-11-20', 'vllm', 'acme 7b', 10, 5 "
            "FROM generate_series(1, 3)"
        )
    (model,) = rows("prices", "missing")
    assert (model["provider"], model["model"], model["calls"]) == ("vllm", "acme 7b", 3)
    assert (model["input_tokens"], model["output_tokens"]) == (30, 15)
    assert model["remedy"] == (
        "tokenledger prices set vllm 'acme 7b' --input USD --output USD --from 2026-11-20 && "
        "tokenledger reprice --since 2026-11-20 --status unpriced"
    )
    assert run("prices", "missing").exit_code == 1
    assert run("prices", "missing", "--since", "2026-11-21").exit_code == 0


def test_calls_that_no_price_can_fix_are_not_missing_a_price(ledger_url: str) -> None:
    with psycopg.connect(ledger_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_events (timestamp, provider, model, input_tokens, cost_note) "
            "VALUES ('2026-11-20', 'openai', 'gpt-4o', 10, ''), "
            "('2026-11-20', 'openai', 'gpt-5', 1, 'cache reads and writes (9) exceed input (1)')"
        )
    (model,) = rows("prices", "missing")
    assert model["model"] == "gpt-4o"
    assert model["remedy"] == "tokenledger reprice --since 2026-11-20 --status unpriced"
    assert run("reprice", "--since", "2026-11-20", "--status", "unpriced").exit_code == 0
    assert run("prices", "missing").exit_code == 0


@pytest.mark.usefixtures("ledger_url")
def test_without_rows_a_table_is_one_line_and_json_is_a_document() -> None:
    result = run("prices", "missing")
    assert (result.stdout, result.stderr) == ("", "tokenledger: every call has a price\n")
    assert rows("prices", "missing") == []
