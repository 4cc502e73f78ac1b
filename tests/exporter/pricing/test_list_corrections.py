"""Names that the list prices as another model have the prices of the one they mean."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from support.ledger_rows import package_book
from tokenledger_exporter.pricing.catalog.genai_prices import import_package_prices, package_rows
from tokenledger_exporter.pricing.catalog.list_corrections import corrected_names
from tokenledger_exporter.pricing.catalog.lookup import difference
from tokenledger_semconv.tokens import TokenVector

NOON = datetime(2026, 11, 27, 12, tzinfo=timezone.utc)
MILLION = TokenVector(input_tokens=1_000_000, output_tokens=1_000_000)


def cost(provider: str, model: str, moment: datetime = NOON, **counts: Any) -> Decimal | None:  # noqa: ANN401 - any count
    made = package_book().cost(provider, model, moment, "", MILLION._replace(**counts))
    return None if made is None else made.total_usd


def test_mistrals_latest_large_model_is_the_third() -> None:
    assert cost("mistral", "mistral-large-latest") == Decimal("0.5") + Decimal("1.5")
    half_cached = cost("mistral", "mistral-large-latest", cached_tokens=500_000)
    assert half_cached == Decimal("0.25") + Decimal("0.025") + Decimal("1.5")
    assert cost("mistral", "ministral-3b-latest") == Decimal("0.1") + Decimal("0.1")
    assert cost("openai", "gpt-5-search-api-2025-10-14") == Decimal("1.25") + Decimal(10)


def test_a_correction_holds_from_the_day_it_is_known_for() -> None:
    before = datetime(2026, 8, 20, 12, tzinfo=timezone.utc)
    assert cost("mistral", "mistral-large-latest", before) == Decimal(2) + Decimal(6)
    assert cost("mistral", "mistral-large-2411") == Decimal(2) + Decimal(6)


@pytest.mark.parametrize("correction", corrected_names(), ids=lambda correction: correction.name)
def test_every_correction_names_a_model_of_the_list_and_its_source(correction: Any) -> None:  # noqa: ANN401 - a struct
    sheet = package_book().sheet(correction.provider, correction.name, NOON)
    meant = package_book().sheet(correction.provider, correction.priced_as, NOON)
    assert [(row.kind, row.usd) for row in sheet] == [(row.kind, row.usd) for row in meant]
    assert f"{correction.source} {correction.checked}" in sheet[0].source


@pytest.mark.integration
def test_a_difference_shows_a_correction_that_the_ledger_lacks(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        import_package_prices(connection)
        assert difference(connection, package_rows(), "mistral") == []
        connection.execute("DELETE FROM token_ledger_prices WHERE model = 'mistral-large-latest'")
        shown = difference(connection, package_rows(), "mistral")
    assert {(row["change"], row["model"]) for row in shown} == {
        ("only in the package", "mistral-large-latest")
    }
