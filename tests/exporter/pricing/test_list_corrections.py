"""Corrections of the price list: names, prices, cached input, peak hours, and doubts."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from genai_prices.data import providers

from support.ledger_rows import chat_attributes, package_book, row
from tokenledger_exporter.pricing.catalog.genai_prices import import_package_prices, package_rows
from tokenledger_exporter.pricing.catalog.lookup import difference, load_book
from tokenledger_exporter.pricing.list_corrections import corrections
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from tokenledger_exporter.pricing.price_row import Cost

NOON = datetime(2026, 11, 27, 12, tzinfo=timezone.utc)
MILLION = TokenVector(input_tokens=1_000_000, output_tokens=1_000_000)
US_ONLY = "the price list has the price of us-east-1 only"


def made(
    provider: str,
    model: str,
    moment: datetime = NOON,
    tier: str = "",
    **counts: Any,  # noqa: ANN401 - any count
) -> Cost:
    cost = package_book().cost(provider, model, moment, tier, MILLION._replace(**counts))
    assert cost is not None
    return cost


def cost(provider: str, model: str, moment: datetime = NOON, **counts: Any) -> Decimal:  # noqa: ANN401 - any count
    return made(provider, model, moment, **counts).total_usd


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


# Names.


def test_mistrals_latest_large_model_is_the_third() -> None:
    assert cost("mistral", "mistral-large-latest") == Decimal("0.5") + Decimal("1.5")
    half_cached = cost("mistral", "mistral-large-latest", cached_tokens=500_000)
    assert half_cached == Decimal("0.25") + Decimal("0.025") + Decimal("1.5")
    assert cost("mistral", "ministral-3b-latest") == Decimal("0.1") + Decimal("0.1")
    assert cost("openai", "gpt-5-search-api-2025-10-14") == Decimal("1.25") + Decimal(10)


@pytest.mark.parametrize(
    ("provider", "name", "usd_in", "usd_out"),
    [
        ("openai", "davinci:2023-07-21-v2", "2", "2"),
        ("anthropic", "claude-mythos-5", "10", "50"),
        ("anthropic", "claude-mythos-5-1", "10", "50"),
        ("aws", "openai.gpt-oss-120b", "0.15", "0.6"),
        ("huggingface", "openai/gpt-oss-120b:groq", "0.15", "0.75"),
    ],
)
def test_a_name_that_requests_use_is_priced_as_the_model_it_means(
    provider: str, name: str, usd_in: str, usd_out: str
) -> None:
    assert cost(provider, name) == Decimal(usd_in) + Decimal(usd_out)


def test_every_alias_of_grok_costs_what_its_page_says() -> None:
    """Above 200,000 input tokens docs.x.ai bills twice its $1.25 and $2.50 (2026-11-28)."""
    names = [n for c in corrections().names if c.provider == "x-ai" for n in c.names]
    assert len(names) > 20
    for name in names:
        assert cost("x-ai", name, input_tokens=100_000) == Decimal("0.125") + Decimal("2.5")
        assert cost("x-ai", name) == Decimal("2.5") + Decimal(5)


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("huggingface", "openai/gpt-oss-120b"),
        ("huggingface", "openai/gpt-oss-120b:fastest"),
        ("huggingface", "acme/unknown:groq"),
        ("x-ai", "grok-4.20-reasoning-new"),
        ("openai", "ft:gpt-4.1"),
    ],
)
def test_a_name_without_a_certain_meaning_has_no_price(provider: str, name: str) -> None:
    assert package_book().sheet(provider, name, NOON) == ()


def test_hugging_faces_router_is_priced_by_the_provider_that_the_request_names() -> None:
    """The response names the model without the provider."""
    call = chat_attributes(
        gen_ai__provider__name="huggingface",
        gen_ai__request__model="openai/gpt-oss-120b:groq",
        gen_ai__response__model="openai/gpt-oss-120b",
    )
    # 1,000 tokens in and 100 out.
    assert row(call).cost_usd == Decimal("0.15") / 1_000 + Decimal("0.75") / 10_000


def test_a_correction_holds_from_the_day_it_is_known_for() -> None:
    before = utc("2026-08-20T12:00")
    assert cost("mistral", "mistral-large-latest", before) == Decimal(2) + Decimal(6)
    assert cost("mistral", "mistral-large-2411") == Decimal(2) + Decimal(6)


@pytest.mark.parametrize("correction", corrections().names, ids=lambda c: c.names[0])
def test_every_corrected_name_is_a_model_of_the_list(correction: Any) -> None:  # noqa: ANN401 - a struct
    of_model = {
        (row.kind, row.usd)
        for row in package_rows()
        if (row.provider, row.model) == (correction.provider, correction.priced_as)
    }
    for name in correction.names:
        sheet = package_book().sheet(correction.provider, name, NOON)
        assert sheet
        assert of_model.issuperset((row.kind, row.usd) for row in sheet)
        assert correction.citation in sheet[0].source


# Prices, and cached input.


@pytest.mark.parametrize(
    ("model", "tier", "uncached", "cached", "out"),
    [
        ("ft:gpt-4.1-2025-04-14:acme::id", "", "3", "0.75", "12"),
        ("ft:gpt-4.1-2025-04-14:acme::id", "batch", "1.5", "0.5", "6"),
        ("ft:gpt-4.1-mini-2025-04-14:acme::id", "", "0.8", "0.2", "3.2"),
        ("ft:gpt-4.1-nano-2025-04-14:acme::id", "", "0.2", "0.05", "0.8"),
        ("ft:o4-mini-2025-04-16:acme::id", "", "4", "1", "16"),
        ("ft:gpt-4o-2024-08-06:acme::id", "", "3.75", "1.875", "15"),
        ("ft:gpt-4o-mini-2024-07-18:acme::id", "", "0.3", "0.15", "1.2"),
    ],
)
def test_a_fine_tuned_model_has_its_price_and_its_price_of_cached_input(
    model: str, tier: str, uncached: str, cached: str, out: str
) -> None:
    priced = made("openai", model, tier=tier, cached_tokens=400_000)
    expected = Decimal(uncached) * 6 / 10 + Decimal(cached) * 4 / 10 + Decimal(out)
    assert (priced.total_usd, priced.unknown_usage) == (expected, "")


@pytest.mark.parametrize(
    ("model", "usd_in", "usd_out"),
    [
        ("codestral-latest", "0.3", "0.9"),
        ("magistral-medium-latest", "2", "5"),
        ("pixtral-large-latest", "2", "6"),
        ("devstral-small-latest", "0.1", "0.3"),
    ],
)
def test_cached_input_costs_a_tenth_at_mistral(model: str, usd_in: str, usd_out: str) -> None:
    priced = made("mistral", model, cached_tokens=1_000_000)
    assert priced.total_usd == Decimal(usd_in) / 10 + Decimal(usd_out)
    assert priced.unknown_usage == ""


def test_cached_input_without_a_price_on_the_list_makes_the_cost_partial() -> None:
    reported = chat_attributes(gen_ai__request__model="gpt-4")
    cached = reported | {"gen_ai.usage.cache_read.input_tokens": 400}
    assert row(reported).cost_status == "priced"
    doubtful = row(cached)
    assert doubtful.cost_status == "partial"
    assert doubtful.cost_note.startswith("no price for cached input")


def test_the_newest_gemini_has_its_price_on_every_tier() -> None:
    model = ("google", "gemini-4-hydrogen")
    assert cost(*model, cached_tokens=1_000_000) == Decimal("0.075") + Decimal("7.5")
    assert cost(*model, tier="flex") == Decimal("0.75") + Decimal("3.75")
    assert cost(*model, tier="priority") == Decimal("2.7") + Decimal("13.5")


@pytest.mark.parametrize("prices", corrections().prices, ids=lambda prices: prices.model)
def test_no_added_price_hides_one_of_the_list(prices: Any) -> None:  # noqa: ANN401 - a struct
    """If this fails, the list has the model now: remove the correction."""
    listed = next(provider for provider in providers if provider.id == prices.provider)
    assert prices.model not in {model.id for model in listed.models}


# Peak hours.


@pytest.mark.parametrize(
    ("at", "flash", "pro"),
    [
        # Weekdays: twice as much from 01:00 to 04:00 and from 06:00 to 10:00.
        ("2026-11-27T00:59", "0.75", "2.64"),
        ("2026-11-27T01:00", "1.5", "5.28"),
        ("2026-11-27T03:59", "1.5", "5.28"),
        ("2026-11-27T04:00", "0.75", "2.64"),
        ("2026-11-27T08:00", "1.5", "5.28"),
        ("2026-11-27T10:00", "0.75", "2.64"),
        # A Saturday, a Sunday, a Monday.
        ("2026-11-28T08:00", "0.75", "2.64"),
        ("2026-11-29T02:00", "0.75", "2.64"),
        ("2026-11-30T02:00", "1.5", "5.28"),
        # The Mid-Autumn Festival, and the days around National Day.
        ("2026-09-25T02:00", "0.75", "2.64"),
        ("2026-09-30T02:00", "1.5", "5.28"),
        ("2026-10-01T02:00", "0.75", "2.64"),
        ("2026-10-07T08:00", "0.75", "2.64"),
        ("2026-10-08T08:00", "1.5", "5.28"),
        # Saturday, 22 August was the last weekend day with peak hours, and 17 August the first.
        ("2026-08-22T02:00", "1.76", "5.28"),
        ("2026-08-23T02:00", "0.88", "2.64"),
        ("2026-08-17T02:00", "1.76", "5.28"),
        ("2026-08-16T02:00", "0.42", "1.305"),
    ],
)
def test_deepseeks_peak_hours_are_on_weekdays_without_holidays(
    at: str, flash: str, pro: str
) -> None:
    moment = utc(at)
    assert cost("deepseek", "deepseek-v4-flash", moment) == Decimal(flash)
    assert cost("deepseek", "deepseek-v4-pro", moment) == Decimal(pro)


def test_the_lists_own_peak_prices_are_those_of_the_correction() -> None:
    """If this fails, the list's peak price is not twice the other: read DeepSeek's page again."""
    monday = utc("2026-11-30T02:00")
    (deepseek,) = (provider for provider in providers if provider.id == "deepseek")
    for peak in corrections().peak_hours:
        for model in deepseek.models:
            if model.id in peak.models:
                listed = model.get_prices(monday, {})
                sheet = package_book().sheet("deepseek", model.id, monday)
                ours = {row.kind: row.usd for row in sheet}
                assert (ours["input"], ours["output"]) == (listed.input_mtok, listed.output_mtok)


@pytest.mark.integration
def test_a_stored_price_book_knows_the_days_of_the_week(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        import_package_prices(connection)
        book = load_book(connection, "deepseek")
    for at in ("2026-11-27T08:00", "2026-11-28T08:00", "2026-10-01T02:00", "2026-11-30T02:00"):
        stored = book.cost("deepseek", "deepseek-flash", utc(at), "", MILLION)
        assert stored is not None
        assert stored.total_usd == cost("deepseek", "deepseek-flash", utc(at))


# Doubts.


@pytest.mark.parametrize(
    ("provider", "name", "reason"),
    [
        ("aws", "eu.amazon.nova-pro-v1:0", US_ONLY),
        ("aws", "apac.amazon.nova-lite-v1:0", US_ONLY),
        ("aws", "jp.amazon.nova-2-lite-v1:0", US_ONLY),
        ("aws", "eu.meta.llama3-2-1b-instruct-v1:0", US_ONLY),
        ("aws", "us-gov.openai.gpt-oss-120b-1:0", US_ONLY),
        ("aws", "us-gov.anthropic.claude-sonnet-5", US_ONLY),
        ("aws", "us-gov-west-1/amazon.nova-pro-v1:0", US_ONLY),
        ("aws", "arn:aws:bedrock:eu-central-1::foundation-model/amazon.nova-pro-v1:0", US_ONLY),
        ("google", "gemini-3.8-flash-cyber", "the price list has the price of gemini-3.8-flash"),
        ("aws", "amazon.nova-2-lite-v1:0", "the price list has the prices of its regional and"),
        ("aws", "us.amazon.nova-pro-v1:0", ""),
        ("aws", "amazon.nova-pro-v1:0", ""),
        ("aws", "eu.anthropic.claude-sonnet-5", ""),
        ("aws", "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", ""),
        ("google", "gemini-3.8-flash", ""),
    ],
)
def test_a_list_price_of_another_region_or_model_is_in_doubt(
    provider: str, name: str, reason: str
) -> None:
    doubt = made(provider, name, input_tokens=1_000).unknown_usage
    assert doubt.startswith(reason)
    assert bool(doubt) == bool(reason)
    call = chat_attributes(gen_ai__provider__name=provider, gen_ai__request__model=name)
    assert row(call).cost_status == ("partial" if reason else "priced")
    assert row(call).cost_note == doubt


@pytest.mark.integration
def test_a_custom_price_ends_a_doubt(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO token_ledger_prices (price_id, kind, provider, model, model_pattern, "
            "match_order, usd, per, source) VALUES ('own', 'input', 'aws', 'nova', "
            "'^eu\\.amazon\\.nova-pro', 0, 1, 1000000, 'contract 7')"
        )
        book = load_book(connection, "aws")
    priced = book.cost("aws", "eu.amazon.nova-pro-v1:0", NOON, "", TokenVector(input_tokens=10**6))
    assert priced is not None
    assert (priced.total_usd, priced.unknown_usage) == (Decimal(1), "")


def test_no_doubt_is_about_a_model_that_the_list_has() -> None:
    """If this fails, the list has the model's own price now: remove the doubt."""
    ids = {provider.id: {m.id.lower() for m in provider.models} for provider in providers}
    for doubt in corrections().doubts:
        assert not [name for name in ids[doubt.provider] if re.search(doubt.names, name)]


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
