"""Files of the user's own prices: all of one or nothing, and every mistake with its place."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from support.ledger_rows import ask
from tokenledger_exporter.cli import main
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.catalog.custom_file import read_prices
from tokenledger_exporter.pricing.catalog.genai_prices import package_rows
from tokenledger_exporter.pricing.price_row import UNITS

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """provider,model,kind,usd,per,tier,valid_from,source
azure_openai,gpt-4o,input,2.1,1000000,,2026-01-01,contract 7
azure_openai,gpt-4o,output,8.4,1000000,,2026-01-01,contract 7
azure_openai,gpt-4o,input,2.0,1000000,,2026-07-01,contract 8
vllm,acme-7b,request,0.001,,,,

"""


def test_rows_of_one_model_and_day_are_one_sheet() -> None:
    sheets = read_prices(GOOD, "own.csv")
    assert [(s.provider, s.model, str(s.valid_from), len(s.rates)) for s in sheets] == [
        ("azure", "gpt-4o", "2026-01-01", 2),
        ("azure", "gpt-4o", "2026-07-01", 1),
        ("vllm", "acme-7b", "None", 1),
    ]
    assert (sheets[2].rates[0].per, sheets[2].source) == (1, "import of own.csv")


def test_a_json_price_is_exact_and_never_a_float() -> None:
    text = '[{"provider": "vllm", "model": "m", "kind": "input", "usd": 0.1000000000000000055}]'
    (sheet,) = read_prices(text, "own.json")
    assert sheet.rates[0].usd == Decimal("0.1000000000000000055")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("openai,m,input,abc,,,,", "own.csv, line 2, column usd: invalid amount 'abc'"),
        ("openai,m,input,,,,,", "own.csv, line 2, column usd: invalid amount ''"),
        (
            "openai,m,inpt,1,,,,",
            "own.csv, line 2, column kind: unknown kind 'inpt'; use one of input",
        ),
        ("openai,,input,1,,,,", "own.csv, line 2, column model: it is empty"),
        ("openai,m,input,1,0,,,", "own.csv, line 2, column per: it is 0"),
        ("openai,m,input,1,-5,,,", "own.csv, line 2, column per: '-5' is not an integer"),
        (
            "openai,m,input,1,,,yesterday,",
            "own.csv, line 2, column valid_from: invalid day 'yesterday'",
        ),
        ("openai,m,input,1,,,,genai-prices x", "own.csv, line 2, column source: a source must not"),
        ("openai,m,input,1,,,,,,", "own.csv, line 2: 10 cells, but line 1 has 8 columns"),
        (
            "openai,m,input,1,,,,\nopenai,m,input,2,,,,",
            "line 3, column kind: input of m has two prices",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line_and_column(line: str, why: str) -> None:
    header = GOOD.splitlines()[0]
    with pytest.raises(InvalidRequestError) as refused:
        read_prices(f"{header}\n{line}\n", "own.csv")
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        ("", "own.csv", "column provider, model, kind, usd is missing"),
        ("provider,model,kind,usd\n", "own.csv", "has no prices"),
        ("provider,model,kind,usd,colour\n", "own.csv", "unknown column colour"),
        ("{", "own.json", "is not valid JSON"),
        ("{}", "own.json", "must hold a list"),
        ("[1]", "own.json", "entry 1: not a JSON object"),
        ('[{"provider": "x"}]', "own.json", "entry 1: column model, kind, usd is missing"),
    ],
)
def test_a_file_that_is_none_is_said(text: str, name: str, why: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read_prices(text, name)
    assert why in str(refused.value)


def test_an_import_is_all_or_nothing(database_url: str, tmp_path: Path) -> None:
    count = "SELECT count(*) FROM token_ledger_prices WHERE source NOT LIKE 'genai-prices %'"
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text(GOOD)
    bad.write_text(GOOD + "openai,m,input,abc,,,,\nopenai,m,output,def,,,,\n")
    at = ("--database-url", database_url)
    refused = CliRunner().invoke(main, ["prices", "import", str(bad), *at])
    assert refused.exit_code == 2
    assert "line 7, column usd" in refused.stderr
    assert "line 8, column usd" in refused.stderr
    assert ask(database_url, count) == [(0,)]
    for told in ("3 new price sheets, 0", "0 new price sheets, 3"):
        done = CliRunner().invoke(main, ["prices", "import", str(good), *at])
        assert done.stdout.startswith(told)
    assert ask(database_url, count) == [(4,)]
    shape = {"provider": "azure", "model": "gpt-4o", "input_tokens": 1_000_000}
    for day, usd in (("2026-06-30", "2.1"), ("2026-07-01", "2")):
        line = json.dumps({**shape, "on": day})
        quoted = CliRunner().invoke(main, ["prices", "quote", "-", *at], input=line)
        assert json.loads(quoted.stdout)["cost_usd"] == usd


def test_every_kind_the_package_prices_has_a_unit_in_words() -> None:
    assert {row.kind for row in package_rows()} <= UNITS.keys()
