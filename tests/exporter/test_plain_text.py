"""What other people named things never runs, hides or moves anything where it is printed."""

from __future__ import annotations

import csv
import io
import logging
import re
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest
from click.testing import CliRunner

from support.ledger_rows import ask, chat_attributes, row
from tokenledger_exporter import log
from tokenledger_exporter.cli import main
from tokenledger_exporter.plain_text import csv_cell, markdown_cell, visible
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from click.testing import Result

ESCAPES = {
    "title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;Y3VybA==\x1b\\",
    "cursor": "\x1b[2A\x1b[8mhidden",
    "c1": "\x9b2A",
    "line": "mallory\ralice  $0",
    "lines": "mallory\nalice  $0\x85more\u2028more\u2029",
    "bidi": "\u202egpj.exe\u2066\u200f",
    "unseen": "a\u200bb\ufeffc\u00add\U000e0041",
    "delete": "a\x7f\x08b",
}
# As a terminal or a spreadsheet would take them.
DANGEROUS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\u200b]"
)
FORMULAS = (
    *("=1+1", "+1+1", "-1+cmd", "@SUM(1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "\ufeff=1"),
    *("\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20SUM(1)", "\u2212\x31+1", "\x00=1", "'=1", '"=1'),
    *("x;=1+1", 'x;"=1+1', "x; \t-1+1", "x|@SUM(1)", "x;\uff1d1", ";;=1", "=1;=1"),
)


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(text: str) -> None:
    for shown in (visible(text), csv_cell(text), markdown_cell(text)):
        assert not DANGEROUS.search(shown)
        assert "\n" not in shown
    assert visible("Grüße, \U0001f468\u200d\U0001f469 от 日本 'x'") == (
        "Grüße, \U0001f468\u200d\U0001f469 от 日本 'x'"
    )
    assert visible("\x1b[2A\u202e") == "\\x1b[2A\\u202e"


@pytest.mark.parametrize("text", FORMULAS, ids=ascii)
def test_no_cell_of_a_spreadsheet_begins_with_a_formula(text: str) -> None:
    """Also one that splits at semicolons, and takes quotes and odd spaces for nothing."""
    for cell in re.split(r"[;|]", csv_cell(text)):
        first = cell.strip().lstrip('"\u00a0\ufeff').removeprefix("\\x00").lstrip("\\rnt ")
        assert first[:1] not in {*"=+-@", *"\uff1d\uff0b\uff0d\uff20\u2212"}, csv_cell(text)


@pytest.mark.parametrize("text", ["-5", "0.0035", "-0.25", "gpt-4o", "a-b;c", "team=ml", "a@b.c"])
def test_numbers_and_names_stay_as_they_are_in_a_spreadsheet(text: str) -> None:
    assert csv_cell(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<img src=x onerror=alert(1)>", r"\<img src=x onerror=alert(1)\>"),
        ("[a](javascript:alert(1))", r"\[a\](javascript:alert(1))"),
        ("![a](https://x.test/p.png)", r"\!\[a\](https\://x.test/p.png)"),
        ("**total** | 5 |", r"\*\*total\*\* \| 5 \|"),
        ("`code` ~~no~~ _em_ a_b", r"\`code\` \~\~no\~\~ \_em\_ a_b"),
        ("www.x.test me@x.test", r"www\.x.test me\@x.test"),
        ("&lt;b&gt; $x$", r"\&lt;b\&gt; \$x\$"),
        ("a\\|b", r"a\\\|b"),
        ("gpt-4.1-mini", "gpt-4.1-mini"),
        ("# head", r"\# head"),
    ],
)
def test_markdown_shows_text_and_nothing_else(text: str, shown: str) -> None:
    assert markdown_cell(text) == shown


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.fixture
def hostile_url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ledger where every name that a sender chooses is hostile."""
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    writer = BatchWriter(database_url)
    for text in (*ESCAPES.values(), *FORMULAS):
        told = {attributes.FEATURE: text, attributes.USER_ID: text}
        writer.write([row(chat_attributes() | told)])
    writer.close()
    everything = "\x1b]0;x\x07\u202e<b>|=1"
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE token_ledger_events SET model = %s || user_id, provider = %s, operation = %s,"
            " cost_note = %s, service_tier = %s",
            (everything,) * 5,
        )
        connection.execute(
            "INSERT INTO token_ledger_repricings"
            " (event_id, old_cost_status, new_cost_status, reason)"
            " SELECT event_id, 'priced', 'priced', %s FROM token_ledger_events",
            (everything,),
        )
    return database_url


def test_every_form_of_a_report_is_clean(hostile_url: str) -> None:
    calls = ask(hostile_url, "SELECT count(DISTINCT feature) FROM token_ledger_events")[0][0]
    for shape in ("table", "md", "csv"):
        for by in ("feature", "user,model", "metadata.x,provider"):
            done = run("report", "--by", by, "--format", shape)
            assert done.exit_code == 0
            assert not DANGEROUS.search(done.stdout), (shape, by)
    shown = run("report", "--by", "feature", "--format", "csv", "--limit", "500").stdout
    rows = list(csv.reader(io.StringIO(shown, newline=""), strict=True))
    assert len(rows) == calls + 1
    assert {len(cells) for cells in rows} == {len(rows[0])}
    assert sum(Decimal(cells[1]) for cells in rows[1:]) == Decimal("0.0035") * (
        len(ESCAPES) + len(FORMULAS)
    )
    assert all(line.startswith('"') for line in shown.splitlines()[1:])


def test_explain_prices_and_reprice_are_clean(hostile_url: str) -> None:
    [(event_id,)] = ask(hostile_url, "SELECT event_id FROM token_ledger_events LIMIT 1")
    for words in (
        ("explain", str(event_id)),
        ("prices", "missing"),
        ("prices", "missing", "--format", "csv"),
        ("prices", "list", "--provider", "\x1b[2A"),
        ("prices", "show", "\x1b[2A", "\x1b[2A"),
        ("reprice", "--since", "7d", "--dry-run"),
        ("report", "--by", "\x1b[2A"),
        ("report", "--where", "user=\x1b[2A", "--timezone", "\x1b[2A"),
        ("purge", "--where", "\x1b[2A=x"),
        ("doctor",),
    ):
        done = run(*words)
        assert done.exception is None or isinstance(done.exception, SystemExit), words
        assert not DANGEROUS.search(done.output), words


def test_a_log_line_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        log.warn("spool_unreadable", "a\nERROR forged\x1b[2A is of another format")
    assert caplog.records[0].getMessage() == (
        "tokenledger: a\\nERROR forged\\x1b[2A is of another format"
    )
