"""Prices: sheets of a day, one model's history, models without a price, and what changed."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from support.page_reader import PageReader, read
from support.page_sql import page_with_answers
from tokenledger_exporter.web.pages.figures import price

if TYPE_CHECKING:
    from support.dashboard import Dashboard

SHEETS = """
INSERT INTO token_ledger_prices
    (price_id, kind, provider, model, model_pattern, match_order, usd, per, valid_from, valid_to,
     source)
SELECT
    price_id, kind, 'acme', model, '^' || model || '$', 0, usd, 1000000, since::date, until::date,
    'ours'
FROM (VALUES
    ('acme/a/1', 'input', 'acme-7b', 2, NULL, '2026-03-01'),
    ('acme/a/1', 'output', 'acme-7b', 4, NULL, '2026-03-01'),
    ('acme/a/2', 'input', 'acme-7b', 1.5, '2026-03-01', NULL),
    ('acme/a/2', 'output', 'acme-7b', 4, '2026-03-01', NULL),
    ('acme/b/1', 'input', 'acme-9b', 9, '2026-04-01', NULL)
) AS sheets (price_id, kind, model, usd, since, until)
"""


@pytest.fixture
def priced_url(filled_url: str) -> str:
    with psycopg.connect(filled_url) as connection:
        connection.execute(SHEETS.encode())
    return filled_url


def test_the_sheets_of_a_day_are_those_of_the_sql(dashboard: Dashboard, priced_url: str) -> None:
    path = "/prices?provider=acme&at=2026-02-01"
    page, (rows,) = page_with_answers(dashboard, path, priced_url)
    shown = [(row[3].value, row[5].value) for row in page.rows if len(row) == 10]
    assert shown == [("2", "4")]
    assert [(row["input_usd"], row["output_usd"]) for row in rows] == [(2, 4)]
    later = read(dashboard, "/prices?provider=acme&model=ACME-7B&at=2026-05-01")
    assert [row[3].value for row in later.rows if len(row) == 10] == ["1.5"]
    assert "1 sheet valid on 2026-05-01" in later.text
    assert "No sheet matches." in read(dashboard, "/prices?model=nothing").text


def test_a_long_list_has_pages(dashboard: Dashboard) -> None:
    first = read(dashboard, "/prices?limit=3")
    names = [row[0].text for row in first.rows if len(row) == 10]
    assert len(names) == 3
    assert "1 to 3 of " in " ".join(first.text.split())
    second = read(dashboard, "/prices?limit=3&page=2")
    assert [row[0].links for row in second.rows if row] != [
        row[0].links for row in first.rows if row
    ]
    assert "There are no more sheets." in read(dashboard, "/prices?page=99999").text


def test_a_model_shows_the_price_of_a_time_and_its_history(
    dashboard: Dashboard, priced_url: str
) -> None:
    path = "/prices/model?provider=acme&model=acme-7b&at=2026-02-01"
    page, answers = page_with_answers(dashboard, path, priced_url)
    kinds = {row[0].text.partition("USD")[0]: row[2].value for row in page.rows if len(row) == 4}
    assert kinds == {"input": "2", "output": "4"}
    history = [(row[0].text, row[5].value) for row in page.rows if len(row) == 9]
    assert sorted(history) == [
        ("-", "2"),
        ("-", "4"),
        ("2026-03-01", "1.5"),
        ("2026-03-01", "4"),
    ]
    rows = [row for answer in answers for row in answer if row.get("model") == "acme-7b"]
    assert {row["usd"] for row in rows} == {
        Decimal(2),
        Decimal(4),
        Decimal("1.5"),
    }


def test_a_model_without_a_price_at_that_time_says_so(
    dashboard: Dashboard, priced_url: str
) -> None:
    assert priced_url
    page = read(dashboard, "/prices/model?provider=acme&model=acme-9b&at=2026-02-01")
    assert "no price for 'acme-9b' at 'acme'" in page.text
    response = dashboard.get("/prices/model?provider=acme&model=acme-11b")
    assert response.status == 404
    assert "set one with" in PageReader(response.body.decode()).text


def test_models_without_a_price_have_their_calls_and_a_command(
    dashboard: Dashboard, filled_url: str
) -> None:
    page, (rows,) = page_with_answers(dashboard, "/prices/missing?since=7d", filled_url)
    assert "acme-7b at openai" in page.text
    assert "1 call, 40 input and 4 output tokens" in page.text
    assert "tokenledger prices set openai acme-7b --input USD --output USD --from" in page.text
    assert [(row["model"], row["calls"]) for row in rows] == [("acme-7b", 1)]
    hrefs = [attributes.get("href") for tag, attributes in page.tags if tag == "a"]
    link = "/calls?since=7d&where=provider%3Dopenai&where=model%3Dacme-7b&cost_status=unpriced"
    assert link in hrefs
    assert "acme-7b" in read(dashboard, link).text
    # Filters apply, and an empty answer says what it means.
    none = read(dashboard, "/prices/missing?since=7d&where=team=ml")
    assert "Every call of this period has a price." in none.text


def test_changes_between_two_days_are_those_of_the_sql(
    dashboard: Dashboard, priced_url: str
) -> None:
    path = "/prices/changes?provider=acme&before=2026-02-01&after=2026-05-01"
    page, (rows,) = page_with_answers(dashboard, path, priced_url)
    shown = [(row[3].text, row[5].value, row[6].value) for row in page.rows if len(row) == 9]
    # The output of acme-7b costs 4 on both days. acme-9b has no price on the first.
    assert shown == [("input", "2", "1.5"), ("input", None, "9")]
    assert [(row["before_usd"], row["after_usd"]) for row in rows] == [
        (2, Decimal("1.5")),
        (None, 9),
    ]
    assert "2 prices differ between 2026-02-01 and 2026-05-01" in page.text
    same = read(dashboard, "/prices/changes?provider=acme&before=2026-05-01&after=2026-05-02")
    assert "No price differs between the two days." in same.text


def test_a_custom_price_is_what_a_day_has_although_a_list_has_another(
    dashboard: Dashboard, priced_url: str
) -> None:
    with psycopg.connect(priced_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_prices (price_id, kind, provider, model, model_pattern,"
            " match_order, usd, per, valid_from, source) VALUES ('acme/a/list', 'input', 'acme',"
            " 'acme-7b', '^acme-7b$', 0, 77, 1000000, '2026-03-01', 'genai-prices 0.0.1')"
        )
    page = read(dashboard, "/prices/changes?provider=acme&before=2026-02-01&after=2026-05-01")
    assert [row[6].value for row in page.rows if len(row) == 9] == ["1.5", "9"]


def test_files_have_the_figures_of_the_page(dashboard: Dashboard, priced_url: str) -> None:
    assert priced_url
    sheets = dashboard.get("/prices.csv?provider=acme&at=2026-02-01").body.decode().splitlines()
    assert sheets[0].startswith("provider,model,tier,input_usd,output_usd,")
    assert sheets[1].startswith('"acme","acme-7b","standard","2","4"')
    days = "before=2026-02-01&after=2026-05-01&provider=acme"
    changes = dashboard.get(f"/prices/changes.csv?{days}").body.decode().splitlines()
    assert [line.split(",")[6:8] for line in changes[1:]] == [['"2"', '"1.5"'], ['""', '"9"']]
    document = dashboard.json(f"/prices/changes?{days}")
    assert document["count"] == 2
    assert [row["after_usd"] for row in document["rows"]] == ["1.5", "9"]
    history = dashboard.json("/prices/history?provider=acme&model=acme-9b")
    assert [row["usd"] for row in history] == ["9"]
    missing = dashboard.json("/prices/missing")
    assert [(row["model"], row["calls"]) for row in missing] == [("acme-7b", 1)]
    assert dashboard.get("/prices/missing.csv").body.decode().count("\n") == 2
    one = dashboard.get("/prices/model.csv?provider=acme&model=acme-9b").body.decode()
    assert '"9"' in one


@pytest.mark.parametrize(
    ("usd", "text"), [("0.075", "$0.075"), ("2", "$2"), ("0.30000000000000004", "$0.3")]
)
def test_a_price_has_all_digits_that_matter(usd: str, text: str) -> None:
    assert price(usd) == text
