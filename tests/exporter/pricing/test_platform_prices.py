"""A model costs what the platform that served it asks, and no other price replaces it."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from genai_prices.data import providers

from support.ledger_rows import chat_attributes, package_book, row
from tokenledger_exporter.domain.provider_names import ledger_name
from tokenledger_exporter.pricing.book import PriceBook, tier_at
from tokenledger_exporter.pricing.catalog.genai_prices import BEFORE_GEO, package_rows
from tokenledger_exporter.pricing.price_row import PriceRow
from tokenledger_semconv.tokens import TokenVector

if TYPE_CHECKING:
    from tokenledger_exporter.domain.span_record import AttributeValue

NOW = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
# Below every threshold of long calls.
THOUSAND = TokenVector(input_tokens=1_000)
BEDROCK_SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/"


def mtok(usd_per_million: str, tokens: int) -> Decimal:
    """Dollars for tokens at a price a million."""
    return Decimal(usd_per_million) * tokens / 1_000_000


def priced(provider: str, model: str, *, tier: str = "") -> Decimal | None:
    cost = package_book().cost(provider, model, NOW, tier, THOUSAND)
    return None if cost is None else cost.total_usd


@pytest.mark.parametrize(
    ("model", "price"),
    [
        (BEDROCK_SONNET, "3.3"),
        (f"us.{BEDROCK_SONNET}", "3.3"),
        (f"eu.{BEDROCK_SONNET}", "3.3"),
        (f"global.{BEDROCK_SONNET}", "3"),
        (f"{PROFILE}us.{BEDROCK_SONNET}", "3.3"),
        (f"{PROFILE}global.{BEDROCK_SONNET}", "3"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "0.25"),
    ],
)
def test_bedrock_prices_apply_by_endpoint(model: str, price: str) -> None:
    """Since Claude 4.5 regional endpoints cost a tenth more than the global one."""
    assert priced("aws", model) == mtok(price, 1_000)


def test_a_profile_of_the_users_own_names_no_model_and_is_unpriced() -> None:
    own = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6"
    assert priced("aws", own) is None


@pytest.mark.parametrize("model", ["claude-sonnet-4-5@20250929", "claude-sonnet-4-5"])
def test_claude_on_vertex_costs_the_list_price_of_google(model: str) -> None:
    assert priced("google", model) == mtok("3", 1_000)


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-4-6", "claude-haiku-4-5"])
def test_claude_on_foundry_costs_what_anthropic_asks(model: str) -> None:
    """Microsoft Foundry bills Anthropic's standard API prices (platform.claude.com, 2026-11-22)."""
    assert priced("azure", model) == priced("anthropic", model)


@pytest.mark.parametrize(
    ("told", "provider", "model"),
    [
        ("aws.bedrock", "aws", f"us.{BEDROCK_SONNET}"),
        ("gcp.vertex_ai", "google", "claude-sonnet-4-5@20250929"),
        ("azure.ai.inference", "azure", "claude-sonnet-4-5"),
        ("azure.ai.openai", "azure", "gpt-4o"),
    ],
)
def test_a_platforms_span_becomes_a_priced_row(told: str, provider: str, model: str) -> None:
    made = row(chat_attributes(gen_ai__provider__name=told, gen_ai__request__model=model))
    assert (made.provider, made.cost_status) == (provider, "priced")
    assert made.price_id.startswith(f"{provider}/")


def test_a_deployment_is_priced_by_the_model_that_answered() -> None:
    told = chat_attributes(
        gen_ai__provider__name="azure.ai.openai", gen_ai__request__model="my-deployment"
    )
    assert row(told).cost_status == "unpriced"
    answered = row(told | {"gen_ai.response.model": "gpt-4o-2024-08-06"})
    assert (answered.request_model, answered.cost_status) == ("my-deployment", "priced")


@pytest.mark.parametrize(
    ("endpoint", "price"), [(f"global.{BEDROCK_SONNET}", "3"), (f"us.{BEDROCK_SONNET}", "3.3")]
)
def test_bedrocks_endpoint_sets_the_price_though_the_answer_names_only_the_model(
    endpoint: str, price: str
) -> None:
    told = chat_attributes(
        gen_ai__provider__name="aws.bedrock",
        gen_ai__request__model=endpoint,
        gen_ai__response__model="claude-sonnet-4-5-20250929",
    )
    made = row(told)
    assert made.input_cost_usd == mtok(price, 1_000)
    assert made.model == "claude-sonnet-4-5-20250929"


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        *[(seller, "gpt-4o") for seller in ("groq", "aws", "google", "anthropic", "mistral")],
        *[(seller, "gpt-4o") for seller in ("x-ai", "deepseek", "cohere", "together", "cerebras")],
        *[(seller, "gpt-4o") for seller in ("fireworks", "perplexity", "moonshotai", "ollama")],
        *[(seller, "claude-sonnet-4-5") for seller in ("openai", "groq", "mistral", "deepseek")],
        ("openai", "gemini-2.5-pro"),
        ("azure", "gemini-2.5-pro"),
        ("anthropic", BEDROCK_SONNET),
    ],
)
def test_a_model_a_provider_does_not_sell_is_unpriced(provider: str, model: str) -> None:
    assert priced(provider, model) is None


