"""Images and audio that an emitter reports reach the price."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from support.ledger_rows import HEADER, package_book, record
from tokenledger_exporter.dialects.usage_json import counts_of, parsed, usage_text
from tokenledger_exporter.rating.build_rows import build_rows
from tokenledger_semconv import attributes, emitters

if TYPE_CHECKING:
    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import AttributeValue

MILLION = Decimal(1_000_000)
IMAGE_USD = (10 * Decimal("0.3") + 10 * Decimal("2.5") + 1_290 * Decimal(30)) / MILLION
"""10 tokens in, 10 of text and 1,290 of images out of gemini-2.5-flash-image."""
CACHED_AUDIO_USD = (
    400 * Decimal("0.3") + 200 * Decimal(1) + 300 * Decimal("0.1") + 100 * Decimal("0.03")
) / MILLION
"""1,000 tokens into gemini-2.5-flash: 500 audio, of which 300 cached, and 100 more cached."""
DETAILS = "gen_ai.usage.details."


def row(scope: str, model: str, span_attributes: dict[str, AttributeValue]) -> LedgerRow:
    call: dict[str, AttributeValue] = {
        attributes.OPERATION_NAME: "chat",
        attributes.PROVIDER_NAME: "google",
        attributes.REQUEST_MODEL: model,
    }
    span = replace(record({**call, **span_attributes}), scope=scope)
    [made] = build_rows(span, HEADER, package_book)
    return made


def gemini(**lists: dict[str, int]) -> dict[str, object]:
    """Gemini's lists of modalities by side."""
    return {
        side: [{"modality": name, "tokenCount": count} for name, count in counts.items()]
        for side, counts in lists.items()
    }


IMAGE_USAGE = {
    "promptTokenCount": 10,
    "candidatesTokenCount": 1_300,
    "totalTokenCount": 1_310,
    **gemini(candidatesTokensDetails={"IMAGE": 1_290, "TEXT": 10}),
}
AUDIO_USAGE = {
    "promptTokenCount": 1_000,
    "candidatesTokenCount": 0,
    "cachedContentTokenCount": 400,
    "totalTokenCount": 1_000,
    **gemini(
        promptTokensDetails={"AUDIO": 500, "TEXT": 500},
        cacheTokensDetails={"AUDIO": 300, "TEXT": 100},
    ),
}
LITELLM_AUDIO = {
    "prompt_tokens": 1_000,
    "completion_tokens": 0,
    "total_tokens": 1_000,
    "prompt_tokens_details": {
        "cached_tokens": 400,
        "text_tokens": 400,
        "audio_tokens": 200,
        "cached_tokens_details": {"audio_tokens": 300, "text_tokens": 100},
    },
}
LITELLM_IMAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 1_300,
    "total_tokens": 1_310,
    "completion_tokens_details": {"image_tokens": 1_290, "text_tokens": 10},
}


@pytest.mark.parametrize(
    ("scope", "span_attributes"),
    [
        (
            "pydantic-ai",
            {
                attributes.INPUT_TOKENS: 10,
                attributes.OUTPUT_TOKENS: 1_300,
                emitters.PYDANTIC_IMAGE_ANSWER: 1_290,
                emitters.PYDANTIC_TEXT_ANSWER: 10,
            },
        ),
        ("logfire.gemini", {emitters.LOGFIRE_USAGE: json.dumps(IMAGE_USAGE)}),
        ("litellm", {emitters.LITELLM_USAGE: str(LITELLM_IMAGE)}),
    ],
    ids=["Pydantic AI", "usage object", "LiteLLM"],
)
def test_images_in_the_output_have_their_own_price(
    scope: str, span_attributes: dict[str, AttributeValue]
) -> None:
    made = row(scope, "gemini-2.5-flash-image", span_attributes)
    assert (made.image_output_tokens, made.output_tokens) == (1_290, 1_300)
    assert (made.cost_usd, made.cost_status) == (IMAGE_USD, "priced")


@pytest.mark.parametrize(
    ("scope", "span_attributes"),
    [
        (
            "pydantic-ai",
            {
                attributes.INPUT_TOKENS: 1_000,
                attributes.OUTPUT_TOKENS: 0,
                attributes.CACHE_READ_TOKENS: 400,
                emitters.PYDANTIC_AUDIO_INPUT: 500,
                emitters.PYDANTIC_CACHED_AUDIO: 300,
            },
        ),
        ("logfire.gemini", {emitters.LOGFIRE_USAGE: json.dumps(AUDIO_USAGE)}),
        ("litellm", {emitters.LITELLM_USAGE: str(LITELLM_AUDIO)}),
    ],
    ids=["Pydantic AI", "usage object", "LiteLLM"],
)
def test_cached_audio_has_its_own_price(
    scope: str, span_attributes: dict[str, AttributeValue]
) -> None:
    made = row(scope, "gemini-2.5-flash", span_attributes)
    assert (made.audio_input_tokens, made.cached_audio_tokens) == (500, 300)
    assert (made.cost_usd, made.cost_status) == (CACHED_AUDIO_USD, "priced")


def test_without_modalities_the_cost_of_an_image_model_is_not_known() -> None:
    counts: dict[str, AttributeValue] = {
        attributes.INPUT_TOKENS: 10,
        attributes.OUTPUT_TOKENS: 1_300,
    }
    made = row("unknown", "gemini-2.5-flash-image", counts)
    assert made.cost_usd == (10 * Decimal("0.3") + 1_300 * Decimal("2.5")) / MILLION
    assert made.cost_status == "partial"
    assert made.cost_note.startswith("how much of the output is images")
    assert row("unknown", "gemini-2.5-flash", counts).cost_status == "priced"


def test_an_answer_that_is_split_into_text_has_no_images() -> None:
    counts: dict[str, AttributeValue] = {
        attributes.INPUT_TOKENS: 10,
        attributes.OUTPUT_TOKENS: 13,
        emitters.PYDANTIC_TEXT_ANSWER: 13,
    }
    made = row("pydantic-ai", "gemini-2.5-flash-image", counts)
    assert (made.image_output_tokens, made.cost_status) == (0, "priced")


def test_only_modalities_and_counts_of_a_list_are_recorded() -> None:
    entry = {"modality": "IMAGE", "tokenCount": 5, "prompt": "canary"}
    usage = {"promptTokenCount": 5, "promptTokensDetails": [entry, "canary"], "safety": ["canary"]}
    reduced = usage_text(json.dumps(usage))
    assert "canary" not in reduced
    assert counts_of(parsed(reduced)) == counts_of(
        {"promptTokenCount": 5, "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 5}]}
    )


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "billed_units": {"input_tokens": 10, "output_tokens": 5},
                "tokens": {"input_tokens": 210, "output_tokens": 8},
            },
            {"input_tokens": 10, "output_tokens": 5},
        ),
        (
            {"total_input_tokens": 9, "total_output_tokens": 5, "total_thought_tokens": 7},
            {"input_tokens": 9, "output_tokens": 12, "reasoning_tokens": 7},
        ),
        (
            {"candidatesTokenCount": 5, "totalTokenCount": 9},
            {"input_tokens": 4, "output_tokens": 5},
        ),
    ],
    ids=["Cohere", "Interactions", "Gemini without a prompt"],
)
def test_further_shapes_are_read(usage: dict[str, object], expected: dict[str, int]) -> None:
    assert counts_of(parsed(usage_text(json.dumps(usage)))) == expected
