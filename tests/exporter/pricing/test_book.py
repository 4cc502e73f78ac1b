"""What tokens cost: the arithmetic written out, and the price package's own answer as oracle."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timezone
from decimal import Decimal, getcontext, localcontext
from pathlib import Path

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data import providers
from hypothesis import given, settings
from hypothesis import strategies as st

from support.ledger_rows import package_book
from tokenledger_exporter.pricing.book import PriceBook
from tokenledger_exporter.pricing.price_row import PriceRow
from tokenledger_semconv.tokens import TokenVector

NOW = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
MODELS = [
    (provider.id, model.id)
    for provider in providers
    if provider.id in {"openai", "anthropic", "google", "mistral", "deepseek", "groq", "x-ai"}
    for model in provider.models
]


def mtok(usd_per_million: str, tokens: int) -> Decimal:
    """Dollars for tokens at a price a million."""
    return Decimal(usd_per_million) * tokens / 1_000_000


def cost_of(
    provider: str, model: str, tokens: TokenVector, *, tier: str = "", at: datetime = NOW
) -> Decimal:
    cost = package_book().cost(provider, model, at, tier, tokens)
    assert cost is not None
    return cost.total_usd


def test_cached_tokens_are_billed_once_at_their_own_rate() -> None:
    used = TokenVector(input_tokens=1_000, output_tokens=100, cached_tokens=600)
    expected = mtok("2.5", 400) + mtok("1.25", 600) + mtok("10", 100)
    assert cost_of("openai", "gpt-4o-2024-08-06", used) == expected


def test_cache_writes_of_both_lifetimes_have_their_own_rates() -> None:
    used = TokenVector(
        input_tokens=1_000,
        output_tokens=50,
        cached_tokens=200,
        cache_write_tokens=300,
        cache_write_1h_tokens=100,
    )
    expected = (
        mtok("3", 500) + mtok("0.3", 200) + mtok("3.75", 200) + mtok("6", 100) + mtok("15", 50)
    )
    assert cost_of("anthropic", "claude-sonnet-4-5-20250929", used) == expected


def test_reasoning_is_part_of_output_and_not_billed_again() -> None:
    plain = TokenVector(input_tokens=10, output_tokens=500)
    thinking = TokenVector(input_tokens=10, output_tokens=500, reasoning_tokens=400)
    assert cost_of("openai", "gpt-5", thinking) == cost_of("openai", "gpt-5", plain)


def test_audio_tokens_have_their_own_rate() -> None:
    used = TokenVector(
        input_tokens=150, output_tokens=90, audio_input_tokens=100, audio_output_tokens=60
    )
    expected = mtok("2.5", 50) + mtok("32", 100) + mtok("10", 30) + mtok("64", 60)
    assert cost_of("openai", "gpt-audio", used) == expected


def test_audio_without_a_price_of_its_own_is_not_billed_as_text() -> None:
    used = TokenVector(input_tokens=319, output_tokens=10, audio_input_tokens=211)
    cost = package_book().cost("openai", "gpt-4o-audio-preview", NOW, "", used)
    assert cost is not None
    assert cost.unpriced_kinds == ("input_audio",)
    assert cost.total_usd == mtok("2.5", 319 - 211) + mtok("10", 10)


def test_cached_audio_is_billed_at_its_own_rate_and_the_rest_of_the_audio_in_full() -> None:
    used = TokenVector(
        input_tokens=1_000,
        cached_tokens=600,
        cached_audio_tokens=500,
        audio_input_tokens=800,
        output_tokens=0,
    )
    expected = mtok("0.6", 100) + mtok("10", 300) + mtok("0.06", 100) + mtok("0.3", 500)
    assert cost_of("openai", "gpt-realtime-mini", used) == expected


def test_audio_whose_cached_part_is_unknown_is_taken_as_uncached_as_far_as_it_fits() -> None:
    used = TokenVector(
        input_tokens=1_000, cached_tokens=600, audio_input_tokens=800, output_tokens=0
    )
    expected = mtok("10", 400) + mtok("0.06", 600)
    assert cost_of("openai", "gpt-realtime-mini", used) == expected


def test_cached_audio_without_a_price_of_its_own_is_not_billed_as_text() -> None:
    used = TokenVector(
        input_tokens=500, cached_tokens=200, cached_audio_tokens=150, audio_input_tokens=150
    )
    cost = package_book().cost("openai", "gpt-4o", NOW, "", used)
    assert cost is not None
    assert cost.unpriced_kinds == ("cache_read_audio",)
    assert cost.total_usd == mtok("2.5", 300) + mtok("1.25", 50)


def test_cached_images_without_a_price_of_their_own_are_cached_input() -> None:
    used = TokenVector(
        input_tokens=500, cached_tokens=200, cached_image_tokens=150, image_input_tokens=150
    )
    assert cost_of("openai", "gpt-4o", used) == mtok("2.5", 300) + mtok("1.25", 200)


def test_cached_images_have_their_own_rate() -> None:
    used = TokenVector(
        input_tokens=1_000, cached_tokens=500, cached_image_tokens=400, image_input_tokens=900
    )
    expected = mtok("5", 0) + mtok("8", 500) + mtok("1.25", 100) + mtok("2", 400)
    assert cost_of("openai", "gpt-image-1.5", used) == expected


@settings(max_examples=200, deadline=None)
@given(
    model=st.sampled_from(["gpt-realtime", "gpt-realtime-2", "gpt-realtime-mini"]),
    parts=st.lists(st.integers(0, 100_000), min_size=8, max_size=8),
)
def test_text_audio_and_images_agree_with_the_price_package(model: str, parts: list[int]) -> None:
    _, audio, image, cached_text, cached_audio, cached_image, text_out, audio_out = parts
    used = TokenVector(
        input_tokens=sum(parts[:6]),
        audio_input_tokens=audio + cached_audio,
        image_input_tokens=image + cached_image,
        cached_tokens=cached_text + cached_audio + cached_image,
        cached_audio_tokens=cached_audio,
        cached_image_tokens=cached_image,
        output_tokens=text_out + audio_out,
        audio_output_tokens=audio_out,
    )
    assert used.faults() == ()
    oracle = calc_price(
        Usage(
            input_tokens=used.input_tokens,
            input_audio_tokens=used.audio_input_tokens,
            input_image_tokens=used.image_input_tokens,
            cache_read_tokens=used.cached_tokens,
            cache_audio_read_tokens=cached_audio,
            cache_image_read_tokens=cached_image,
            output_tokens=used.output_tokens,
            output_audio_tokens=audio_out,
        ),
        model,
        provider_id="openai",
        genai_request_timestamp=NOW,
    )
    assert cost_of("openai", model, used) == oracle.total_price


def test_a_price_of_the_users_own_for_an_image_bills_images_without_tokens() -> None:
    own = PriceRow(
        price_id="own",
        kind="image",
        above_input_tokens=0,
        provider="openai",
        model="dall-e-3",
        model_pattern="^dall-e-3$",
        match_order=0,
        tier="standard",
        usd=Decimal("0.04"),
        per=1,
        valid_from=None,
        valid_to=None,
        daily_from=None,
        daily_to=None,
        source="contract 2026-07",
    )
    cost = PriceBook([own]).cost("openai", "dall-e-3", NOW, "", TokenVector(images=3))
    assert cost is not None
    assert cost.total_usd == Decimal("0.04") * 3


def test_a_batch_costs_half() -> None:
    used = TokenVector(input_tokens=10_000, output_tokens=500)
    assert cost_of("openai", "gpt-4o", used, tier="batch") == mtok("1.25", 10_000) + mtok("5", 500)


def test_the_priority_tier_has_its_own_rate() -> None:
    used = TokenVector(input_tokens=10_000, output_tokens=500)
    expected = mtok("4.25", 10_000) + mtok("17", 500)
    assert cost_of("openai", "gpt-4o", used, tier="priority") == expected


def test_a_tier_without_a_price_is_billed_at_the_standard_rate() -> None:
    used = TokenVector(input_tokens=10_000, output_tokens=500)
    assert cost_of("openai", "gpt-4o", used, tier="scale") == cost_of("openai", "gpt-4o", used)


def test_a_long_call_reprices_every_token_above_the_threshold_only() -> None:
    below = TokenVector(input_tokens=200_000, output_tokens=10)
    above = TokenVector(input_tokens=200_001, output_tokens=10)
    model = "claude-sonnet-4-5"
    assert cost_of("anthropic", model, below) == mtok("3", 200_000) + mtok("15", 10)
    assert cost_of("anthropic", model, above) == mtok("6", 200_001) + mtok("22.5", 10)


def test_web_searches_are_billed_by_the_request() -> None:
    used = TokenVector(input_tokens=100, output_tokens=10, web_search_requests=3)
    expected = mtok("3", 100) + mtok("15", 10) + Decimal(10) * 3 / 1_000
    assert cost_of("anthropic", "claude-sonnet-4-5", used) == expected


def test_a_call_is_priced_by_its_own_day() -> None:
    """gpt-4o's priority rate is known from 2026-10-12 on; before, the standard rate holds."""
    used = TokenVector(input_tokens=1_000_000, output_tokens=0)
    before = datetime(2026, 10, 11, 23, 59, tzinfo=timezone.utc)
    after = datetime(2026, 10, 12, 0, 0, tzinfo=timezone.utc)
    assert cost_of("openai", "gpt-4o", used, tier="priority", at=before) == Decimal("2.5")
    assert cost_of("openai", "gpt-4o", used, tier="priority", at=after) == Decimal("4.25")