@pytest.mark.parametrize("provider", [provider.id for provider in providers])
def test_every_price_list_is_reached_by_its_own_name(provider: str) -> None:
    assert ledger_name(provider) == provider


@pytest.mark.parametrize(
    ("told", "provider"),
    [
        ("openai", "openai"),
        ("anthropic", "anthropic"),
        ("aws.bedrock", "aws"),
        ("gcp.vertex_ai", "google"),
        ("gcp.gemini", "google"),
        ("gcp.gen_ai", "google"),
        ("azure.ai.openai", "azure"),
        ("azure.ai.inference", "azure"),
        ("groq", "groq"),
        ("mistral_ai", "mistral"),
        ("deepseek", "deepseek"),
        ("x_ai", "x-ai"),
        ("openrouter", "openrouter"),
        ("together", "together"),
        ("together_ai", "together"),
        ("fireworks", "fireworks"),
        ("perplexity", "perplexity"),
        ("cerebras", "cerebras"),
        ("moonshot_ai", "moonshotai"),
        ("cohere", "cohere"),
        (" Groq ", "groq"),
    ],
)
def test_a_convention_name_reaches_its_price_list(told: str, provider: str) -> None:
    assert ledger_name(told) == provider
    assert any(one.id == provider for one in providers)


def test_a_provider_without_a_price_list_keeps_its_name() -> None:
    made = row(chat_attributes(gen_ai__provider__name="ollama", gen_ai__request__model="llama3"))
    assert (made.provider, made.cost_status) == ("ollama", "unpriced")


def test_inference_kept_in_the_united_states_costs_a_tenth_more() -> None:
    told = chat_attributes(
        gen_ai__provider__name="anthropic",
        gen_ai__request__model="claude-opus-4-6",
        gen_ai__usage__cache_read__input_tokens=400,
        anthropic__response__inference_geo="us",
        tokenledger__usage__web_search_requests=2,
    )
    made = row(told)
    assert made.inference_geo == "us"
    assert made.input_cost_usd == mtok("5", 600) * Decimal("1.1")
    assert made.cached_cost_usd == mtok("0.5", 400) * Decimal("1.1")
    assert made.output_cost_usd == mtok("25", 100) * Decimal("1.1")
    assert made.tool_cost_usd == Decimal(10) / 1_000 * 2
    assert "/standard@us/" in made.price_id


@pytest.mark.parametrize("geo", ["global", "not_available", ""])
def test_inference_anywhere_costs_the_list_price(geo: str) -> None:
    told = chat_attributes(
        gen_ai__provider__name="anthropic", gen_ai__request__model="claude-opus-4-6"
    )
    made = row(told | {"anthropic.response.inference_geo": geo})
    assert made.cost_usd == mtok("5", 1_000) + mtok("25", 100)


@pytest.mark.parametrize(
    ("tier", "price"), [("", "5"), ("batch", "2.5"), ("fast", "10"), ("priority", "5")]
)
def test_the_place_and_the_tier_are_multiplied(tier: str, price: str) -> None:
    model = "claude-opus-4-8"
    assert priced("anthropic", model, tier=tier) == mtok(price, 1_000)
    expected = mtok(price, 1_000) * Decimal("1.1")
    assert priced("anthropic", model, tier=tier_at(tier, "us")) == expected
    assert priced("anthropic", model, tier=tier_at(tier, "US")) == expected


def test_models_before_opus_4_6_have_no_regional_price() -> None:
    anthropic = [row for row in package_rows() if row.provider == "anthropic"]
    placed = {row.model for row in anthropic if "@" in row.tier}
    listed = {row.model for row in anthropic}
    assert {"claude-opus-4-6", "claude-sonnet-4-6", "claude-opus-5"} <= placed
    assert listed - placed == {model for model in listed if BEFORE_GEO.match(model)}
    assert {"claude-opus-4-5", "claude-haiku-4-5", "claude-3-opus-latest"} <= listed - placed


