"""What a call costs at the hosts that copy OpenAI's API, through the SDK and at their real names.

Usage objects are those the hosts document or were seen to send; dollars are per million tokens,
from the price list of 2026-11-27.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openai
import pytest

from support.ledger_in_memory import row_of
from support.openai_cases import MESSAGES
from support.sdk_releases import http_module

if TYPE_CHECKING:
    from support.ledger_in_memory import LedgerInMemory, LedgerRow

MILLION = Decimal(1_000_000)
NOON = datetime(2026, 11, 27, 12, tzinfo=timezone.utc)


def usd(*parts: tuple[int, str]) -> Decimal:
    """The sum of tokens times dollars per million."""
    return sum((count * Decimal(rate) for count, rate in parts), Decimal(0)) / MILLION


def client_at(base_url: str, content: str, content_type: str) -> openai.OpenAI:
    http = http_module(openai)

    def answer(_request: object) -> object:
        return http.Response(200, text=content, headers={"content-type": content_type})

    return openai.OpenAI(
        base_url=base_url,
        api_key="sk-canary-key",
        http_client=http.Client(transport=http.MockTransport(answer)),
    )


def completion(model: str, usage: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": "hi"}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }


def chunks(model: str, *ends: dict[str, Any]) -> str:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    text = {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}]}
    lines = [json.dumps({**head, **fields}) for fields in (text, text, *ends)]
    return "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"])


def chat(ledger: LedgerInMemory, base_url: str, model: str, usage: dict[str, Any]) -> LedgerRow:
    """The row of a chat completion with this usage."""
    body = json.dumps(completion(model, usage))
    with client_at(base_url, body, "application/json") as client:
        client.chat.completions.create(model=model, messages=MESSAGES)
    return row_of(ledger.spans[-1], NOON)


def stream(ledger: LedgerInMemory, base_url: str, model: str, *ends: dict[str, Any]) -> LedgerRow:
    """The row of a chat stream that ends with these chunks."""
    with client_at(base_url, chunks(model, *ends), "text/event-stream") as client:
        list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True))
    return row_of(ledger.spans[-1], NOON)


XAI, GEMINI = "https://api.x.ai/v1", "https://generativelanguage.googleapis.com/v1beta/openai/"
DEEPSEEK, MOONSHOT = "https://api.deepseek.com", "https://api.moonshot.ai/v1"
MISTRAL, LITELLM = "https://api.mistral.ai/v1", "https://litellm.example.com/v1"
XAI_USAGE = {
    "prompt_tokens": 1_000,
    "completion_tokens": 1_499,
    "total_tokens": 2_999,
    "prompt_tokens_details": {"cached_tokens": 0, "text_tokens": 1_000},
    "completion_tokens_details": {"reasoning_tokens": 500},
}
CASES: dict[str, tuple[str, str, dict[str, Any], tuple[int | None, ...], Decimal]] = {
    "x.ai counts reasoning on top of the completion": (
        *(XAI, "grok-4", XAI_USAGE),
        (1_000, 1_999, 0, 500),
        usd((1_000, "3"), (1_999, "15")),
    ),
    "x.ai, more reasoning than completion": (
        *(XAI, "grok-4"),
        {
            "prompt_tokens": 100,
            "completion_tokens": 1_499,
            "total_tokens": 4_408,
            "completion_tokens_details": {"reasoning_tokens": 2_809},
        },
        (100, 4_308, None, 2_809),
        usd((100, "3"), (4_308, "15")),
    ),
    "Gemini's thinking is only in the total": (
        *(GEMINI, "gemini-2.5-flash"),
        {"prompt_tokens": 20, "completion_tokens": 424, "total_tokens": 1_016},
        (20, 996, None, 572),
        usd((20, "0.30"), (996, "2.50")),
    ),
    "Gemini, no answer behind the thinking": (
        *(GEMINI, "gemini-2.5-flash"),
        {
            "prompt_tokens": 21,
            "completion_tokens": 0,
            "total_tokens": 81,
            "completion_tokens_details": {"reasoning_tokens": 60},
        },
        (21, 60, None, 60),
        usd((21, "0.30"), (60, "2.50")),
    ),
    "Gemini by its path": (
        *(GEMINI, "models/gemini-2.5-flash"),
        {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109},
        (35, 74, None, 62),
        usd((35, "0.30"), (74, "2.50")),
    ),
    "DeepSeek's cache hits without details": (
        *(DEEPSEEK, "deepseek-chat"),
        {
            "prompt_tokens": 10_000,
            "completion_tokens": 100,
            "total_tokens": 10_100,
            "prompt_cache_hit_tokens": 9_000,
            "prompt_cache_miss_tokens": 1_000,
        },
        (10_000, 100, 9_000, None),
        usd((1_000, "0.27"), (9_000, "0.07"), (100, "1.10")),
    ),
    "DeepSeek's hits and misses are the prompt": (
        *(DEEPSEEK, "deepseek-chat"),
        {
            "completion_tokens": 100,
            "prompt_cache_hit_tokens": 9_000,
            "prompt_cache_miss_tokens": 1_000,
        },
        (10_000, 100, 9_000, None),
        usd((1_000, "0.27"), (9_000, "0.07"), (100, "1.10")),
    ),
    "Moonshot's cached tokens beside the counts": (
        *(MOONSHOT, "kimi-k2-0905-preview"),
        {
            "prompt_tokens": 1_336,
            "completion_tokens": 10,
            "total_tokens": 1_346,
            "cached_tokens": 1_280,
        },
        (1_336, 10, 1_280, None),
        usd((56, "0.60"), (1_280, "0.15"), (10, "2.50")),
    ),
    "Mistral's cached tokens": (
        *(MISTRAL, "mistral-small-latest"),
        {
            "prompt_tokens": 1_000,
            "completion_tokens": 10,
            "total_tokens": 1_010,
            "num_cached_tokens": 900,
        },
        (1_000, 10, 900, None),
        usd((100, "0.15"), (900, "0.015"), (10, "0.60")),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_hosts_own_way_to_count_is_priced_in_full(ledger: LedgerInMemory, name: str) -> None:
    base_url, model, usage, counts, cost = CASES[name]
    row = chat(ledger, base_url, model, usage)
    assert (row.cost_usd, row.cost_status, row.cost_note) == (cost, "priced", "")
    assert counts == (
        *(row.input_tokens, row.output_tokens, row.cached_tokens, row.reasoning_tokens),
    )


@pytest.mark.parametrize("name", CASES)
def test_a_stream_counts_as_the_whole_answer_does(ledger: LedgerInMemory, name: str) -> None:
    base_url, model, usage, counts, cost = CASES[name]
    row = stream(ledger, base_url, model, {"choices": list[object](), "usage": usage})
    assert (row.cost_usd, row.cost_status, row.cost_note) == (cost, "priced", "")
    assert counts[:2] == (row.input_tokens, row.output_tokens)


def test_what_does_not_add_up_is_partial_and_says_so(ledger: LedgerInMemory) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 150}
    row = chat(ledger, "https://api.groq.com/openai/v1", "llama-3.3-70b-versatile", usage)
    assert (row.cost_usd, row.cost_status) == (usd((100, "0.59"), (20, "0.79")), "partial")
    assert row.cost_note == "unknown: why 150 tokens in total are not the 120 of the counts"


def test_gemini_behind_another_host_is_partial(ledger: LedgerInMemory) -> None:
    """A proxy may run tools whose prompt is in the total, too."""
    usage = {"prompt_tokens": 20, "completion_tokens": 424, "total_tokens": 1_016}
    row = chat(ledger, "https://openrouter.ai/api/v1", "google/gemini-2.5-flash", usage)
    assert (row.output_tokens, row.cost_status) == (424 + 572, "partial")
    assert row.cost_note == ("unknown: whether 572 tokens are reasoning or the prompt of a tool")


def test_groqs_stream_reports_its_usage_in_a_field_of_its_own(ledger: LedgerInMemory) -> None:
    usage = {"prompt_tokens": 1_000, "completion_tokens": 50, "total_tokens": 1_050}
    row = stream(
        ledger,
        "https://api.groq.com/openai/v1",
        "llama-3.3-70b-versatile",
        {
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
            "x_groq": {"id": "req_1", "usage": {**usage, "queue_time": 0.02}},
        },
    )
    cost = usd((1_000, "0.59"), (50, "0.79"))
    assert (row.input_tokens, row.output_tokens, row.cost_usd) == (1_000, 50, cost)


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (
            {
                "prompt_tokens": 33_000,
                "completion_tokens": 100,
                "total_tokens": 33_100,
                "prompt_tokens_details": {
                    "cached_tokens": 0,
                    "cache_creation_tokens": 32_435,
                    "cache_creation_token_details": {"ephemeral_1h_input_tokens": 32_435},
                },
            },
            (33_000, 0, 32_435, 32_435),
        ),
        (
            {
                "prompt_tokens": 33_000,
                "completion_tokens": 100,
                "total_tokens": 33_100,
                "cache_creation_input_tokens": 12_000,
                "cache_read_input_tokens": 20_000,
            },
            (33_000, 20_000, 12_000, None),
        ),
    ],
    ids=["in the details", "beside the counts"],
)
def test_litellms_proxy_reports_anthropics_cache(
    ledger: LedgerInMemory, usage: dict[str, Any], counts: tuple[int | None, ...]
) -> None:
    row = chat(ledger, LITELLM, "claude-sonnet-4-5", usage)
    assert counts == (
        *(row.input_tokens, row.cached_tokens),
        *(row.cache_write_tokens, row.cache_write_1h_tokens),
    )


@pytest.mark.parametrize(
    ("base_url", "fields", "cost"),
    [
        (XAI, {"cost_in_usd_ticks": 329_850_001}, "0.0329850001"),
        ("https://openrouter.ai/api/v1", {"cost": 0.00012, "is_byok": False}, "0.00012"),
        (
            "https://openrouter.ai/api/v1",
            {
                "cost": 0.05,
                "is_byok": False,
                "cost_details": {"upstream_inference_cost": 0.05},
            },
            "0.05",
        ),
        (
            "https://openrouter.ai/api/v1",
            {
                "cost": 0.0025,
                "is_byok": True,
                "cost_details": {"upstream_inference_cost": 0.05},
            },
            "0.0525",
        ),
        (
            "https://openrouter.ai/api/v1",
            {"cost": 0, "cost_details": {"upstream_inference_cost": 0.05}},
            "0.05",
        ),
        (
            "https://api.perplexity.ai",
            {"cost": {"input_tokens_cost": 0.0001, "request_cost": 0.005, "total_cost": 0.0051}},
            "0.0051",
        ),
    ],
    ids=["x.ai", "openrouter", "not its own key", "its own key", "older", "perplexity"],
)
def test_a_cost_that_the_host_reports_is_kept(
    ledger: LedgerInMemory, base_url: str, fields: dict[str, Any], cost: str
) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11, **fields}
    assert chat(ledger, base_url, "sonar", usage).reported_cost_usd == Decimal(cost)


def test_perplexitys_fee_for_a_small_search_is_not_on_the_list(ledger: LedgerInMemory) -> None:
    usage: dict[str, Any] = {
        "prompt_tokens": 16,
        "completion_tokens": 100,
        "total_tokens": 116,
        "search_context_size": "low",
        "cost": {"total_cost": 0.005116},
    }
    row = chat(ledger, "https://api.perplexity.ai", "sonar", usage)
    # A dollar per million, and the list's fee of 12 dollars per thousand searches.
    assert row.cost_usd == usd((116, "1")) + Decimal(12) / 1_000
    assert (row.cost_status, row.reported_cost_usd) == ("partial", Decimal("0.005116"))
    assert row.cost_note == "unknown: the fee of a search with a low context"


def test_a_total_alone_is_the_input_of_an_embedding(ledger: LedgerInMemory) -> None:
    vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
    answer = {
        "object": "list",
        "data": [vector],
        "model": "voyage-3.5",
        "usage": {"total_tokens": 12},
    }
    at = "https://api.voyageai.com/v1", json.dumps(answer), "application/json"
    with client_at(*at) as client:
        client.embeddings.create(model="voyage-3.5", input="hi", encoding_format="float")
    row = row_of(ledger.spans[-1], NOON)
    assert (row.input_tokens, row.cost_usd) == (12, usd((12, "0.06")))
    assert row.cost_status == "priced"


def test_a_total_alone_does_not_price_an_answer(ledger: LedgerInMemory) -> None:
    row = chat(ledger, MISTRAL, "mistral-small-latest", {"total_tokens": 12})
    assert (row.cost_usd, row.cost_status) == (None, "unmeasured")
    assert "unknown: how 12 tokens divide into input and output" in row.cost_note