@pytest.mark.parametrize(
    "name",
    ["gpt-4o-mini-2024-07-18", "GPT-4o-mini", "ft:gpt-4o-mini-2024-07-18:acme::abc"],
    ids=["dated", "upper case", "fine-tuned"],
)
def test_dated_and_fine_tuned_names_resolve(name: str) -> None:
    assert package_book().cost("openai", name, NOW, "", TokenVector(input_tokens=1)) is not None


def test_a_model_the_provider_does_not_offer_has_no_price() -> None:
    """A provider's unknown model is never priced from another vendor's list."""
    used = TokenVector(input_tokens=10, output_tokens=10)
    assert package_book().cost("openai", "acme-support-7b", NOW, "", used) is None
    assert package_book().cost("anthropic", "gpt-4o", NOW, "", used) is None
    assert package_book().cost("somebody", "gpt-4o", NOW, "", used) is None


def test_the_apps_own_decimal_context_changes_no_cost() -> None:
    used = TokenVector(input_tokens=123_456, output_tokens=7_891)
    with localcontext() as context:
        context.prec = 3
        assert getcontext().prec == 3
        assert cost_of("openai", "gpt-4o", used) == Decimal("0.387550")


@settings(max_examples=400, deadline=None)
@given(
    model=st.sampled_from(MODELS),
    tier=st.sampled_from(["", "batch", "flex", "priority"]),
    cached=st.integers(0, 300_000),
    writes=st.integers(0, 50_000),
    hours=st.integers(0, 50_000),
    uncached=st.integers(0, 300_000),
    out=st.integers(0, 100_000),
)
def test_every_price_agrees_with_the_price_package(  # noqa: PLR0913, PLR0917 - one a token kind
    model: tuple[str, str], tier: str, cached: int, writes: int, hours: int, uncached: int, out: int
) -> None:
    provider, name = model
    used = TokenVector(
        input_tokens=cached + writes + hours + uncached,
        output_tokens=out,
        cached_tokens=cached,
        cache_write_tokens=writes + hours,
        cache_write_1h_tokens=hours,
    )
    context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier}
    usage = Usage(
        input_tokens=used.input_tokens,
        output_tokens=out,
        cache_read_tokens=cached,
        cache_write_tokens=writes + hours,
        cache_write_1h_tokens=hours,
    )
    ours = package_book().cost(provider, name, NOW, tier, used)
    try:
        oracle = calc_price(
            usage,
            name,
            provider_id=provider,
            genai_request_timestamp=NOW,
            price_context=context if tier else None,
        )
    except LookupError:
        # Some entries of the package are patterns that do not match their own name.
        assert ours is None
        return
    if ours is None:
        # Priced by something no span counts (hours, pages), or included in a subscription.
        assert oracle.total_price == 0
        return
    sheet = package_book().sheet(provider, name, NOW, tier)
    if cached and any("; cached input " in row.source for row in sheet):
        # The package has no price for it; `test_list_corrections` checks ours.
        return
    assert ours.total_usd == oracle.total_price
    parts = (ours.input_usd, ours.cached_usd, ours.cache_write_usd, ours.output_usd, ours.tool_usd)
    assert all(part >= 0 for part in parts)
    assert sum(parts) == ours.total_usd