@pytest.mark.parametrize("tier", ["standard", "", "priority"])
def test_fast_mode_is_a_tier_of_its_own(tier: str) -> None:
    told = chat_attributes(
        gen_ai__provider__name="anthropic",
        gen_ai__request__model="claude-opus-4-8",
        anthropic__response__service_tier=tier,
        anthropic__response__speed="fast",
    )
    made = row(told)
    assert made.service_tier == "fast"
    assert "/fast/" in made.price_id
    assert made.cost_usd == mtok("10", 1_000) + mtok("50", 100)


def test_other_sellers_have_no_place_price() -> None:
    placed = {row.provider for row in package_rows() if "@" in row.tier}
    assert placed == {"anthropic", "openai"}


@pytest.mark.parametrize("region", ["us", "eu", "ae"])
@pytest.mark.parametrize(
    ("tier", "paid"), [("", "4"), ("batch", "2"), ("priority", "8"), ("default", "4")]
)
def test_an_endpoint_of_one_region_costs_a_tenth_more(region: str, tier: str, paid: str) -> None:
    expected = mtok(paid, 1_000) * Decimal("1.1")
    assert priced("openai", "gpt-5.6-sol", tier=tier_at(tier, region)) == expected


@pytest.mark.parametrize(
    ("model", "listed"), [("gpt-4o", "2.5"), ("gpt-5.2", "1.75"), ("o3", "2"), ("gpt-5.3", "1.75")]
)
def test_models_from_before_the_uplift_cost_the_same_everywhere(model: str, listed: str) -> None:
    assert priced("openai", model, tier=tier_at("", "eu")) == mtok(listed, 1_000)


@pytest.mark.parametrize("model", ["gpt-5.4", "gpt-5.4-mini-2026-03-17", "gpt-6-luna", "gpt-5.5"])
def test_models_since_the_uplift_have_it_in_every_kind_of_token(model: str) -> None:
    tokens = TokenVector(input_tokens=1_000, cached_tokens=400, output_tokens=100)
    anywhere, here = (
        package_book().cost("openai", model, NOW, tier_at("", region), tokens)
        for region in ("", "eu")
    )
    assert anywhere is not None
    assert here is not None
    assert here.total_usd == anywhere.total_usd * Decimal("1.1")


def test_a_search_costs_the_same_in_every_region() -> None:
    tokens = TokenVector(input_tokens=1_000, output_tokens=0, web_search_requests=2)
    cost = package_book().cost("openai", "gpt-5.5", NOW, tier_at("", "eu"), tokens)
    assert cost is not None
    assert cost.total_usd == mtok("5", 1_000) * Decimal("1.1") + Decimal(10) * 2 / 1_000


def test_a_region_that_only_stores_costs_what_the_list_says() -> None:
    assert priced("openai", "gpt-5.5", tier=tier_at("", "jp")) == mtok("5", 1_000)


@pytest.mark.parametrize(
    ("provider", "model", "told"),
    [
        ("openai", "gpt-5.6-sol", {"openai.response.service_tier": "ultrafast"}),
        ("anthropic", "claude-opus-4-6", {"anthropic.response.speed": "fast"}),
    ],
)
def test_a_tier_sold_at_a_price_on_no_list_is_never_the_standard_rate(
    provider: str, model: str, told: dict[str, AttributeValue]
) -> None:
    asked = chat_attributes(gen_ai__provider__name=provider, gen_ai__request__model=model)
    made = row(asked | told)
    assert (made.cost_usd, made.cost_status) == (None, "unpriced")
    assert made.cost_note == f"no price for {model} at {provider} on the tier {made.service_tier}"


def test_such_a_tier_has_the_price_the_user_says() -> None:
    own = PriceRow(
        price_id="openai/gpt-5.6-sol/ultrafast/own",
        kind="input",
        above_input_tokens=0,
        provider="openai",
        model="gpt-5.6-sol",
        model_pattern="^gpt-5\\.6-sol$",
        match_order=-1,
        tier="ultrafast",
        usd=Decimal(20),
        per=1_000_000,
        valid_from=None,
        valid_to=None,
        daily_from=None,
        daily_to=None,
        source="contract 9",
    )
    book = PriceBook([*package_rows(), own])
    cost = book.cost("openai", "gpt-5.6-sol", NOW, "ultrafast", TokenVector(input_tokens=1_000))
    assert cost is not None
    assert cost.total_usd == mtok("20", 1_000)
