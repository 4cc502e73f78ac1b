"""The same usage gives the same counts and the same cost, whichever emitter reports it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from support.ledger_rows import HEADER, build_row, package_book, record
from tokenledger_exporter.dialects import read_call
from tokenledger_semconv import attributes, emitters

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger_exporter.domain.span_record import AttributeValue, SpanRecord
    from tokenledger_semconv.tokens import TokenVector

    Attributes = dict[str, AttributeValue]

MODEL = "claude-sonnet-4-5"


@dataclass(frozen=True)
class Use:
    """The usage of a call, in disjoint parts except reasoning, which is part of output."""

    uncached: int
    reads: int
    writes: int
    output: int
    reasoning: int

    @property
    def input(self) -> int:
        return self.uncached + self.reads + self.writes


def named(**more: AttributeValue) -> Attributes:
    return {
        attributes.OPERATION_NAME: "chat",
        attributes.PROVIDER_NAME: "anthropic",
        attributes.REQUEST_MODEL: MODEL,
        **more,
    }


def newest(use: Use) -> Attributes:
    return named() | {
        attributes.INPUT_TOKENS: use.input,
        attributes.OUTPUT_TOKENS: use.output,
        attributes.CACHE_READ_TOKENS: use.reads,
        attributes.CACHE_WRITE_TOKENS: use.writes,
        attributes.REASONING_TOKENS: use.reasoning,
    }


def until_1_42(use: Use) -> Attributes:
    return {
        attributes.OPERATION_NAME: "chat",
        attributes.PROVIDER_NAME_UNTIL_1_36: "anthropic",
        attributes.REQUEST_MODEL: MODEL,
        attributes.INPUT_TOKENS: use.input,
        attributes.OUTPUT_TOKENS: use.output,
        attributes.CACHE_READ_TOKENS_OLDER: use.reads,
        attributes.CACHE_WRITE_TOKENS_UNTIL_1_42: use.writes,
        attributes.REASONING_TOKENS_OLDER: use.reasoning,
    }


def until_1_26(use: Use) -> Attributes:
    return {
        attributes.PROVIDER_NAME_UNTIL_1_36: "anthropic",
        attributes.REQUEST_MODEL: MODEL,
        attributes.INPUT_TOKENS_UNTIL_1_26: use.input,
        attributes.OUTPUT_TOKENS_UNTIL_1_26: use.output,
        attributes.CACHE_READ_TOKENS_OLDER: use.reads,
        attributes.CACHE_WRITE_TOKENS_OLDER: use.writes,
        attributes.REASONING_TOKENS_OLDER: use.reasoning,
    }


def exclusive(use: Use) -> Attributes:
    return newest(use) | {attributes.INPUT_TOKENS: use.uncached}


def openinference(use: Use) -> Attributes:
    return {
        emitters.OI_KIND: "LLM",
        emitters.OI_PROVIDER: "anthropic",
        emitters.OI_MODEL: MODEL,
        emitters.OI_INPUT: use.input,
        emitters.OI_OUTPUT: use.output,
        emitters.OI_CACHE_READ: use.reads,
        emitters.OI_CACHE_WRITE: use.writes,
        emitters.OI_REASONING: use.reasoning,
    }


def vercel(use: Use) -> Attributes:
    return {
        emitters.VERCEL_OPERATION: "ai.generateText.doGenerate",
        emitters.VERCEL_PROVIDER: "anthropic.messages",
        emitters.VERCEL_MODEL: MODEL,
        emitters.VERCEL_INPUT: use.input,
        emitters.VERCEL_OUTPUT: use.output,
        emitters.VERCEL_CACHE_READ: use.reads,
        emitters.VERCEL_CACHE_WRITE: use.writes,
        emitters.VERCEL_REASONING: use.reasoning,
    }


def anthropic_object(use: Use) -> str:
    return json.dumps(
        {
            "input_tokens": use.uncached,
            "cache_read_input_tokens": use.reads,
            "cache_creation_input_tokens": use.writes,
            "output_tokens": use.output,
            "output_tokens_details": {"thinking_tokens": use.reasoning},
        }
    )


def vercel_5(use: Use) -> Attributes:
    """Version 5 tells no cache counts of its own; Anthropic's object is in the metadata."""
    metadata = json.dumps({"anthropic": {"usage": json.loads(anthropic_object(use))}})
    return {
        emitters.VERCEL_OPERATION: "ai.streamText.doStream",
        emitters.VERCEL_PROVIDER: "anthropic.messages",
        emitters.VERCEL_MODEL: MODEL,
        emitters.VERCEL_INPUT: use.uncached,
        emitters.VERCEL_OUTPUT: use.output,
        emitters.VERCEL_PROVIDER_METADATA: metadata,
    }