def _expected_prices() -> list[dict[str, object]]:
    folder = os.environ.get("TOKENLEDGER_TEST_CORPUS")
    if not folder:
        return []
    lines = (Path(folder) / "prices" / "expected.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.skipif(
    not os.environ.get("TOKENLEDGER_TEST_CORPUS"), reason="TOKENLEDGER_TEST_CORPUS is not set"
)
@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="genai-prices for Python 3.10 is older than the corpus"
)
def test_every_line_of_the_price_corpus_agrees() -> None:
    wrong: list[str] = []
    for line in _expected_prices():
        hours, minutes = int(str(line["cache_write_1h"])), int(str(line["cache_write_5m"]))
        used = TokenVector(
            input_tokens=int(str(line["input_tokens"])),
            output_tokens=int(str(line["output_tokens"])),
            cached_tokens=int(str(line["cache_read"])),
            cache_write_tokens=hours + minutes,
            cache_write_1h_tokens=hours,
        )
        tier = str(line["processing"] or "")
        cost = package_book().cost(str(line["provider"]), str(line["model"]), NOW, tier, used)
        if cost is None or cost.total_usd != Decimal(str(line["cost_usd"])):
            wrong.append(f"{line['model']} {line['shape']}: {cost and cost.total_usd}")
    assert wrong == []
