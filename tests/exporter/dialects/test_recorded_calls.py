"""The row of each emitter's recorded span: counts, provider, model, id, attribution and money.

Every provider reported the same counts (`record/loopback.py`): 1,000 input tokens, 600 of them from
a cache; 200 output tokens, 50 of them reasoning. Anthropic also wrote 300 to a cache, 100 of them
for an hour.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from support.recorded_spans import EMITTERS, calls, rows

MILLION = 1_000_000
ANY_ID = "any"

# gpt-4o: 2.50 dollars per million input tokens, 1.25 cached, 10 output.
GPT_4O = (400 * Decimal("2.5") + 600 * Decimal("1.25") + 200 * Decimal(10)) / MILLION
GPT_4O_FULL = (1_000 * Decimal("2.5") + 200 * Decimal(10)) / MILLION
# text-embedding-3-small: 0.02 dollars per million.
EMBEDDING = 1_000 * Decimal("0.02") / MILLION
# claude-sonnet-4-5: 3 dollars per million input tokens, 0.30 cached, 3.75 and 6 written, 15 output.
SONNET = (
    100 * Decimal(3)
    + 600 * Decimal("0.3")
    + 200 * Decimal("3.75")
    + 100 * Decimal(6)
    + 200 * Decimal(15)
) / MILLION
# Without lifetimes, every write has the price of five minutes.
SONNET_5M = (
    100 * Decimal(3) + 600 * Decimal("0.3") + 300 * Decimal("3.75") + 200 * Decimal(15)
) / MILLION
# In this region of Bedrock each price is a tenth higher.
BEDROCK = SONNET_5M * Decimal("1.1")
# gemini-2.5-flash: 0.30 dollars per million input tokens, 0.03 cached, 2.50 output.
GEMINI = (400 * Decimal("0.3") + 600 * Decimal("0.03") + 200 * Decimal("2.5")) / MILLION
# mistral-large-latest, Mistral Large 3: 0.50 dollars per million input, 1.50 output.
# command-a: 2.50 and 10.
MISTRAL = (1_000 * Decimal("0.5") + 200 * Decimal("1.5")) / MILLION
COHERE = (1_000 * Decimal("2.5") + 200 * Decimal(10)) / MILLION


@dataclass(frozen=True)
class Expected:
    """The expected row of a recorded call.

    Args:
        counts: input, output, cache reads, cache writes, one-hour writes, reasoning.
        response_id: start of the id.
        more: other columns.
    """

    provider: str
    model: str
    counts: tuple[int | None, ...]
    cost: Decimal | None
    response_id: str = ""
    operation: str = "chat"
    status: str = "priced"
    more: dict[str, str] = field(default_factory=dict[str, str])


NEW_GPT = "gpt-4o-2024-08-06"
NEW_SONNET = "claude-sonnet-4-5-20250929"
WHOLE = (1_000, 200, 600, None, None, 50)
NO_REASONING = (1_000, 200, 600, None, None, None)
NO_CACHE = (1_000, 200, None, None, None, None)
WRITES = (1_000, 200, 600, 300, None, None)
LIFETIMES = (1_000, 200, 600, 300, 100, None)
NOTHING = (None,) * 6

CHAT = Expected("openai", NEW_GPT, WHOLE, GPT_4O, "chatcmpl-")
CHAT_FULL_PRICE = Expected("openai", NEW_GPT, NO_CACHE, GPT_4O_FULL, "chatcmpl-")
CHAT_NO_REASONING = Expected("openai", NEW_GPT, NO_REASONING, GPT_4O, "chatcmpl-")
CHAT_NO_ID = Expected("openai", NEW_GPT, WHOLE, GPT_4O)
RESPONSES = Expected("openai", NEW_GPT, WHOLE, GPT_4O, "resp_")
UNMEASURED = Expected("openai", NEW_GPT, NOTHING, None, "chatcmpl-", status="unmeasured")
UNMEASURED_NO_ID = Expected("openai", NEW_GPT, NOTHING, None, status="unmeasured")
# A provider does not bill a call it refused (429 here).
REFUSED = Expected("openai", "gpt-4o-mini", NOTHING, Decimal(0))
REFUSED_BY_CLASS = {"openai chat, refused": replace(REFUSED, more={"status": "error"})}
EMBEDDINGS = Expected(
    "openai",
    "text-embedding-3-small",
    (1_000, None, None, None, None, None),
    EMBEDDING,
    operation="embeddings",
)
MESSAGE = Expected("anthropic", NEW_SONNET, LIFETIMES, SONNET, "msg_")
MESSAGE_5M = Expected("anthropic", NEW_SONNET, WRITES, SONNET_5M, "msg_")
CONVERSE = Expected("aws", "anthropic.claude-sonnet-4-5-20250929-v1:0", WRITES, BEDROCK)
FLASH = Expected("google", "gemini-2.5-flash", WHOLE, GEMINI)
MISTRAL_CHAT = Expected("mistral", "mistral-large-latest", NO_CACHE, MISTRAL)


def of(base: Expected, **more: object) -> Expected:
    """The same row with other fields or, as other keywords, with more columns."""
    fields: dict[str, Any] = {
        key: value for key, value in more.items() if key in Expected.__dataclass_fields__
    }
    columns = {key: str(value) for key, value in more.items() if key not in fields}
    return replace(base, more=base.more | columns, **fields)


EXPECTED: dict[str, dict[str, Expected]] = {
    "otel_genai-1.3b0": {
        **REFUSED_BY_CLASS,
        "sdk anthropic message": of(MESSAGE, service_tier="standard"),
        "sdk anthropic stream": of(MESSAGE, service_tier="standard"),
        "openai chat": of(CHAT, service_tier="default"),
        "openai stream": CHAT,
        "openai stream without usage": UNMEASURED,
        "openai responses": RESPONSES,
        "openai embeddings": EMBEDDINGS,
        "anthropic message": MESSAGE_5M,
        "anthropic stream": MESSAGE_5M,
        "bedrock converse": CONVERSE,
    },
    "openai_v2-2.4b0": {
        **REFUSED_BY_CLASS,
        "openai chat": of(CHAT_FULL_PRICE, service_tier="default"),
        "openai stream": CHAT_FULL_PRICE,
        "openai stream without usage": UNMEASURED,
        "openai embeddings": EMBEDDINGS,
    },
    "openai_v2_opted_in-2.4b0": {
        **REFUSED_BY_CLASS,
        "openai chat": of(CHAT_FULL_PRICE, service_tier="default"),
        "openai stream": CHAT_FULL_PRICE,
        "openai stream without usage": UNMEASURED,
        "openai embeddings": EMBEDDINGS,
    },
    "openllmetry-0.62.4": {
        **REFUSED_BY_CLASS,
        "openai chat": of(CHAT, user_id="user-1", service_tier="default"),
        "openai stream": CHAT_NO_REASONING,
        "openai stream without usage": UNMEASURED,
        "openai responses": RESPONSES,
        "openai embeddings": of(EMBEDDINGS, counts=(1_000, None, 0, None, None, None)),
        "anthropic message": MESSAGE_5M,
        # OpenLLMetry adds the placeholder of the stream's first event: one output token too many.
        "anthropic stream": of(
            MESSAGE_5M,
            counts=(1_000, 201, 600, 300, None, None),
            cost=SONNET_5M + Decimal(15) / MILLION,
        ),
        "bedrock converse": of(CONVERSE, model="claude-sonnet-4-5-20250929-v1:0"),
        # Its total does not say whether the other 50 tokens are reasoning or a tool's prompt.
        "gemini generate": of(
            FLASH,
            operation="generate_content",
            response_id="gemini-response-1",
            status="partial",
        ),
        "cohere chat": Expected(
            "cohere", "command-a-03-2025", NO_CACHE, COHERE, "cohere-response-1"
        ),
    },
    "mistral_sdk-1.12.4": {"mistral chat": MISTRAL_CHAT},
    "openinference-0.1.66": {
        label: of(row, user_id="user-1", session_id="session-1", team="support")
        for label, row in {
            "openai chat": CHAT,
            "openai stream": CHAT_NO_ID,
            "openai stream without usage": UNMEASURED_NO_ID,
            "openai responses": RESPONSES,
            "openai embeddings": EMBEDDINGS,
            # Only its copy of the request names the model, and that is not recorded.
            "openai chat, refused": replace(REFUSED, model=""),
            "anthropic message": MESSAGE_5M,
            "anthropic stream": MESSAGE_5M,
            "bedrock converse": CONVERSE,
            "gemini generate": FLASH,
            "mistral chat": MISTRAL_CHAT,
        }.items()
    },
    "openlit-1.45.0": {
        **REFUSED_BY_CLASS,
        "openai chat": of(
            CHAT, counts=(1_000, 200, 600, 0, None, None), user_id="user-1", app_name="shop"
        ),
        "openai stream": of(CHAT, counts=(1_000, 200, 600, 0, None, None)),
        # 25 and 124 are its tokenizer's estimates: 25 x 2.50 and 124 x 10 dollars per million.
        "openai stream without usage": of(
            CHAT,
            counts=(25, 124, None, None, None, None),
            cost=(25 * Decimal("2.5") + 124 * Decimal(10)) / MILLION,
            status="estimated",
        ),
        "openai responses": of(RESPONSES, counts=(1_000, 200, 600, 0, None, 50)),
        "openai embeddings": EMBEDDINGS,
        "bedrock converse": CONVERSE,
        "anthropic message": MESSAGE_5M,
        "anthropic stream": MESSAGE_5M,
    },
    "vercel_ai-6.0.326": {
        label: of(row, user_id="user-1", session_id="session-1", feature="answer")
        for label, row in {
            "openai chat": CHAT,
            "openai responses": RESPONSES,
            "openai stream": CHAT,
            "openai embeddings": EMBEDDINGS,
            "anthropic message": MESSAGE,
            "anthropic stream": MESSAGE,
        }.items()
    },
    "vercel_ai-5.0.277": {
        "openai chat": CHAT_FULL_PRICE,
        "openai responses": of(CHAT_FULL_PRICE, response_id="resp_"),
        "openai stream": CHAT,
        "openai embeddings": EMBEDDINGS,
        "anthropic message": of(MESSAGE, service_tier="standard"),
        "anthropic stream": of(MESSAGE, service_tier="standard"),
    },
    "vercel_otel-1.0.173": {
        "openai chat": CHAT_NO_REASONING,
        "openai stream": CHAT_NO_REASONING,
        "openai embeddings": EMBEDDINGS,
        "anthropic message": MESSAGE_5M,
    },
    "langfuse-5.0.4": {
        label: of(row, user_id="user-1", session_id="session-1")
        for label, row in {
            "openai chat": CHAT_NO_ID,
            "openai chat below an observed function": CHAT_NO_ID,
            "openai stream": CHAT_NO_ID,
            "openai stream without usage": UNMEASURED_NO_ID,
            "openai responses": CHAT_NO_ID,
            "openai embeddings": EMBEDDINGS,
            "a generation made by hand": Expected(
                "anthropic", "claude-sonnet-4-5", WRITES, SONNET_5M
            ),
        }.items()
    },
    "logfire-5.4.0": {
        **REFUSED_BY_CLASS,
        "openai chat": CHAT,
        "openai stream": CHAT,
        "openai stream without usage": UNMEASURED,
        "openai responses": RESPONSES,
        "openai embeddings": EMBEDDINGS,
        "anthropic message": of(MESSAGE, service_tier="standard", inference_geo="global"),
        "anthropic stream": of(MESSAGE, service_tier="standard", inference_geo="global"),
    },
    "pydantic_ai-2.68.0": {
        "openai agent": of(CHAT, agent_id="support"),
        "anthropic agent": of(MESSAGE, agent_id="support"),
        "openai agent stream": CHAT,
    },
    "litellm-1.110.2": {
        "openai chat": of(CHAT, user_id="user-1", team="support", service_tier="default"),
        "openai stream": of(CHAT, model="gpt-4o"),
        # 18 and 55 are its tokenizer's estimates, and nothing marks them.
        "openai stream without usage": of(
            CHAT,
            model="gpt-4o",
            counts=(18, 55, None, None, None, 0),
            cost=(18 * Decimal("2.5") + 55 * Decimal(10)) / MILLION,
        ),
        # LiteLLM replaces Anthropic's id by its own.
        "anthropic message": of(
            MESSAGE, counts=(1_000, 200, 600, 300, 100, 0), response_id="chatcmpl-"
        ),
        "anthropic stream": of(
            MESSAGE,
            model="claude-sonnet-4-5",
            counts=(1_000, 200, 600, 300, 100, 0),
            response_id="chatcmpl-",
        ),
        # LiteLLM's own id again, which is random.
        "openai embeddings": of(
            EMBEDDINGS, counts=(1_000, 0, None, None, None, None), response_id=ANY_ID
        ),
        "openai chat, refused": replace(REFUSED, response_id=ANY_ID),
        "openai chat to be cached": CHAT,
    },
    "strands-1.62.0": {
        "openai agent": Expected(
            "openai",
            "gpt-4o",
            NO_REASONING,
            GPT_4O,
            more={"user_id": "user-1", "session_id": "session-1"},
        ),
        "anthropic agent": Expected("anthropic", "claude-sonnet-4-5", WRITES, SONNET_5M),
    },
    "google_adk-2.13.0": {
        "gemini agent": of(
            FLASH, operation="generate_content", session_id="session-1", agent_id="support"
        ),
    },
    "google_adk-1.39.1": {
        "gemini agent": of(FLASH, operation="generate_content", session_id="session-1"),
    },
    "semantic_kernel-1.45.0": {
        "openai chat": of(CHAT_FULL_PRICE, model="gpt-4o"),
        "openai stream": of(CHAT_FULL_PRICE, model="gpt-4o"),
    },
    "agent_framework-1.23.0": {"openai agent": CHAT, "openai agent by responses": RESPONSES},
    "langsmith-0.15.1": {
        label: of(CHAT_NO_ID, model="gpt-4o", user_id="user-1", session_id="session-1")
        for label in ("openai chain", "openai chain stream")
    },
}
CASES = [(emitter, label) for emitter, labels in EXPECTED.items() for label in labels]


@pytest.mark.parametrize(("emitter", "label"), CASES, ids=lambda part: part.replace(" ", "-"))
def test_a_recorded_call_is_one_row_with_its_true_counts_and_cost(emitter: str, label: str) -> None:
    expected = EXPECTED[emitter][label]
    (row,) = rows(calls(emitter)[label])
    assert (row.provider, row.model, row.operation) == (
        expected.provider,
        expected.model,
        expected.operation,
    )
    counts = (
        *(row.input_tokens, row.output_tokens, row.cached_tokens),
        *(row.cache_write_tokens, row.cache_write_1h_tokens, row.reasoning_tokens),
    )
    assert counts == expected.counts
    assert (row.cost_usd, row.cost_status) == (expected.cost, expected.status)
    if expected.response_id != ANY_ID:
        assert row.response_id.startswith(expected.response_id)
    assert bool(row.response_id) == bool(expected.response_id)
    assert {name: getattr(row, name) for name in expected.more} == expected.more


def test_every_recording_is_checked() -> None:
    """Recordings that are not a case are listed here, with their number of rows."""
    others = {
        (emitter, label, len(rows(spans)))
        for emitter in EMITTERS
        for label, spans in calls(emitter).items()
        if (emitter, label) not in CASES
    }
    assert others == {
        # openai-v2 only instruments chat and embeddings.
        ("openai_v2-2.4b0", "openai responses", 0),
        ("openai_v2_opted_in-2.4b0", "openai responses", 0),
        # LiteLLM answered from its own cache, without a provider call.
        ("litellm-1.110.2", "openai chat from the local cache", 0),
        # For an aborted stream, Logfire only emits the span of the request.
        ("logfire-5.4.0", "openai stream never read", 0),
        ("logfire-5.4.0", "openai stream closed early", 0),
        # The SDK and OpenLLMetry both report it; spans are not deduplicated at this stage.
        ("openllmetry-0.62.4", "mistral chat", 2),
    }
