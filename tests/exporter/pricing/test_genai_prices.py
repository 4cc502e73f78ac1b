"""The price book over several imports: corrections hold at once, and the user's own prices win."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from tokenledger_exporter.pricing.catalog import genai_prices
from tokenledger_exporter.store.writer import BatchWriter
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    import pytest

MILLION = TokenVector(input_tokens=1_000_000)


def price_of_a_million(database_url: str) -> Decimal:
    writer = BatchWriter(database_url)
    book = writer.prices_of("openai")
    writer.close()
    cost = book.cost("openai", "gpt-4o", datetime.now(timezone.utc), "", MILLION)
    assert cost is not None
    return cost.total_usd


def test_a_price_corrected_on_the_same_day_holds_at_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = list(genai_prices.package_rows())
    wrong = [replace(row, usd=row.usd * 2, price_id=row.price_id + "-wrong") for row in listed]
    for rows in (wrong, listed):
        monkeypatch.setattr(genai_prices, "package_rows", partial(iter, rows))
        with psycopg.connect(database_url) as connection:
            genai_prices.import_package_prices(connection)
    assert price_of_a_million(database_url) == Decimal("2.5")


def test_the_users_own_price_wins_over_every_later_import(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_prices (price_id, kind, provider, model, model_pattern, "
            "match_order, usd, per, source, checked_on) VALUES ('own', 'input', 'openai', "
            "'gpt-4o', '^gpt-4o$', 0, 1, 1000000, 'contract 2026-07', '2026-01-01')"
        )
        genai_prices.import_package_prices(connection)
    assert price_of_a_million(database_url) == 1


def test_an_import_again_adds_nothing(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert genai_prices.import_package_prices(connection) == 0
