"""A span's total is held against its counts: what does not add up is repaired or partial."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from support.ledger_rows import HEADER, package_book, record
from tokenledger_exporter.dialects.registry import DIALECTS
from tokenledger_exporter.rating.build_rows import build_rows
from tokenledger_semconv import attributes, emitters

if TYPE_CHECKING:
    from tokenledger_exporter.domain.ledger_row import LedgerRow
    from tokenledger_exporter.domain.span_record import AttributeValue

MILLION = Decimal(1_000_000)
OPENLLMETRY_GEMINI = "opentelemetry.instrumentation.google_generativeai"


def row(scope: str, span_attributes: dict[str, AttributeValue]) -> LedgerRow:
    [made] = build_rows(replace(record(span_attributes), scope=scope), HEADER, package_book)
    return made


def chat(
    provider: str, model: str, read: int, written: int, total: int, **more: AttributeValue
) -> dict[str, AttributeValue]:
    return {
        attributes.OPERATION_NAME: "chat",
        attributes.PROVIDER_NAME: provider,
        attributes.REQUEST_MODEL: model,
        attributes.INPUT_TOKENS: read,
        attributes.OUTPUT_TOKENS: written,
        attributes.TOTAL_TOKENS: total,
        **{key.replace("__", "."): value for key, value in more.items()},
    }


def counts(made: LedgerRow) -> tuple[int | None, int | None, int | None]:
    return made.input_tokens, made.output_tokens, made.reasoning_tokens


def test_reasoning_on_top_of_the_output_is_added() -> None:
    more = {"gen_ai__usage__reasoning_tokens": 500}
    made = row("unknown", chat("x_ai", "grok-4", 1_000, 1_499, 2_999, **more))
    assert counts(made) == (1_000, 1_999, 500)
    assert made.cost_usd == (1_000 * Decimal(3) + 1_999 * Decimal(15)) / MILLION
    assert made.cost_status == "priced"


@pytest.mark.parametrize(
    ("written", "status", "output"), [(9, "priced", 103), (94, "priced", 94), (200, "priced", 200)]
)
def test_at_xai_reasoning_that_exceeds_the_output_is_on_top_of_it(
    written: int, status: str, output: int
) -> None:
    more = {"gen_ai__usage__reasoning_tokens": 94}
    span_attributes = chat("xai", "grok-4", 100, written, 0, **more)
    del span_attributes[attributes.TOTAL_TOKENS]
    made = row("unknown", span_attributes)
    assert (made.output_tokens, made.cost_status) == (output, status)


def test_elsewhere_more_reasoning_than_output_stays_a_contradiction() -> None:
    more = {"gen_ai__usage__reasoning_tokens": 94}
    span_attributes = chat("openai", "gpt-4o", 100, 9, 109, **more)
    assert row("unknown", span_attributes).cost_status == "unpriced"


def test_a_total_that_nothing_explains_makes_the_row_partial() -> None:
    made = row("unknown", chat("openai", "gpt-4o", 1_000, 100, 1_234))
    assert made.cost_usd == (1_000 * Decimal("2.5") + 100 * Decimal(10)) / MILLION
    assert made.cost_status == "partial"
    assert made.cost_note == "unknown: why 1,234 tokens in total are not the 1,100 of the counts"
    assert row("unknown", chat("openai", "gpt-4o", 1_000, 100, 1_099)).cost_status == "partial"


def test_a_total_that_includes_cached_tokens_shows_that_the_input_does_not() -> None:
    more = {"gen_ai__usage__cache_read__input_tokens": 600}
    span_attributes = chat("aws.bedrock", "amazon.nova-micro-v1:0", 1_000, 200, 1_800, **more)
    made = row("strands.telemetry.tracer", span_attributes)
    assert (made.input_tokens, made.cached_tokens, made.cost_status) == (1_600, 600, "priced")


def test_openllmetrys_gemini_total_holds_thinking_and_a_tools_prompt() -> None:
    """The old model cannot think, so it is the prompt; of a newer one the span does not say."""
    old = row(OPENLLMETRY_GEMINI, chat("gcp.gen_ai", "gemini-2.0-flash", 100, 20, 5_120))
    assert counts(old) == (5_100, 20, None)
    assert old.cost_usd == (5_100 * Decimal("0.1") + 20 * Decimal("0.4")) / MILLION
    assert old.cost_status == "priced"
    new = row(OPENLLMETRY_GEMINI, chat("gcp.gen_ai", "gemini-2.5-flash", 100, 20, 5_120))
    assert counts(new) == (100, 5_020, 5_000)
    assert (new.cost_status, new.cost_note) == (
        "partial",
        "unknown: whether 5,000 tokens are reasoning or the prompt of a tool",
    )


def test_litellms_gemini_total_holds_a_tools_prompt() -> None:
    usage = (
        "{'prompt_tokens': 100, 'completion_tokens': 70, 'total_tokens': 420, "
        "'completion_tokens_details': {'reasoning_tokens': 50, 'text_tokens': 20}}"
    )
    made = row(
        "litellm",
        {
            attributes.OPERATION_NAME: "completion",
            attributes.PROVIDER_NAME: "gemini",
            attributes.REQUEST_MODEL: "gemini-2.5-flash",
            emitters.LITELLM_USAGE: usage,
        },
    )
    assert counts(made) == (100 + 250, 70, 50)
    assert made.cost_usd == (350 * Decimal("0.3") + 70 * Decimal("2.5")) / MILLION
    assert made.cost_status == "priced"


@pytest.mark.parametrize(
    ("scope", "total"),
    [
        ("openinference.x", emitters.OI_TOTAL),
        ("ai", emitters.VERCEL_TOTAL),
        ("mistralai_sdk_tracer", emitters.MISTRAL_TOTAL),
        ("opentelemetry.instrumentation.mistralai", emitters.LLM_TOTAL_TOKENS),
        ("langsmith", attributes.TOTAL_TOKENS),
    ],
)
def test_each_emitters_total_is_held_against_its_counts(scope: str, total: str) -> None:
    operation = {
        "openinference.x": (emitters.OI_KIND, "LLM"),
        "ai": (emitters.VERCEL_OPERATION, "ai.generateText.doGenerate"),
        "langsmith": (emitters.LANGSMITH_KIND, "llm"),
    }.get(scope, (attributes.OPERATION_NAME, "chat"))
    span_attributes: dict[str, AttributeValue] = {
        operation[0]: operation[1],
        attributes.PROVIDER_NAME: "openai",
        attributes.REQUEST_MODEL: "gpt-4o",
        attributes.INPUT_TOKENS: 10,
        attributes.OUTPUT_TOKENS: 5,
    }
    assert row(scope, {**span_attributes, total: 15}).cost_status == "priced"
    assert row(scope, {**span_attributes, total: 99}).cost_status == "partial"


def test_every_dialect_reads_a_total() -> None:
    without = [
        dialect.name
        for dialect in DIALECTS
        if "total_tokens" not in {name for _, name, _ in dialect.fields.values()}
    ]
    assert without == []


def test_a_total_alone_is_the_input_of_an_embedding_and_no_answer() -> None:
    span_attributes: dict[str, AttributeValue] = {
        attributes.OPERATION_NAME: "embeddings",
        attributes.PROVIDER_NAME: "voyage",
        attributes.REQUEST_MODEL: "voyage-3.5",
        attributes.TOTAL_TOKENS: 12,
    }
    made = row("unknown", span_attributes)
    assert (made.input_tokens, made.cost_usd) == (12, 12 * Decimal("0.06") / MILLION)
    answer = row("unknown", {**span_attributes, attributes.OPERATION_NAME: "chat"})
    assert (answer.cost_status, answer.total_tokens) == ("unmeasured", None)
    assert answer.cost_note.endswith("unknown: how 12 tokens divide into input and output")
