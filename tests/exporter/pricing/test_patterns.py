"""Patterns of model names match as `re` does, none takes long; files of prices fail in words."""

from __future__ import annotations

import json
import logging
import re
import time
from typing import TYPE_CHECKING

import psycopg
import pytest
from click.testing import CliRunner

from support.ledger_rows import HEADER, build_row, chat_attributes, record
from tokenledger_exporter.cli import main
from tokenledger_exporter.errors import InvalidRequestError
from tokenledger_exporter.pricing.catalog.custom import model_pattern
from tokenledger_exporter.pricing.catalog.genai_prices import package_rows
from tokenledger_exporter.pricing.patterns import MAX_NAME_LENGTH, compile_pattern, search
from tokenledger_exporter.store.writer import BatchWriter

if TYPE_CHECKING:
    from pathlib import Path

SLOW = (
    *(
        "(a+)+$",
        "(a|a)*$",
        "(a|aa)+$",
        "(a*)*",
        "((a?)+)+b",
        "(?:(?:(?:a+)?)?)+",
        "(.*)*x",
        "(a+){9}b",
    ),
    *("a?" * 30 + "a" * 30, "(?:a|a)" * 20 + "b", ".*.*.*x", "(?:a?){20}b", "(a{0,20}){0,20}b"),
    *("^(a|b|ab)*c", "(?=(a+)+b)a", "a{0,99}a{0,99}a{0,99}b", r"\w*\w*\w*\w*!", "[ab]*[ab]*[ab]*c"),
    *(r"(.)\1*(.)\2*", "(?P<x>a+)(?P=x)+", "(?<=a)b", "((" * 50 + "a" + "))" * 50, "(?i:a+)+"),
)
FINE = (
    *(
        "^gpt-4o$",
        "gpt-4o.*mini",
        "^claude-(?:opus|sonnet)-4",
        "^o[134](?:-mini)?$",
        ".*a.*b",
        "a{2,5}",
    ),
    *(
        r"^text-embedding-\d+$",
        "[]a]+b",
        r"\.\*",
        "^(?!.*-tts).*flash",
        "a+?b",
        "x{,3}",
        "{",
        "a{b}",
    ),
)
NAMES = (
    "a" * 255,
    "a" * 254 + "!",
    "ab" * 127,
    "gpt-4o-mini",
    "o1",
    "",
    "flash-tts",
    "a.*b{",
    "xx",
)


@pytest.mark.parametrize("text", SLOW, ids=lambda text: text[:30])
def test_a_pattern_that_could_take_long_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="invalid model pattern"):
        compile_pattern(text)
    assert not search(text, "a" * 255 + "!")


@pytest.mark.parametrize("text", FINE)
def test_any_other_matches_as_it_is_written(text: str) -> None:
    for name in NAMES:
        began = time.perf_counter()
        assert search(text, name) == bool(re.search(text, name))
        assert time.perf_counter() - began < 1


def test_every_pattern_of_the_list_may_be_used() -> None:
    for text in {one.model_pattern for one in package_rows()} | {model_pattern("my.model-1")}:
        assert compile_pattern(text).search("a name that none of them matches") is None


def test_a_long_name_is_looked_at_in_part() -> None:
    assert search("a$", "b" * (MAX_NAME_LENGTH - 1) + "a" + "c" * 100_000)


def test_a_pattern_is_refused_where_it_is_said(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("provider,model,kind,usd,pattern\nopenai,m,input,1,(a+)+$\n")
    words = ["prices", "set", "openai", "m", "--input", "1", "--pattern", "(a+)+$"]
    for asked in (words, ["prices", "import", str(file)]):
        done = CliRunner().invoke(main, [*asked, "--database-url", database_url])
        assert (done.exit_code, "repeats without a limit" in done.stderr) == (2, True)


def test_a_stored_pattern_that_is_too_slow_does_no_harm(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An earlier release accepted it, or it was inserted with SQL."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_prices (price_id, kind, provider, model, model_pattern,"
            " match_order, usd, per, source)"
            " VALUES ('x', 'input', 'openai', 'x', '(b+)+$', 0, 1, 1, 'mine')"
        )
    writer = BatchWriter(database_url)
    began = time.perf_counter()
    with caplog.at_level(logging.WARNING):
        book = writer.prices_of("openai")
        attributes = chat_attributes(gen_ai__request__model="b" * 60 + "!")
        told = build_row(record(attributes), HEADER, lambda _: book)
    writer.close()
    assert time.perf_counter() - began < 5
    assert told is not None
    assert told.cost_status == "unpriced"
    assert "price_pattern_refused" in [vars(entry).get("event") for entry in caplog.records]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deep.json", "[" * 100_000),
        ("deep_entry.json", '[{"provider":' + "[" * 900 + "]" * 900 + "}]"),
        (
            "long_number.json",
            '[{"provider":"p","model":"m","kind":"input","usd":' + "9" * 6_000 + "}]",
        ),
        ("long_count.csv", f"provider,model,kind,usd,per\np,m,input,1,{'9' * 6_000}\n"),
        ("quoted.csv", 'provider,model,kind,usd\np,"' + "m" * 200_000 + "\n"),
        ("quoted_header.csv", '"' + "m" * 200_000 + "\n"),
        ("nul.csv", "provider,model,kind,usd\np,\0,input,1\n"),
        (
            "nested.json",
            json.dumps([{"provider": {"a": 1}, "model": "m", "kind": "input", "usd": 1}]),
        ),
    ],
    ids=lambda text: text[:20] if text.endswith(("json", "csv")) else "",
)
def test_a_file_of_prices_that_cannot_be_read_fails_in_words(
    database_url: str, tmp_path: Path, name: str, text: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    done = CliRunner().invoke(main, ["prices", "import", str(file), "--database-url", database_url])
    assert done.exit_code == 2, done.exception
    assert name in done.stderr


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"provider":"p","model":"m","on":' + "[" * 900 + "]" * 900 + "}"]
)
def test_a_usage_that_cannot_be_read_fails_in_words(line: str) -> None:
    done = CliRunner().invoke(main, ["prices", "quote", "-"], input=line + "\n")
    assert done.exit_code == 2, done.exception
    assert "line 1" in done.stderr
