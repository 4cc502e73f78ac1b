"""`tokenledger prices`: what it lists, what it takes, and what it answers without a database."""

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


def run(*words: str, told: str | None = None) -> Result:
    return CliRunner().invoke(main, words, input=told)


def rows(*words: str) -> list[dict[str, Any]]:
    done = run(*words, "--format", "json")
    assert done.exit_code in {0, 1}, done.output
    document = json.loads(done.stdout)
    assert document["schema_version"] == 1
    found: list[dict[str, Any]] = document["rows"]
    return found


def quoted(*shapes: Mapping[str, object]) -> list[dict[str, str | None]]:
    lines = "".join(json.dumps(shape) + "\n" for shape in shapes)
    done = run("prices", "quote", "--format", "json", "-", told=lines)
    assert done.exit_code in {0, 1}, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def million(provider: str, model: str, **more: object) -> str | None:
    """What a million tokens in cost now."""
    shape: dict[str, object] = {"provider": provider, "model": model, "input_tokens": 1_000_000}
    return quoted(shape | more)[0]["cost_usd"]


@pytest.fixture
def ledger_url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    return database_url


def test_a_quote_needs_no_database() -> None:
    shape = {
        "provider": "openai",
        "model": "gpt-4o",
        "input_tokens": 1_000,
        "cache_read": 600,
        "output_tokens": 100,
    }
    (told,) = quoted(shape)
    expected = Decimal("2.5") * 400 + Decimal("1.25") * 600 + Decimal(10) * 100
    assert Decimal(str(told["cost_usd"])) == expected / 1_000_000
    assert str(told["price_id"]).startswith("openai/gpt-4o/standard/")


def test_a_quote_without_a_price_says_why_and_exits_1() -> None:
    shape = {"provider": "openai", "model": "acme-7b", "input_tokens": 1}
    done = run("prices", "quote", "-", told=json.dumps(shape))
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {
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
    ],
)
def test_a_line_that_is_no_shape_is_named(line: str, why: str) -> None:
    good = '{"provider": "openai", "model": "gpt-4o", "input_tokens": 1}'
    done = run("prices", "quote", "-", told=f"{good}\n\n{line}\n")
    assert done.exit_code == 2
    assert "line 3: " in done.stderr
    assert why in done.stderr


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
    done = run("prices", "quote", "--format", "json", "-", told=text)
    told = [json.loads(line)["cost_usd"] for line in done.stdout.splitlines()]
    assert told == [json.loads(line)["cost_usd"] for line in text.splitlines()]


@pytest.mark.usefixtures("ledger_url")
def test_showing_a_price_says_its_unit_source_and_day() -> None:
    found = {row["kind"]: row for row in rows("prices", "show", "openai", "gpt-4o")}
    assert found["input"]["usd"] == "2.5"
    assert found["input"]["unit"] == "USD per 1,000,000 tokens"
    assert found["input"]["source"].startswith("genai-prices ")
    assert found["input"]["checked_on"]
    done = run("prices", "show", "openai", "gpt-4o", "--tier", "batch")
    assert "USD per 1,000,000 tokens" in done.stdout
    assert "1.25" in done.stdout
    assert "tier batch, holds from" in done.stdout


@pytest.mark.usefixtures("ledger_url")
def test_bands_of_long_calls_are_shown() -> None:
    found = rows("prices", "show", "anthropic", "claude-sonnet-4-5")
    bands = [(row["above_input_tokens"], row["usd"]) for row in found if row["kind"] == "input"]
    assert bands == [(0, "3"), (200_000, "6")]


@pytest.mark.usefixtures("ledger_url")
def test_a_list_can_be_narrowed_to_a_dated_name() -> None:
    found = rows("prices", "list", "--provider", "openai", "--model", "gpt-4o-2024-08-06")
    assert {row["model"] for row in found} == {"gpt-4o"}
    standard = next(row for row in found if row["tier"] == "standard")
    assert (standard["input_usd"], standard["output_usd"]) == ("2.5", "10")
    assert run("prices", "list", "--model", "acme-7b").exit_code == 1
    text = run("prices", "list", "--provider", "openai", "--format", "csv").stdout
    assert next(csv.DictReader(io.StringIO(text)))["provider"] == "openai"