def langfuse(usage: str) -> Attributes:
    return {
        emitters.LANGFUSE_TYPE: "generation",
        emitters.LANGFUSE_MODEL: MODEL,
        emitters.LANGFUSE_USAGE: usage,
    }


def langfuse_disjoint(use: Use) -> Attributes:
    usage = {
        "input": use.uncached,
        "input_cached_tokens": use.reads,
        "input_cache_creation": use.writes,
        "output": use.output - use.reasoning,
        "output_reasoning_tokens": use.reasoning,
        "total": use.input + use.output,
    }
    return langfuse(json.dumps(usage))


def printed_openai(use: Use) -> dict[str, object]:
    return {
        "prompt_tokens": use.input,
        "completion_tokens": use.output,
        "prompt_tokens_details": {"cached_tokens": use.reads, "cache_write_tokens": use.writes},
        "completion_tokens_details": {"reasoning_tokens": use.reasoning, "audio_tokens": None},
    }


def litellm(use: Use) -> Attributes:
    return {
        attributes.OPERATION_NAME: "acompletion",
        attributes.PROVIDER_NAME_UNTIL_1_36: "anthropic",
        attributes.REQUEST_MODEL: MODEL,
        attributes.INPUT_TOKENS: use.input,
        attributes.OUTPUT_TOKENS: use.output,
        emitters.LITELLM_USAGE: str(printed_openai(use)),
    }


def langchain_object(use: Use) -> dict[str, object]:
    return {
        "input_tokens": use.input,
        "output_tokens": use.output,
        "input_token_details": {"cache_read": use.reads, "cache_creation": use.writes},
        "output_token_details": {"reasoning": use.reasoning},
    }


def langsmith(use: Use) -> Attributes:
    return {
        emitters.LANGSMITH_KIND: "llm",
        attributes.PROVIDER_NAME_UNTIL_1_36: "anthropic",
        attributes.REQUEST_MODEL: MODEL,
        emitters.LANGSMITH_USAGE: json.dumps(langchain_object(use)),
    }


def langsmith_older(use: Use) -> Attributes:
    """Until 0.4 the details were reported as printed dicts, in addition to the totals."""
    usage = langchain_object(use)
    return {
        emitters.LANGSMITH_KIND: "llm",
        attributes.PROVIDER_NAME_UNTIL_1_36: "anthropic",
        attributes.REQUEST_MODEL: MODEL,
        attributes.INPUT_TOKENS: use.input,
        attributes.OUTPUT_TOKENS: use.output,
        emitters.LANGSMITH_INPUT_DETAILS: str(usage["input_token_details"]),
        emitters.LANGSMITH_OUTPUT_DETAILS: str(usage["output_token_details"]),
    }


def strands(use: Use) -> Attributes:
    return {
        attributes.OPERATION_NAME: "chat",
        attributes.PROVIDER_NAME_UNTIL_1_36: "strands-agents",
        attributes.REQUEST_MODEL: MODEL,
        attributes.INPUT_TOKENS: use.input,
        attributes.INPUT_TOKENS_UNTIL_1_26: use.input,
        attributes.OUTPUT_TOKENS: use.output,
        attributes.OUTPUT_TOKENS_UNTIL_1_26: use.output,
        attributes.CACHE_READ_TOKENS: use.reads,
        attributes.CACHE_READ_TOKENS_OLDER: use.reads,
        attributes.CACHE_WRITE_TOKENS_UNTIL_1_42: use.writes,
        emitters.CACHE_WRITE_TOKENS_STRANDS: use.writes,
        attributes.REASONING_TOKENS: use.reasoning,
    }


def logfire(use: Use) -> Attributes:
    return named() | {
        attributes.INPUT_TOKENS: use.input,
        attributes.OUTPUT_TOKENS: use.output,
        emitters.LOGFIRE_USAGE: anthropic_object(use),
    }


