"""What a call costs at once, before its row is written and without asking the database."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tokenledger_exporter.recorder.drainer import package_prices
from tokenledger_exporter.recorder.ledger import PostgresLedger
from tokenledger_semconv.attributes import (
    ERROR_TYPE,
    HTTP_STATUS_CODE,
    INPUT_TOKENS,
    OPERATION_NAME,
    OUTPUT_TOKENS,
    PROVIDER_NAME,
    REQUEST_MODEL,
)
from tokenledger_semconv.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.util.types import AttributeValue

    from tokenledger_exporter.pricing.book import PriceBook

NOVEMBER = 1_795_176_000 * 10**9
A_CALL: dict[str, AttributeValue] = {
    OPERATION_NAME: "chat",
    PROVIDER_NAME: "openai",
    REQUEST_MODEL: "gpt-4o",
    INPUT_TOKENS: 1_000,
    OUTPUT_TOKENS: 100,
}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[PostgresLedger]:
    """A ledger whose database cannot be reached."""
    unreachable = "postgresql://127.0.0.1:1/x"
    settings = replace(Settings(), database_url=unreachable, spool_dir=str(tmp_path))
    opened = PostgresLedger(settings)
    yield opened
    opened.shutdown(1.0)


def test_a_call_is_priced_by_the_package_until_the_ledger_was_read(ledger: PostgresLedger) -> None:
    """gpt-4o, USD a million tokens: input 2.50, output 10.00."""
    cost = (1_000 * Decimal("2.5") + 100 * Decimal(10)) / 1_000_000
    assert ledger.price(A_CALL, NOVEMBER, failed=False) == cost
    assert ledger.health()["last_error"] is None


def test_a_price_book_the_ledger_holds_wins(
    ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    drainer: Any = getattr(ledger, "_drainer")  # noqa: B009 - what it read stands for a database
    asked: list[str] = []

    def prices_of(provider: str) -> PriceBook:
        asked.append(provider)
        return package_prices()

    monkeypatch.setattr(getattr(ledger, "_writer"), "prices_of", prices_of)  # noqa: B009
    drainer._prices_of("openai")  # noqa: SLF001 - what a batch does
    assert drainer.known_prices.keys() == {"openai"}
    monkeypatch.setattr("tokenledger_exporter.recorder.ledger.package_prices", None)
    assert ledger.price(A_CALL, NOVEMBER, failed=False)
    assert asked == ["openai"]


@pytest.mark.parametrize(
    "other",
    [{REQUEST_MODEL: "nobody-knows"}, {INPUT_TOKENS: "many", OUTPUT_TOKENS: -1}],
    ids=["unknown-model", "no-usage"],
)
def test_what_would_have_no_cost_as_a_row_has_none(
    ledger: PostgresLedger, other: dict[str, AttributeValue]
) -> None:
    assert ledger.price({**A_CALL, **other}, NOVEMBER, failed=False) is None


def test_a_refused_call_is_free(ledger: PostgresLedger) -> None:
    refused: dict[str, AttributeValue] = {
        OPERATION_NAME: "chat",
        REQUEST_MODEL: "gpt-4o",
        ERROR_TYPE: "RateLimitError",
        HTTP_STATUS_CODE: 429,
    }
    assert ledger.price(refused, NOVEMBER, failed=True) == 0