@pytest.mark.usefixtures("ledger_url")
def test_an_unknown_provider_or_model_names_the_remedy() -> None:
    assert "anthropic" in run("prices", "show", "nobody", "x").stderr
    done = run("prices", "history", "openai", "acme-7b")
    assert done.exit_code == 2
    assert "tokenledger prices set openai acme-7b" in done.stderr


@pytest.mark.usefixtures("ledger_url")
def test_a_price_of_ones_own_holds_from_its_day_on_and_for_dated_names() -> None:
    done = run(
        *("prices", "set", "openai", "gpt-4o", "--input", "2", "--output", "8"),
        *("--cached", "1", "--from", "2026-03-01", "--source", "contract 7"),
    )
    assert done.exit_code == 0
    assert "openai/gpt-4o/standard/custom-" in done.stdout
    for name in ("gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-latest"):
        assert million("openai", name, on="2026-03-01") == "2", name
        assert million("openai", name, on="2026-02-28") != "2", name
    assert million("openai", "gpt-4o-mini", on="2026-03-01") == "0.15"
    assert million("openai", "gpt-4o", on="2026-03-01", cache_read=1_000_000) == "1"
    shown = rows("prices", "show", "openai", "gpt-4o", "--at", "2026-03-01")
    assert {row["source"] for row in shown} == {"contract 7"}


@pytest.mark.usefixtures("ledger_url")
def test_a_tier_without_a_price_of_ones_own_keeps_the_lists() -> None:
    run("prices", "set", "openai", "gpt-4o", "--input", "2", "--output", "8")
    assert million("openai", "gpt-4o", processing="batch") == "1.25"
    run("prices", "set", "openai", "gpt-4o", "--input", "1", "--tier", "batch")
    assert million("openai", "gpt-4o", processing="batch") == "1"
    assert million("openai", "gpt-4o") == "2"


def test_the_last_said_holds_and_nothing_said_before_is_changed(ledger_url: str) -> None:
    say = ("prices", "set", "openai", "gpt-4o", "--from", "2026-03-01", "--input")
    before = "SELECT md5(string_agg(t::text, '' ORDER BY recorded_at)) FROM ({}) AS t"
    own = "SELECT * FROM token_ledger_prices WHERE source NOT LIKE 'genai%%' AND usd < 4"
    assert run(*say, "3").exit_code == 0
    ((first,),) = ask(ledger_url, before.format(own))
    for usd in ("5", "4", "5"):
        run(*say, usd)
        assert million("openai", "gpt-4o") == usd
    assert "was said already" in run(*say, "5").stdout
    assert ask(ledger_url, before.format(own)) == [(first,)]


@pytest.mark.usefixtures("ledger_url")
def test_an_earlier_price_said_later_ends_where_the_next_begins() -> None:
    say = ("prices", "set", "openai", "gpt-4o", "--input")
    run(*say, "2", "--from", "2026-06-01")
    run(*say, "4", "--from", "2026-03-01")
    assert million("openai", "gpt-4o", on="2026-05-31") == "4"
    assert million("openai", "gpt-4o", on="2026-06-01") == "2"
    assert "was said already" in run(*say, "2", "--from", "2026-06-01").stdout
    found = rows("prices", "history", "openai", "gpt-4o")
    own = [(r["valid_from"], r["valid_to"]) for r in found if r["source"].startswith("said by")]
    assert own == [("2026-06-01", None), ("2026-03-01", "2026-06-01")]


@pytest.mark.usefixtures("ledger_url")
def test_a_model_of_ones_own_is_priced() -> None:
    words = ("prices", "set", "vllm", "acme-7b", "--input", "0.00001", "--per", "1000")
    assert run(*words, "--pattern", "^acme-").exit_code == 0
    assert million("vllm", "acme-13b") == "0.01"


@pytest.mark.usefixtures("ledger_url")
def test_a_discount_lowers_the_list_and_leaves_what_was_said_for_a_model() -> None:
    run("prices", "set", "openai", "gpt-4", "--input", "20", "--from", "2026-01-01")
    words = ("prices", "set", "--discount", "12.5", "--provider", "openai", "--from", "2026-03-01")
    assert run(*words).exit_code == 0
    assert million("openai", "gpt-4o", on="2026-03-01") == "2.1875"
    assert million("openai", "gpt-4o", on="2026-02-28") == "2.5"
    assert million("openai", "gpt-4o", on="2026-11-01", processing="batch") == "1.09375"
    assert million("openai", "gpt-4o-mini", on="2026-03-01") == "0.13125"
    assert million("openai", "gpt-4", on="2026-03-01") == "20"
    assert run(*words).stdout.startswith("0 price sheets")
    shown = rows("prices", "show", "openai", "gpt-4o", "--at", "2026-03-01")
    assert shown[0]["source"].startswith("discount 12.5 % off openai/gpt-4o/standard/")


