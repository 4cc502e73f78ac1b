"""What other emitters report that providers bill in addition to tokens, or at other rates.

Dollars are per million tokens unless a test says otherwise.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from support.ledger_rows import HEADER, package_book, record
from tokenledger_exporter.rating.build_rows import build_rows
from tokenledger_semconv import attributes, emitters

if TYPE_CHECKING:
    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import AttributeValue

MILLION = Decimal(1_000_000)
ANY_SCOPE = "any.emitter"


def row(
    model: str,
    span_attributes: dict[str, AttributeValue],
    *,
    scope: str = ANY_SCOPE,
    provider: str = "google",
    operation: str = "chat",
) -> LedgerRow:
    call: dict[str, AttributeValue] = {
        attributes.OPERATION_NAME: operation,
        attributes.PROVIDER_NAME: provider,
        attributes.REQUEST_MODEL: model,
    }
    [made] = build_rows(
        replace(record({**call, **span_attributes}), scope=scope), HEADER, package_book
    )
    return made


def usd(*parts: tuple[int, str]) -> Decimal:
    """The sum of tokens times dollars per million."""
    return sum((count * Decimal(rate) for count, rate in parts), Decimal(0)) / MILLION


def raw(usage: dict[str, Any]) -> dict[str, AttributeValue]:
    return {emitters.LOGFIRE_USAGE: json.dumps(usage)}


VIDEO = [{"modality": "VIDEO", "tokenCount": 260}]


def test_video_input_with_a_price_of_its_own_is_partial() -> None:
    usage = {"promptTokenCount": 260, "totalTokenCount": 260, "promptTokensDetails": VIDEO}
    made = row("gemini-embedding-2", raw(usage), operation="embeddings")
    note = "260 input tokens are video, which has another price"
    assert (made.cost_status, made.cost_note) == ("partial", note)
    assert json.loads(made.details)[attributes.VIDEO_INPUT_TOKENS] == 260


def test_video_input_at_the_price_of_all_input_is_priced() -> None:
    usage = {
        "promptTokenCount": 260,
        "candidatesTokenCount": 10,
        "totalTokenCount": 270,
        "promptTokensDetails": VIDEO,
    }
    made = row("gemini-2.5-flash", raw(usage))
    assert (made.cost_usd, made.cost_status) == (usd((260, "0.3"), (10, "2.5")), "priced")


@pytest.mark.parametrize(
    ("model", "searches", "fee"),
    [
        # Gemini 3 bills each search, at 14 dollars a thousand.
        ("gemini-3-flash-preview", 3, 3 * Decimal(14) / 1_000),
        # Gemini 2.5 bills each prompt that was grounded, at 35 dollars a thousand.
        ("gemini-2.5-flash", 3, Decimal(35) / 1_000),
        ("gemini-2.5-flash", 0, Decimal(0)),
    ],
)
def test_litellm_reports_geminis_searches(model: str, searches: int, fee: Decimal) -> None:
    usage = {
        "prompt_tokens": 1_000,
        "completion_tokens": 100,
        "total_tokens": 1_100,
        "prompt_tokens_details": {"web_search_requests": searches},
    }
    made = row(
        model,
        {emitters.LITELLM_USAGE: json.dumps(usage)},
        scope="litellm",
        provider="vertex_ai",
        operation="completion",
    )
    rates = ("0.5", "3") if "3-flash" in model else ("0.3", "2.5")
    assert made.cost_usd == usd((1_000, rates[0]), (100, rates[1])) + fee
    assert made.cost_status == "priced"


@pytest.mark.parametrize(
    ("scope", "attribute", "document"),
    [
        ("ai", emitters.VERCEL_PROVIDER_METADATA, {"google": {}}),
        ("gcp.vertex.agent", emitters.ADK_RESPONSE, {}),
    ],
)
def test_the_searches_in_geminis_answer_are_counted(
    scope: str, attribute: str, document: dict[str, Any]
) -> None:
    queries = {"webSearchQueries": ["the private question", "another", ""]}
    inside = document.get("google", document)
    inside["groundingMetadata"] = queries
    counts: dict[str, AttributeValue] = {
        attributes.INPUT_TOKENS: 1_000,
        attributes.OUTPUT_TOKENS: 100,
        attribute: json.dumps(document),
    }
    if scope == "ai":
        counts[emitters.VERCEL_OPERATION] = "ai.generateText.doGenerate"
    made = row("gemini-3-flash-preview", counts, scope=scope, operation="generate_content")
    assert made.web_search_requests == 2
    assert made.cost_usd == usd((1_000, "0.5"), (100, "3")) + 2 * Decimal(14) / 1_000
    assert "private" not in str(made)


def test_litellm_reports_anthropics_searches() -> None:
    usage = {
        "prompt_tokens": 1_000,
        "completion_tokens": 100,
        "total_tokens": 1_100,
        "server_tool_use": {"web_search_requests": 2},
    }
    made = row(
        "claude-sonnet-4-5",
        {emitters.LITELLM_USAGE: json.dumps(usage)},
        scope="litellm",
        provider="anthropic",
        operation="completion",
    )
    # 10 dollars a thousand searches.
    assert made.cost_usd == usd((1_000, "3"), (100, "15")) + 2 * Decimal(10) / 1_000
    assert made.cost_status == "priced"


@pytest.mark.parametrize(
    ("traffic", "effect"),
    [("ON_DEMAND_PRIORITY", "low"), ("TrafficType.ON_DEMAND_FLEX", "high"), ("ON_DEMAND", "")],
)
@pytest.mark.parametrize("field", ["traffic_type", "trafficType"])
def test_the_traffic_type_in_geminis_usage_decides_the_rate(
    field: str, traffic: str, effect: str
) -> None:
    usage = {"promptTokenCount": 1_000, "candidatesTokenCount": 100, "totalTokenCount": 1_100}
    made = row("gemini-2.5-flash", raw({**usage, field: traffic}))
    assert made.cost_status == ("partial" if effect else "priced")
    assert made.cost_note.endswith(f"the standard rate is too {effect}" if effect else "")


def test_images_that_are_embedded_have_their_own_price() -> None:
    usage = {"billed_units": {"input_tokens": 100, "image_tokens": 1_000}}
    made = row("embed-v4.0", raw(usage), provider="cohere", operation="embeddings")
    assert made.cost_usd == usd((100, "0.12"), (1_000, "0.47"))
    assert (made.cost_status, made.input_tokens) == ("priced", 1_100)


def test_images_billed_by_the_piece_make_an_embedding_partial() -> None:
    usage = {"billed_units": {"input_tokens": 100, "images": 2}}
    made = row("embed-v4.0", raw(usage), provider="cohere", operation="embeddings")
    note = "unknown: usage field billed_units.images"
    assert (made.cost_status, made.cost_note) == ("partial", note)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-realtime"),
        ("openai", "gpt-audio"),
        ("google", "gemini-live-2.5-flash"),
    ],
)
def test_an_audio_model_without_modalities_is_partial(provider: str, model: str) -> None:
    counts: dict[str, AttributeValue] = {
        attributes.INPUT_TOKENS: 1_000,
        attributes.OUTPUT_TOKENS: 100,
    }
    made = row(model, counts, provider=provider)
    assert made.cost_status == "partial"
    assert made.cost_note == (
        "how much of the output is audio, which has another price, is not known; "
        "how much of the input is audio, which has another price, is not known"
    )
    split = {**counts, attributes.AUDIO_INPUT_TOKENS: 0, attributes.AUDIO_OUTPUT_TOKENS: 0}
    assert row(model, split, provider=provider).cost_status == "priced"


@pytest.mark.parametrize(
    "model",
    [
        "arn:aws:bedrock:us-east-1:123456789012:custom-model/amazon.nova-lite-v1:0:300k/abc",
        "arn:aws:bedrock:us-east-1:123456789012:custom-model-deployment/anthropic.claude-3-haiku",
        "arn:aws:bedrock:us-east-1:123456789012:imported-model/meta.llama3-1-8b-instruct-v1:0",
    ],
)
def test_a_customized_model_has_no_list_price(model: str) -> None:
    counts: dict[str, AttributeValue] = {
        attributes.INPUT_TOKENS: 1_000,
        attributes.OUTPUT_TOKENS: 100,
    }
    made = row(model, counts, provider="aws.bedrock")
    assert (made.cost_usd, made.cost_status) == (None, "unpriced")


def test_the_output_of_an_image_operation_is_images() -> None:
    counts: dict[str, AttributeValue] = {
        attributes.INPUT_TOKENS: 10,
        attributes.OUTPUT_TOKENS: 1_290,
    }
    made = row("gemini-2.5-flash-image", counts, operation="image_generation")
    assert made.cost_usd == usd((10, "0.3"), (1_290, "30"))
    assert (made.cost_status, made.image_output_tokens) == ("priced", 1_290)


def test_a_proxys_estimate_in_a_usage_object_is_not_the_providers_cost() -> None:
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "cost": 0.5}
    for provider, cost in (("openai", None), ("openrouter", Decimal("0.5"))):
        made = row("no-such-model", raw(usage), provider=provider)
        assert made.reported_cost_usd == cost
        assert made.cost_status == ("unpriced" if cost is None else "reported")


@pytest.mark.parametrize("amount", ["1_000", "\u0661\u0662", "\uff11", "0.5\u00a0"])
def test_a_text_that_is_not_a_plain_amount_is_no_cost(amount: str) -> None:
    source: dict[str, AttributeValue] = {
        attributes.INPUT_TOKENS: 10,
        attributes.CONVENTIONS_COST: amount,
        attributes.CONVENTIONS_COST_CURRENCY: "USD",
        attributes.CONVENTIONS_COST_SOURCE: "provider",
    }
    assert row("no-such-model", source).reported_cost_usd is None


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_text_tokens": 10, "output_text_tokens": 5}, (10, 5)),
        ({"input_text_tokens": 10}, (10, None)),
        ({"output_text_tokens": 5}, (None, 5)),
    ],
)
def test_langfuses_text_counts_need_no_other_key(
    usage: dict[str, int], expected: tuple[int | None, ...]
) -> None:
    made = row(
        "gpt-4o",
        {emitters.LANGFUSE_TYPE: "generation", emitters.LANGFUSE_USAGE: json.dumps(usage)},
        scope="langfuse-sdk",
        provider="openai",
        operation="generation",
    )
    assert (made.input_tokens, made.output_tokens) == expected


def test_a_blank_user_does_not_hide_the_one_above() -> None:
    counts: dict[str, AttributeValue] = {attributes.INPUT_TOKENS: 10, attributes.USER_ID: "  "}
    span = replace(
        record({attributes.OPERATION_NAME: "chat", attributes.REQUEST_MODEL: "gpt-4o", **counts}),
        inherited={attributes.USER_ID: "user-1"},
    )
    [made] = build_rows(span, HEADER, package_book)
    assert made.user_id == "user-1"