DIALECTS: dict[str, tuple[str, Callable[[Use], Attributes]]] = {
    "newest conventions": ("opentelemetry.instrumentation.genai.anthropic", newest),
    "conventions until 1.42": ("opentelemetry.instrumentation.openai_v2", until_1_42),
    "conventions until 1.26": ("some.instrumentation", until_1_26),
    "anthropic sdk on bedrock": ("com.anthropic.sdk.python.bedrock", newest),
    "otel bedrock": ("opentelemetry.instrumentation.genai.bedrock", exclusive),
    "openllmetry": ("opentelemetry.instrumentation.anthropic", until_1_42),
    "openllmetry bedrock": ("opentelemetry.instrumentation.bedrock", exclusive),
    "openinference": ("openinference.instrumentation.anthropic", openinference),
    "openinference of another scope": ("my.own.tracer", openinference),
    "openlit anthropic": ("openlit.instrumentation.anthropic", exclusive),
    "openlit openai": ("openlit.instrumentation.openai", newest),
    "vercel 6": ("ai", vercel),
    "vercel 5": ("ai", vercel_5),
    "vercel otel": ("gen_ai", until_1_42),
    "langfuse": ("langfuse-sdk", langfuse_disjoint),
    "langfuse with anthropic's": ("langfuse-sdk", lambda use: langfuse(anthropic_object(use))),
    "langfuse with openai's": (
        "langfuse-sdk",
        lambda use: langfuse(json.dumps(printed_openai(use))),
    ),
    "logfire": ("logfire.anthropic", logfire),
    "pydantic ai": ("pydantic-ai", until_1_42),
    "litellm": ("litellm", litellm),
    "strands": ("strands.telemetry.tracer", strands),
    "google adk": ("gcp.vertex.agent", newest),
    "langsmith": ("langsmith", langsmith),
    "langsmith, older": ("langsmith", langsmith_older),
    "agent framework": ("agent_framework", newest),
}

counts = st.integers(min_value=0, max_value=10_000_000)


@st.composite
def uses(draw: st.DrawFn) -> Use:
    output = draw(counts)
    reasoning = draw(st.integers(min_value=0, max_value=output))
    return Use(draw(counts), draw(counts), draw(counts), output, reasoning)


def span_of(scope: str, span_attributes: Attributes) -> SpanRecord:
    return replace(record(span_attributes, start_ns=1_763_800_000_000_000_000), scope=scope)


def whole(vector: TokenVector) -> dict[str, int]:
    """The counts of a vector, with 0 for missing ones."""
    return {name: count or 0 for name, count in vector._asdict().items()}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda name: name.replace(" ", "-"))
@settings(max_examples=40, deadline=None)
@given(use=uses())
def test_every_dialect_reports_the_same_counts_for_the_same_usage(dialect: str, use: Use) -> None:
    scope, write = DIALECTS[dialect]
    span, canonical = (
        span_of(scope, write(use)),
        span_of("tokenledger.anthropic", newest(use)),
    )
    call, expected = read_call(span, HEADER), read_call(canonical, HEADER)
    assert call is not None
    assert expected is not None
    assert whole(call.tokens) == whole(expected.tokens)
    row, priced = build_row(span, HEADER, package_book), build_row(canonical, HEADER, package_book)
    assert row is not None
    assert priced is not None
    assert (row.cost_usd, row.provider) == (priced.cost_usd, "anthropic")


@settings(deadline=None)
@given(use=uses())
def test_an_unknown_emitters_counts_are_used_unless_they_are_impossible(use: Use) -> None:
    """Cache counts above the input prove that the input excludes them."""
    call = read_call(span_of("unknown.scope", exclusive(use)), HEADER)
    assert call is not None
    is_proved = use.reads + use.writes > use.uncached
    assert call.tokens.input_tokens == (use.input if is_proved else use.uncached)
    assert not [fault for fault in call.tokens.faults() if fault.startswith("cache")]


@pytest.mark.parametrize("dialect", ["openinference", "vercel 6", "litellm", "langsmith"])
def test_counts_that_contradict_each_other_are_not_priced(dialect: str) -> None:
    scope, write = DIALECTS[dialect]
    span = span_of(scope, write(Use(uncached=10, reads=0, writes=0, output=5, reasoning=6)))
    row = build_row(span, HEADER, package_book)
    assert row is not None
    assert (row.cost_status, row.cost_note) == ("unpriced", "reasoning (6) exceed output (5)")