@pytest.mark.usefixtures("ledger_url")
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("openai", "gpt-4o"), "say whose model costs what"),
        (("openai", "gpt-4o", "--input", "-1"), "--input: invalid price '-1'"),
        (("openai", "gpt-4o", "--cache-write-1h", "x"), "--cache-write-1h: invalid amount 'x'"),
        (("openai", "gpt-4o", "--input", "NaN"), "invalid price"),
        (("openai", "gpt-4o", "--input", "1", "--from", "soon"), "invalid day 'soon'"),
        (("openai", "gpt-4o", "--input", "1", "--pattern", "("), "not a regular expression"),
        (("openai", "gpt-4o", "--input", "1", "--source", "genai-prices 9"), "a source must not"),
        (("--discount", "12.5"), "a discount is for all"),
        (("--discount", "101", "--provider", "openai"), "no discount: give 0 to 100"),
        (("--discount", "1", "--provider", "nobody"), "provider 'nobody' has no list prices"),
    ],
)
def test_a_price_that_cannot_be_is_refused_in_words(words: tuple[str, ...], why: str) -> None:
    done = run("prices", "set", *words)
    assert done.exit_code == 2
    assert why in done.stderr


def test_updating_and_comparing_with_the_package(ledger_url: str) -> None:
    assert run("prices", "update").stdout.startswith("0 prices are new, from genai-prices ")
    assert run("prices", "diff").exit_code == 0
    with psycopg.connect(ledger_url) as connection:
        connection.execute(
            "DELETE FROM token_ledger_prices WHERE model = 'gpt-4o' AND provider = 'openai'"
        )
    done = run("prices", "diff", "--provider", "openai")
    assert done.exit_code == 1
    assert "only in the package" in done.stderr
    found = rows("prices", "diff", "--provider", "openai")
    assert {row["model"] for row in found} == {"gpt-4o"}
    assert not run("prices", "update").stdout.startswith("0 ")
    assert run("prices", "diff").exit_code == 0


def test_models_without_a_price_come_with_the_command_that_mends_it(ledger_url: str) -> None:
    with psycopg.connect(ledger_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_events (timestamp, provider, model, input_tokens, "
            "output_tokens) SELECT '2026-11-20', 'vllm', 'acme 7b', 10, 5 "
            "FROM generate_series(1, 3)"
        )
    (found,) = rows("prices", "missing")
    assert (found["provider"], found["model"], found["calls"]) == ("vllm", "acme 7b", 3)
    assert (found["input_tokens"], found["output_tokens"]) == (30, 15)
    assert found["remedy"] == (
        "tokenledger prices set vllm 'acme 7b' --input USD --output USD --from 2026-11-20 && "
        "tokenledger reprice --since 2026-11-20 --status unpriced"
    )
    assert run("prices", "missing").exit_code == 1
    assert run("prices", "missing", "--since", "2026-11-21").exit_code == 0


def test_only_what_a_price_would_mend_is_called_missing(ledger_url: str) -> None:
    with psycopg.connect(ledger_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_events (timestamp, provider, model, input_tokens, cost_note) "
            "VALUES ('2026-11-20', 'openai', 'gpt-4o', 10, ''), "
            "('2026-11-20', 'openai', 'gpt-5', 1, 'cache reads and writes (9) exceed input (1)')"
        )
    (found,) = rows("prices", "missing")
    assert found["model"] == "gpt-4o"
    assert found["remedy"] == "tokenledger reprice --since 2026-11-20 --status unpriced"
    assert run("reprice", "--since", "2026-11-20", "--status", "unpriced").exit_code == 0
    assert run("prices", "missing").exit_code == 0


@pytest.mark.usefixtures("ledger_url")
def test_an_answer_without_rows_is_one_line_to_people_and_a_document_to_programs() -> None:
    done = run("prices", "missing")
    assert (done.stdout, done.stderr) == ("", "no call waits for a price\n")
    assert rows("prices", "missing") == []
