"""What OpenAI bills in addition to the counts of an answer, from spans of every shape."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from support.ledger_rows import HEADER, chat_attributes, package_book, record
from tokenledger_exporter.rating.build_rows import build_rows
from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import AttributeValue

_GPT_4O = (1_000 * Decimal("2.5") + 100 * Decimal(10)) / 1_000_000
DRAWN: dict[str, Any] = {
    "type": "image_generation",
    "model": "gpt-image-2",
    "input_tokens": 29,
    "output_tokens": 515,
}
_DRAWN = (29 * Decimal(5) + 515 * Decimal(30)) / 1_000_000


def rows(**more: AttributeValue) -> list[LedgerRow]:
    return build_rows(record(chat_attributes() | more), HEADER, package_book)


def further(*entries: object) -> dict[str, AttributeValue]:
    return {attributes.FURTHER_USAGE: json.dumps(entries)}


def test_a_resend_of_a_call_with_an_image_is_the_same_rows() -> None:
    span = record(chat_attributes() | further(DRAWN))
    once, again = (build_rows(span, HEADER, package_book) for _ in range(2))
    assert once == again
    assert len({row.event_id for row in once}) == 2


def test_an_image_in_a_batch_is_billed_at_the_batch_rate_and_no_other_tier_is_its_own() -> None:
    costs = {
        tier: rows(**further(DRAWN), **{attributes.OPENAI_SERVICE_TIER: "".join([*tier])})[
            1
        ].cost_usd
        for tier in ("auto", "batch", "flex", "priority", "default")
    }
    assert costs.pop("batch") == _DRAWN / 2
    assert set(costs.values()) == {_DRAWN}


@pytest.mark.parametrize(
    "told",
    ["", "{", "7", '"x"', "{}", "[]", "[7, null]", '[{"type": "image_generation"}', "[[1]]"],
)
def test_an_invalid_usage_list_adds_no_row(told: str) -> None:
    [row] = rows(**{attributes.FURTHER_USAGE: told})
    assert (row.cost_usd, row.cost_status) == (_GPT_4O, "priced")


@pytest.mark.parametrize("wrong", [-1, True, "515", 1.5, None], ids=str)
def test_an_invalid_count_is_missing_and_noted(wrong: object) -> None:
    call, image = rows(**further({**DRAWN, "output_tokens": wrong}))
    assert (call.cost_usd, call.cost_status) == (_GPT_4O, "priced")
    assert (image.output_tokens, image.cost_status) == (None, "partial")
    assert image.cost_note == "output tokens were not reported"


def test_an_image_without_a_model_is_unpriced() -> None:
    _, image = rows(**further({"type": "image_generation", "input_tokens": 1, "output_tokens": 1}))
    assert (image.model, image.cost_status) == ("", "unpriced")
    assert image.cost_note == "no price: the call names no model"


def test_the_note_lists_everything_unknown() -> None:
    [row] = rows(**{attributes.UNKNOWN_USAGE: "what one tool used; what another cost"})
    assert (row.cost_usd, row.cost_status) == (_GPT_4O, "partial")
    assert row.cost_note == "unknown: what one tool used; unknown: what another cost"


@pytest.mark.parametrize(
    ("model", "searches", "note"),
    [
        ("gpt-4o-search-preview", 1, "no price for web_search"),
        ("gpt-4o-mini-search-preview", 1, "unknown: the price of a web search with this model"),
        ("gpt-5-search-api", 1, "no price for web_search"),
        ("gpt-4o", None, ""),
    ],
)
def test_a_chat_that_always_searches_counts_one(
    model: str, searches: int | None, note: str
) -> None:
    [row] = rows(**{attributes.RESPONSE_MODEL: model})
    assert (row.web_search_requests, row.cost_note) == (searches, note)
    assert row.cost_status == ("partial" if note else "priced")


def test_a_search_that_an_emitter_counts_is_not_counted_again() -> None:
    told: dict[str, AttributeValue] = {attributes.RESPONSE_MODEL: "gpt-5-search-api"}
    [row] = rows(**told, **{attributes.WEB_SEARCH_REQUESTS: 3})
    assert row.web_search_requests == 3


@pytest.mark.parametrize("provider", ["azure", "openrouter"])
def test_a_searching_model_of_another_seller_counts_none(provider: str) -> None:
    [row] = rows(
        **{attributes.PROVIDER_NAME: provider, attributes.RESPONSE_MODEL: "gpt-4o-search-preview"}
    )
    assert row.web_search_requests is None


def test_the_output_of_an_image_tool_is_image_output_unless_its_usage_says_otherwise() -> None:
    _, image = rows(**further(DRAWN))
    assert (image.operation, image.image_output_tokens) == ("image_generation", 515)
    mixed = {**DRAWN, "output_tokens_details": {"image_tokens": 500}}
    _, image = rows(**further(mixed))
    assert (image.operation, image.image_output_tokens) == ("image_generation", 500)


@pytest.mark.parametrize("kind", ["answer", "web_search"])
def test_the_output_of_another_tool_is_text_of_the_calls_operation(kind: str) -> None:
    _, other = rows(**further({**DRAWN, "type": kind}))
    assert (other.operation, other.output_tokens, other.image_output_tokens) == ("chat", 515, None)


def test_a_count_of_zero_is_a_count() -> None:
    _, image = rows(**further({**DRAWN, "output_tokens": 0}))
    assert (image.output_tokens, image.cost_status) == (0, "priced")


@pytest.mark.parametrize("further_models", [32, 33, 70])
def test_at_most_32_further_models_are_billed_and_the_rest_is_named(further_models: int) -> None:
    call, *parts = rows(**further(*[DRAWN] * further_models))
    assert len(parts) == 32
    more = further_models - 32
    assert call.cost_note == (f"unknown: usage of {more} more models" if more else "")


@pytest.mark.parametrize("side", ["input_tokens_details", "prompt_tokens_details"])
@pytest.mark.parametrize(("count", "is_unknown"), [(0, False), (1, True)])
def test_cache_writes_for_12_hours_have_no_price(side: str, count: int, is_unknown: bool) -> None:
    usage = {side: {"cache_write_tokens_details": {"ttl_12h_tokens": count}}}
    [row] = rows(**{attributes.PROVIDER_USAGE: json.dumps(usage)})
    note = "unknown: the price of cache writes kept for 12 hours"
    assert (note in row.cost_note) is is_unknown
