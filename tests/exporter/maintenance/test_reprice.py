"""Pricing rows again, with a trail; what a row's cost is made of; the ledger as it stood."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest
from click.testing import CliRunner

from support.ledger_rows import HEADER, ask, build_row, chat_attributes, package_book, record
from tokenledger_exporter.cli import main
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from click.testing import Result

    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import AttributeValue
    from tokenledger_exporter.pricing.book import PriceBook

ACME = chat_attributes(gen_ai__request__model="acme-7b")


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


@pytest.fixture
def ledger_url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TOKENLEDGER_DATABASE_URL", database_url)
    return database_url


def store(
    database_url: str,
    *told: dict[str, AttributeValue],
    book: PriceBook | None = None,
    days_ago: int = 0,
    failed: bool = False,
) -> list[LedgerRow]:
    """Rows of such calls, priced by the package or another book."""
    start = time.time_ns() - days_ago * 86_400_000_000_000
    made = [
        build_row(
            record(t, start_ns=start, failed=failed), HEADER, lambda _p: book or package_book()
        )
        for t in told
    ]
    rows = [row for row in made if row is not None]
    writer = BatchWriter(database_url)
    writer.write(rows)
    writer.close()
    return rows


def repriced(*words: str) -> list[dict[str, object]]:
    done = run("reprice", "--since", "60d", "--format", "json", *words)
    assert done.exit_code == 0, done.output
    found: list[dict[str, object]] = json.loads(done.stdout)["rows"]
    return found


def costs(database_url: str) -> list[tuple[object, ...]]:
    return ask(
        database_url,
        "SELECT model, cost_usd, cost_status, cost_note FROM token_ledger_events "
        "ORDER BY timestamp, 1",
    )


def test_pricing_a_missing_model_later_fills_its_rows(ledger_url: str) -> None:
    store(ledger_url, ACME, ACME)
    assert costs(ledger_url)[0] == ("acme-7b", None, "unpriced", "no price for acme-7b at openai")
    assert repriced() == []
    run("prices", "set", "openai", "acme-7b", "--input", "1", "--output", "10")
    looked = repriced("--dry-run")
    assert looked == [
        {
            "provider": "openai",
            "model": "acme-7b",
            "rows": 2,
            "filled": 2,
            "old_usd": None,
            "new_usd": "0.004",
            "difference_usd": "0.004",
        }
    ]
    assert costs(ledger_url)[0][2] == "unpriced"
    assert repriced("--status", "unpriced", "--reason", "contract 7") == looked
    assert costs(ledger_url) == [("acme-7b", Decimal("0.002"), "priced", "")] * 2
    trail = ask(
        ledger_url,
        "SELECT old_cost_usd, new_cost_usd, old_cost_status, new_cost_status, old_price_id, "
        "new_price_id LIKE 'openai/acme-7b/standard/custom-%', changed_by = CURRENT_USER, reason "
        "FROM token_ledger_repricings",
    )
    change = (None, Decimal("0.002"), "unpriced", "priced", "", True, True, "contract 7")
    assert trail == [change] * 2


def test_repricing_twice_writes_nothing_the_second_time(ledger_url: str) -> None:
    store(ledger_url, chat_attributes(), ACME)
    run("prices", "set", "openai", "gpt-4o", "--input", "1", "--output", "1")
    assert len(repriced()) == 1
    done = run("reprice", "--since", "60d")
    assert "0 of 2 rows changed" in done.stderr
    assert ask(ledger_url, "SELECT count(*) FROM token_ledger_repricings") == [(1,)]


def test_a_row_is_priced_by_its_own_day(ledger_url: str) -> None:
    store(ledger_url, chat_attributes(), days_ago=10)
    store(ledger_url, chat_attributes())
    today = datetime.now(timezone.utc).date()
    run("prices", "set", "openai", "gpt-4o", "--input", "1", "--output", "1", "--from", f"{today}")
    assert [change["rows"] for change in repriced()] == [1]
    assert [cost for _, cost, _, _ in costs(ledger_url)] == [Decimal("0.0035"), Decimal("0.0011")]


def test_models_providers_and_statuses_narrow_the_rows(ledger_url: str) -> None:
    store(ledger_url, chat_attributes(), chat_attributes(gen_ai__request__model="gpt-4o-mini"))
    run("prices", "set", "--discount", "50", "--provider", "openai", "--from", "2026-01-01")
    assert len(repriced("--dry-run")) == 2
    assert len(repriced("--dry-run", "--model", "gpt-4o")) == 1
    assert repriced("--dry-run", "--provider", "anthropic") == []
    assert repriced("--dry-run", "--status", "unpriced,partial") == []
    assert run("reprice", "--since", "1d", "--status", "unmeasured").exit_code == 2
    assert run("reprice").exit_code == 2


def test_a_cost_that_came_without_a_price_sheet_is_not_touched(ledger_url: str) -> None:
    refused: dict[str, AttributeValue] = {
        attributes.OPERATION_NAME: "chat",
        attributes.PROVIDER_NAME: "openai",
        attributes.REQUEST_MODEL: "gpt-4o",
        attributes.HTTP_STATUS_CODE: 400,
    }
    store(ledger_url, refused, failed=True)
    with psycopg.connect(ledger_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_events (provider, model, input_tokens, cost_usd, cost_status)"
            " VALUES ('openai', 'gpt-4o', 10, 7, 'priced')"
        )
    run("prices", "set", "openai", "gpt-4o", "--input", "1", "--output", "1")
    assert repriced() == []
    assert [cost for _, cost, _, _ in costs(ledger_url)] == [Decimal(0), Decimal(7)]


def test_a_row_without_a_current_price_keeps_its_cost(ledger_url: str) -> None:
    store(ledger_url, chat_attributes())
    with psycopg.connect(ledger_url) as connection:
        connection.execute("DELETE FROM token_ledger_prices WHERE provider = 'openai'")
    done = run("reprice", "--since", "1d")
    assert "1 no longer has a price and keeps its cost" in done.stderr
    assert costs(ledger_url)[0][1] == Decimal("0.0035")


def test_an_estimated_row_stays_estimated_when_a_price_is_found(ledger_url: str) -> None:
    store(ledger_url, ACME | {attributes.USAGE_ESTIMATED: True})
    run("prices", "set", "openai", "acme-7b", "--input", "1", "--output", "1")
    repriced()
    assert costs(ledger_url)[0][2] == "estimated"


def test_what_was_unknown_of_a_row_stays_so_when_a_price_is_found(ledger_url: str) -> None:
    store(ledger_url, ACME | {attributes.UNKNOWN_USAGE: "what the tool used"})
    assert costs(ledger_url)[0][2] == "unpriced"
    run("prices", "set", "openai", "acme-7b", "--input", "1", "--output", "1")
    repriced()
    assert costs(ledger_url)[0][2] == "partial"
    run("prices", "set", "openai", "acme-7b", "--input", "2", "--output", "2")
    repriced()
    assert costs(ledger_url)[0][2] == "partial"


def test_many_rows_are_changed_batch_by_batch(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenledger_exporter.maintenance.reprice.BATCH_ROWS", 3)
    store(ledger_url, *[ACME] * 10)
    run("prices", "set", "openai", "acme-7b", "--input", "1", "--output", "1")
    assert repriced()[0]["rows"] == 10
    assert {status for _, _, status, _ in costs(ledger_url)} == {"priced"}
    assert ask(ledger_url, "SELECT count(*) FROM token_ledger_repricings") == [(10,)]


def test_explaining_prints_the_arithmetic_to_the_last_digit(ledger_url: str) -> None:
    used = chat_attributes() | {attributes.CACHE_READ_TOKENS: 600}
    (row,) = store(ledger_url, used)
    told = json.loads(run("explain", str(row.event_id), "--format", "json").stdout)
    assert [(line["kind"], line["units"], line["price_usd"]) for line in told["lines"]] == [
        ("input", 400, "2.5"),
        ("cache_read", 600, "1.25"),
        ("output", 100, "10"),
    ]
    parts = [Decimal(line["cost_usd"]) for line in told["lines"]]
    assert sum(parts) == Decimal(told["sum_usd"]) == Decimal(told["cost_usd"]) == row.cost_usd
    assert told["agrees"] is True
    assert told["source"].startswith("genai-prices ")
    assert told["price_id"] == row.price_id
    text = run("explain", str(row.event_id)).stdout
    assert "400 tokens x $2.5 / 1,000,000 = $0.001" in text
    assert "status  priced: every count has a price" in text


def test_explaining_says_why_there_is_no_cost(ledger_url: str) -> None:
    (row,) = store(ledger_url, ACME)
    done = run("explain", str(row.event_id))
    assert done.exit_code == 0
    assert "no cost" in done.stdout
    assert "note    no price for acme-7b at openai" in done.stdout


def test_explain_names_the_repricing_that_set_a_cost(ledger_url: str) -> None:
    (row,) = store(ledger_url, chat_attributes())
    run("prices", "set", "openai", "gpt-4o", "--input", "1", "--output", "1")
    repriced("--reason", "contract 7")
    text = run("explain", str(row.event_id)).stdout
    assert "cost    $0.0011 (equals the sum exactly)" in text
    assert "$0.0035 (priced) -> $0.0011 (priced): contract 7" in text
    with psycopg.connect(ledger_url) as connection:
        connection.execute("UPDATE token_ledger_events SET price_id = %s", [row.price_id])
    done = run("explain", str(row.event_id))
    assert done.exit_code == 1
    assert "differs from the sum: set by the repricing of " in done.stdout
    with psycopg.connect(ledger_url) as connection:
        connection.execute("UPDATE token_ledger_events SET cost_usd = 9")
    assert "edited manually" in run("explain", str(row.event_id)).stdout


@pytest.mark.usefixtures("ledger_url")
def test_an_invalid_or_unknown_id_is_a_usage_error() -> None:
    assert "invalid event id" in run("explain", "x").stderr
    done = run("explain", "00000000-0000-8000-8000-000000000000")
    assert done.exit_code == 2
    assert "not found; use an id" in done.stderr


def totals(*words: str) -> dict[str, object]:
    done = run("report", "--format", "json", *words)
    assert done.exit_code == 0, done.output
    document: dict[str, dict[str, object]] = json.loads(done.stdout)
    return document["totals"] | {"coverage": document["coverage"]}


def test_a_report_as_of_a_time_shows_what_was_known_then(ledger_url: str) -> None:
    store(ledger_url, chat_attributes(), ACME)
    first = datetime.now(timezone.utc).isoformat()
    run("prices", "set", "openai", "gpt-4o", "--input", "1", "--output", "1")
    run("prices", "set", "openai", "acme-7b", "--input", "1", "--output", "1")
    repriced()
    second = datetime.now(timezone.utc).isoformat()
    run("prices", "set", "openai", "gpt-4o", "--input", "2", "--output", "2")
    repriced()
    store(ledger_url, chat_attributes())
    at_first, at_second = (totals("--as-of", moment) for moment in (first, second))
    assert (at_first["cost_usd"], at_first["calls"]) == ("0.0035", 2)
    assert isinstance(at_first["coverage"], dict)
    assert at_first["coverage"]["unpriced"] == 1
    assert (at_second["cost_usd"], at_second["calls"]) == ("0.0022", 2)
    assert totals()["cost_usd"] == str(Decimal("0.0022") + Decimal("0.0011") + Decimal("0.0035"))
    before = (datetime.now(timezone.utc) - timedelta(days=1)).isoformat()
    assert totals("--as-of", before)["calls"] == 0


def test_a_report_as_if_another_model_had_answered(ledger_url: str) -> None:
    embedding = chat_attributes(gen_ai__operation__name="embeddings")
    store(ledger_url, chat_attributes(), ACME, embedding)
    done = run("report", "--by", "model", "--format", "json", "--as-if", "gpt-4o-mini")
    document = json.loads(done.stdout)
    one = Decimal("0.15") * 1_000 / 1_000_000 + Decimal("0.6") * 100 / 1_000_000
    assert Decimal(document["totals"]["cost_usd"]) == 2 * one
    assert document["as_if"] == "openai/gpt-4o-mini"
    assert document["coverage"]["priced"] == 2
    assert document["coverage"]["unpriced"] == 1
    assert "the actual cost was $" in done.stderr
    assert "1 calls unpriced: operation embeddings" in done.stderr
    by_model = {row["model"]: Decimal(row["cost_usd"]) for row in document["rows"]}
    assert by_model == {"gpt-4o": one, "acme-7b": one}


@pytest.mark.usefixtures("ledger_url")
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--as-if", "acme-7b"), "use PROVIDER/MODEL"),
        (("--as-if", "openai/acme-7b"), "no price for 'acme-7b' at 'openai'"),
        (("--as-if", "gpt-4o", "--as-of", "1d"), "cannot be combined"),
    ],
)
def test_an_unusable_comparison_model_is_reported(words: tuple[str, ...], why: str) -> None:
    done = run("report", *words)
    assert done.exit_code == 2
    assert why in done.stderr


def test_an_old_price_book_is_reported(ledger_url: str) -> None:
    store(ledger_url, chat_attributes())
    assert run("report").stderr == ""
    with psycopg.connect(ledger_url) as connection:
        connection.execute("UPDATE token_ledger_prices SET checked_on = CURRENT_DATE - 31")
    run("prices", "set", "openai", "gpt-4o", "--input", "1", "--output", "1")
    done = run("report", "--format", "json")
    assert "31 days ago: upgrade genai-prices" in done.stderr
    assert "31 days ago" in json.loads(done.stdout)["coverage"]["notes"][0]
    assert "warn  prices: prices were last checked" in run("doctor").stdout


def test_a_negative_difference_is_a_number_in_a_spreadsheet(ledger_url: str) -> None:
    store(ledger_url, chat_attributes())
    run("prices", "set", "openai", "gpt-4o", "--input", "1", "--output", "1")
    done = run("reprice", "--since", "1d", "--dry-run", "--format", "csv")
    assert done.stdout.splitlines()[1] == ('"openai","gpt-4o","1","0","0.0035","0.0011","-0.0024"')
