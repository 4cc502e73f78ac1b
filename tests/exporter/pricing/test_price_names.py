"""Every model the older trackers document, and every spelling of a name, has a price.

And what holds of every cost, whatever was used.
"""

from __future__ import annotations

import os
import re
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.ledger_rows import package_book
from tokenledger_exporter.domain.provider_names import ledger_name
from tokenledger_semconv.model_providers import provider_of
from tokenledger_semconv.tokens import TokenVector

NOW = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
TEXT = TokenVector(input_tokens=1_000, output_tokens=100)
EMBEDDED = TokenVector(input_tokens=1_000)

# What the older trackers' documents say they price (TokenLedger 0.1.1, token-usage-metrics 0.1.2,
# Tokenr; read 2026-11-22).
NAMED = (
    *("gpt-4o", "gpt-4o-mini", "gpt-4-turbo", "gpt-4", "gpt-3.5-turbo", "o1", "o1-mini"),
    *("claude-opus-4-5", "claude-3-5-sonnet", "claude-3-5-sonnet-20241022", "claude-3-5-haiku"),
    *("claude-3-opus", "claude-3-sonnet", "claude-3-haiku"),
)
NAMED_EMBEDDINGS = ("text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002")


def is_priced(model: str, used: TokenVector = TEXT) -> bool:
    cost = package_book().cost(ledger_name(provider_of(model)), model, NOW, "", used)
    return cost is not None and not cost.unpriced_kinds and cost.total_usd > 0


@pytest.mark.parametrize("model", NAMED)
def test_every_model_the_older_documents_name_is_priced(model: str) -> None:
    assert is_priced(model)


@pytest.mark.parametrize("model", NAMED_EMBEDDINGS)
def test_every_embedding_the_older_documents_name_is_priced(model: str) -> None:
    assert is_priced(model, EMBEDDED)


@pytest.mark.skipif(
    not os.environ.get("TOKENLEDGER_TEST_CORPUS"), reason="TOKENLEDGER_TEST_CORPUS is not set"
)
def test_no_model_in_the_older_documents_was_forgotten() -> None:
    """Their texts are not ours to keep, so they are read where the corpus is."""
    folder = Path(os.environ["TOKENLEDGER_TEST_CORPUS"]).parent / "seeds"
    text = "\n".join(path.read_text() for path in folder.glob("0*.txt"))
    found = re.findall(r"[\"'`](gpt-[\w.-]+|claude-[\w.-]+|o\d[\w.-]*|text-embedding-[\w-]+)", text)
    assert len(found) > 10
    assert {name.rstrip(".") for name in found} <= {*NAMED, *NAMED_EMBEDDINGS}


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-20240806", "gpt-4o"),
        ("gpt-4o-latest", "gpt-4o"),
        ("gpt-3.5-turbo-0125", "gpt-3.5-turbo"),
        ("gpt-5-chat-latest", "gpt-5"),
        ("GPT-4o", "gpt-4o"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet"),
        ("claude-opus-4-5-20251101", "claude-opus-4-5"),
        ("claude-opus-4-20250514", "claude-opus-4-0"),
    ],
)
def test_dated_latest_and_alias_names_cost_what_the_plain_name_does(
    written: str, plain: str
) -> None:
    provider = ledger_name(provider_of(plain))
    cost = package_book().cost(provider, written, NOW, "", TEXT)
    assert cost is not None
    assert cost == package_book().cost(provider, plain, NOW, "", TEXT)


@pytest.mark.parametrize(
    ("name", "usd_in", "usd_out"),
    [
        ("ft:gpt-4o-2024-08-06:acme::abc", "3.75", "15"),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", "0.3", "1.2"),
        ("ft:gpt-3.5-turbo-0125:acme::abc", "3", "6"),
    ],
)
def test_fine_tuned_names_have_the_fine_tuned_price(name: str, usd_in: str, usd_out: str) -> None:
    cost = package_book().cost("openai", name, NOW, "", TEXT)
    assert cost is not None
    assert cost.total_usd == (Decimal(usd_in) * 1_000 + Decimal(usd_out) * 100) / 1_000_000


MODELS = st.sampled_from(
    ["gpt-4o", "gpt-5", "gpt-4.1", "claude-sonnet-4-5", "claude-opus-4-5", "gpt-realtime-mini"]
)
TIERS = st.sampled_from(["", "batch", "flex", "priority"])
COUNTS = st.lists(st.integers(0, 400_000), min_size=6, max_size=6)


def used_of(counts: list[int]) -> TokenVector:
    uncached, cached, minutes, hours, out, searches = counts
    return TokenVector(
        input_tokens=uncached + cached + minutes + hours,
        cached_tokens=cached,
        cache_write_tokens=minutes + hours,
        cache_write_1h_tokens=hours,
        output_tokens=out,
        web_search_requests=searches,
    )


@settings(max_examples=200, deadline=None)
@given(model=MODELS, tier=TIERS, counts=COUNTS)
def test_the_lines_of_a_bill_sum_to_its_total_and_none_is_negative_or_a_float(
    model: str, tier: str, counts: list[int]
) -> None:
    provider = ledger_name(provider_of(model))
    cost = package_book().cost(provider, model, NOW, tier, used_of(counts))
    assert cost is not None
    bill = package_book().bill(cost.price_id, used_of(counts))
    assert bill is not None
    assert bill[0] == cost
    amounts = [line.cost_usd for line in bill[1]]
    assert sum(amounts) == cost.total_usd
    assert all(type(amount) is Decimal and amount >= 0 for amount in (*amounts, cost.total_usd))


@settings(max_examples=200, deadline=None)
@given(model=MODELS, tier=TIERS, counts=COUNTS, more=st.integers(1, 100_000), at=st.integers(0, 5))
def test_no_count_that_grows_makes_a_call_cheaper(
    model: str, tier: str, counts: list[int], more: int, at: int
) -> None:
    provider = ledger_name(provider_of(model))
    grown = [*counts]
    grown[at] += more
    less = package_book().cost(provider, model, NOW, tier, used_of(counts))
    greater = package_book().cost(provider, model, NOW, tier, used_of(grown))
    assert less is not None
    assert greater is not None
    assert greater.total_usd >= less.total_usd


def test_unreported_counts_cost_nothing() -> None:
    cost = package_book().cost("openai", "gpt-4o", NOW, "", TEXT._replace(output_tokens=None))
    assert cost is not None
    assert cost.output_usd == 0
