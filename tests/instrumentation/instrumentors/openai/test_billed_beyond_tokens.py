"""What hosts bill in addition to tokens, through the SDK: the exact cost, or a partial one.

Dollars are per million tokens unless a test says otherwise, from the price list of 2026-11-27.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from instrumentation.instrumentors.openai.test_compatible_hosts import (
    LITELLM,
    MISTRAL,
    NOON,
    XAI,
    chat,
    client_at,
    completion,
    stream,
    usd,
)
from support.ledger_in_memory import row_of
from support.openai_cases import MESSAGES

if TYPE_CHECKING:
    from support.ledger_in_memory import LedgerInMemory, LedgerRow

OPENROUTER, FIREWORKS = "https://openrouter.ai/api/v1", "https://api.fireworks.ai/inference/v1"
GROQ = "https://api.groq.com/openai/v1"
TOKENS = {"prompt_tokens": 400, "completion_tokens": 100, "total_tokens": 500}


def test_voxtral_bills_audio_by_the_minute_and_text_by_tokens(ledger: LedgerInMemory) -> None:
    row = chat(ledger, MISTRAL, "voxtral-small-latest", {**TOKENS, "prompt_audio_seconds": 300})
    # $0.004 a minute: $0.02 for five.
    assert row.cost_usd == Decimal("0.02") + usd((400, "0.10"), (100, "0.40"))
    assert (row.cost_status, row.audio_seconds) == ("priced", 300)


def test_audio_seconds_of_a_model_without_a_price_of_them_are_partial(
    ledger: LedgerInMemory,
) -> None:
    row = chat(ledger, MISTRAL, "mistral-small-latest", {**TOKENS, "prompt_audio_seconds": 300})
    assert (row.cost_status, row.cost_note) == ("partial", "no price for audio_second")


@pytest.mark.parametrize(
    ("usage", "field"),
    [
        ({"input_images": 3}, "input_images"),
        ({"prompt_tokens_details": {"ocr_pages": 2}}, "prompt_tokens_details.ocr_pages"),
    ],
)
def test_a_billed_field_that_is_not_read_makes_the_row_partial(
    ledger: LedgerInMemory, usage: dict[str, Any], field: str
) -> None:
    model, end = "mistral-small-latest", {**TOKENS, **usage}
    rows = (
        chat(ledger, MISTRAL, model, end),
        stream(ledger, MISTRAL, model, {"choices": [], "usage": end}),
    )
    for row in rows:
        note = f"unknown: usage field {field}"
        assert (row.cost_status, row.cost_note) == ("partial", note)


def test_a_field_that_is_zero_changes_nothing(ledger: LedgerInMemory) -> None:
    row = chat(ledger, MISTRAL, "mistral-small-latest", {**TOKENS, "input_images": 0})
    assert row.cost_status == "priced"


def test_the_tools_of_xai_are_billed_by_the_call(ledger: LedgerInMemory) -> None:
    tools = {"web_search_calls": 2, "x_search_calls": 1, "code_interpreter_calls": 0}
    usage = {**TOKENS, "num_sources_used": 0, "server_side_tool_usage_details": tools}
    row = chat(ledger, XAI, "grok-4", usage)
    assert row.cost_status == "partial"
    assert row.cost_note == (
        "unknown: usage field server_side_tool_usage_details.web_search_calls; "
        "unknown: usage field server_side_tool_usage_details.x_search_calls"
    )


def tiered(ledger: LedgerInMemory, base_url: str, model: str, tier: str) -> LedgerRow:
    body = json.dumps({**completion(model, TOKENS), "service_tier": tier})
    with client_at(base_url, body, "application/json") as client:
        client.chat.completions.create(model=model, messages=MESSAGES)
    return row_of(ledger.spans[-1], NOON)


@pytest.mark.parametrize(
    ("base_url", "model"),
    [(XAI, "grok-4"), (FIREWORKS, "accounts/fireworks/models/deepseek-v3p2")],
)
def test_priority_costs_more_than_the_standard_rate(
    ledger: LedgerInMemory, base_url: str, model: str
) -> None:
    row = tiered(ledger, base_url, model, "priority")
    note = f"no priority price for {model}: the standard rate is too low"
    assert (row.cost_status, row.cost_note) == ("partial", note)
    assert tiered(ledger, base_url, model, "default").cost_status == "priced"


@pytest.mark.parametrize(("length", "billed"), [(2.0, 10), (10.0, 10), (61.0, 61)])
def test_groq_bills_at_least_ten_seconds_of_audio(
    ledger: LedgerInMemory, length: float, billed: int
) -> None:
    answer = json.dumps({"text": "hi", "duration": length, "language": "en", "task": "transcribe"})
    with client_at(GROQ, answer, "application/json") as client:
        client.audio.transcriptions.create(
            model="whisper-large-v3", file=b"RIFF", response_format="verbose_json"
        )
    row = row_of(ledger.spans[-1], NOON)
    # 11.1 cents an hour.
    assert row.cost_usd is not None
    assert abs(row.cost_usd - billed * Decimal("0.111") / 3_600) < Decimal(10) ** -20
    assert (row.cost_status, row.audio_seconds) == ("priced", billed)


@pytest.mark.parametrize(
    "fields",
    [
        {"cost": 0, "is_byok": True},
        {"cost": 0.0025, "is_byok": True},
        {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": None}},
    ],
)
def test_what_ones_own_key_is_charged_upstream_is_not_zero_but_unknown(
    ledger: LedgerInMemory, fields: dict[str, Any]
) -> None:
    row = chat(ledger, OPENROUTER, "no/such-model", {**TOKENS, **fields})
    assert (row.reported_cost_usd, row.cost_usd, row.cost_status) == (None, None, "unpriced")


@pytest.mark.parametrize("base_url", [LITELLM, "http://127.0.0.1:4000/v1", MISTRAL])
def test_a_proxys_estimate_is_not_the_providers_cost(ledger: LedgerInMemory, base_url: str) -> None:
    row = chat(ledger, base_url, "some-model", {**TOKENS, "cost": 0.5})
    assert (row.reported_cost_usd, row.cost_status) == (None, "unpriced")
    assert "cost.source" not in row.details
