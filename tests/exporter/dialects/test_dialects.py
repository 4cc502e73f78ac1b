"""Which dialect reads a span, and which spans of an emitter are not calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from support.ledger_rows import HEADER, chat_attributes, record
from tokenledger_exporter.dialects import read_call
from tokenledger_exporter.dialects.registry import DIALECTS, dialect_of
from tokenledger_exporter.domain.span_record import SpoolHeader
from tokenledger_semconv import attributes, emitters

if TYPE_CHECKING:
    from tokenledger_exporter.dialects import CallFacts
    from tokenledger_exporter.dialects.dialect import Dialect
    from tokenledger_exporter.domain.span_record import AttributeValue


def read(
    scope: str, span_attributes: dict[str, AttributeValue], *, failed: bool = False
) -> CallFacts | None:
    return read_call(replace(record(span_attributes, failed=failed), scope=scope), HEADER)


@pytest.mark.parametrize(
    ("scope", "name", "exclusive"),
    [
        ("tokenledger.openai", "TokenLedger", False),
        ("com.anthropic.sdk.python", "anthropic SDK", False),
        ("com.anthropic.sdk.python.vertex", "anthropic SDK", False),
        ("opentelemetry.instrumentation.openai.v1", "OpenLLMetry", False),
        ("opentelemetry.instrumentation.bedrock", "OpenLLMetry", True),
        (
            "opentelemetry.instrumentation.genai.bedrock",
            "OpenTelemetry GenAI conventions",
            True,
        ),
        ("opentelemetry.instrumentation.openai_v2", "OpenTelemetry GenAI conventions", False),
        ("openinference.instrumentation.langchain", "OpenInference", False),
        ("@arizeai/openinference-instrumentation-openai", "OpenInference", False),
        ("openlit.instrumentation.anthropic", "OpenLIT", True),
        ("openlit.instrumentation.openai", "OpenLIT", False),
        ("ai", "Vercel AI SDK", False),
        ("airflow", "OpenTelemetry GenAI conventions", False),
        ("gen_ai", "Vercel AI SDK", False),
        ("langfuse-sdk", "Langfuse", False),
        ("logfire.openai", "Logfire", False),
        ("pydantic-ai", "Pydantic AI", False),
        ("litellm", "LiteLLM", False),
        ("strands.telemetry.tracer", "Strands", False),
        ("gcp.vertex.agent", "Google ADK", False),
        ("langsmith", "LangSmith", False),
        ("mistralai_sdk_tracer", "mistralai SDK", False),
        ("unknown.scope", "OpenTelemetry GenAI conventions", False),
    ],
)
def test_the_scope_selects_the_dialect(scope: str, name: str, exclusive: bool) -> None:
    dialect, is_exclusive = dialect_of(scope, {})
    assert (dialect.name, is_exclusive) == (name, exclusive)


@pytest.mark.parametrize(
    "dialect", [dialect for dialect in DIALECTS if dialect.marker], ids=lambda dialect: dialect.name
)
def test_a_marker_selects_the_dialect_of_an_unknown_scope(dialect: Dialect) -> None:
    assert dialect_of("my.own.tracer", {dialect.marker: "LLM"})[0] is dialect


@pytest.mark.parametrize(
    ("scope", "span_attributes"),
    [
        ("openinference.x", {emitters.OI_KIND: "CHAIN", emitters.OI_INPUT: 10}),
        ("openinference.x", {emitters.OI_KIND: "AGENT", emitters.OI_INPUT: 10}),
        ("openinference.x", {emitters.OI_KIND: "RERANKER"}),
        ("ai", {emitters.VERCEL_OPERATION: "ai.generateText", emitters.VERCEL_INPUT: 10}),
        ("ai", {emitters.VERCEL_OPERATION: "ai.toolCall"}),
        ("ai", {emitters.VERCEL_OPERATION: "ai.embed", emitters.VERCEL_EMBEDDING_TOKENS: 10}),
        ("gen_ai", chat_attributes(gen_ai__operation__name="agent_step")),
        ("gen_ai", chat_attributes(gen_ai__operation__name="invoke_agent")),
        ("langfuse-sdk", {emitters.LANGFUSE_TYPE: "agent", emitters.LANGFUSE_USAGE: '{"input":1}'}),
        ("langsmith", chat_attributes(langsmith__span__kind="chain")),
        ("langsmith", chat_attributes(langsmith__span__kind="prompt")),
        ("litellm", chat_attributes(gen_ai__operation__name="litellm_proxy_auth")),
        ("litellm", chat_attributes(gen_ai__operation__name="arerank")),
        ("litellm", chat_attributes(gen_ai__operation__name="completion", litellm__cache_hit=True)),
        ("strands.telemetry.tracer", chat_attributes(gen_ai__operation__name="invoke_agent")),
        ("gcp.vertex.agent", chat_attributes(gen_ai__operation__name="invoke_workflow")),
        ("pydantic-ai", {"gen_ai.aggregated_usage.input_tokens": 10, "gen_ai.system": "openai"}),
        ("agent_framework", chat_attributes(gen_ai__operation__name="invoke_agent")),
        ("com.anthropic.sdk.python", chat_attributes(gen_ai__operation__name="batches.retrieve")),
        ("some.scope", chat_attributes(gen_ai__operation__name="fetch_response")),
        ("some.scope", {attributes.PROVIDER_NAME: "openai"}),
    ],
)
def test_sums_tools_chains_and_polls_are_not_calls(
    scope: str, span_attributes: dict[str, AttributeValue]
) -> None:
    assert read(scope, span_attributes) is None


def test_a_failed_call_of_logfire_is_a_call() -> None:
    """Only a stream's request span, which has no answer's attributes, repeats another span."""
    span_attributes = chat_attributes(error__type="APIConnectionError")
    del span_attributes[attributes.INPUT_TOKENS], span_attributes[attributes.OUTPUT_TOKENS]
    assert read("logfire.openai", span_attributes, failed=True) is not None


@pytest.mark.parametrize(
    "model",
    [
        *("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon.nova-pro-v1:0"),
        *("global.anthropic.claude-opus-4-5", "meta.llama3-70b-instruct-v1:0"),
    ],
)
def test_a_bedrock_model_of_strands_is_billed_by_aws(model: str) -> None:
    span_attributes = chat_attributes(gen_ai__request__model=model)
    span_attributes[attributes.PROVIDER_NAME_UNTIL_1_36] = "strands-agents"
    del span_attributes[attributes.PROVIDER_NAME]
    call = read("strands.telemetry.tracer", span_attributes)
    assert call is not None
    assert call.provider == "aws"


def test_adks_thinking_is_output_if_the_span_lacks_the_answer() -> None:
    """`ADK_CAPTURE_MESSAGE_CONTENT_IN_SPANS=false` leaves an empty object (google-adk 1.39.1)."""
    span_attributes: dict[str, AttributeValue] = {
        attributes.PROVIDER_NAME_UNTIL_1_36: "gcp.vertex.agent",
        attributes.REQUEST_MODEL: "gemini-2.5-flash",
        attributes.INPUT_TOKENS: 1_000,
        attributes.OUTPUT_TOKENS: 150,
        emitters.ADK_REASONING: 50,
        emitters.ADK_RESPONSE: "{}",
    }
    call = read("gcp.vertex.agent", span_attributes)
    assert call is not None
    assert (call.provider, call.operation) == ("google", "generate_content")
    assert (call.tokens.output_tokens, call.tokens.reasoning_tokens) == (200, 50)


@pytest.mark.parametrize(
    ("reported", "ledger"),
    [
        ("openai.chat", "openai"),
        ("openai.responses", "openai"),
        ("anthropic.messages", "anthropic"),
        ("google.generative-ai", "google"),
        ("google.vertex.chat", "google"),
        ("amazon-bedrock", "aws"),
        ("azure.chat", "azure"),
        ("mistral.chat", "mistral"),
        ("xai.chat", "x-ai"),
        ("MistralAI", "mistral"),
        ("google-gla", "google"),
        ("my.own.gateway", "my.own.gateway"),
    ],
)
def test_a_frameworks_provider_name_maps_to_the_ledgers(reported: str, ledger: str) -> None:
    span_attributes: dict[str, AttributeValue] = {
        emitters.VERCEL_OPERATION: "ai.embed.doEmbed",
        emitters.VERCEL_PROVIDER: reported,
    }
    call = read("ai", span_attributes)
    assert call is not None
    assert call.provider == ledger


def test_foreign_metadata_fills_the_column_of_its_name() -> None:
    span_attributes: dict[str, AttributeValue] = {
        **chat_attributes(),
        "traceloop.association.properties.user_id": "u" * 300,
        "traceloop.association.properties.team": "support",
        "traceloop.association.properties.plan": "gold",
    }
    call = read("opentelemetry.instrumentation.openai.v1", span_attributes)
    assert call is not None
    assert (call.dimensions["user_id"], call.dimensions["team"]) == ("u" * 255, "support")
    assert call.metadata == {"plan": "gold"}


def test_attribution_of_the_span_overrides_its_metadata() -> None:
    span_attributes = chat_attributes(user__id="u1") | {
        "traceloop.association.properties.user_id": "u2"
    }
    call = read("opentelemetry.instrumentation.openai.v1", span_attributes)
    assert call is not None
    assert call.dimensions["user_id"] == "u1"


def test_a_conversation_overrides_the_default_session() -> None:
    header = SpoolHeader(format_version=1, ledger="x", defaults={attributes.SESSION_ID: "default"})
    call = read_call(record(chat_attributes(gen_ai__conversation__id="c1")), header)
    assert call is not None
    assert call.dimensions["session_id"] == "c1"


def test_metadata_that_langsmith_adds_itself_is_ignored() -> None:
    span_attributes = chat_attributes(langsmith__span__kind="llm") | {
        "langsmith.metadata.LANGSMITH_ENDPOINT": "http://x/",
        "langsmith.metadata.ls_model_type": "chat",
        "langsmith.metadata.plan": "gold",
        "langsmith.metadata.thread_id": "t1",
    }
    call = read("langsmith", span_attributes)
    assert call is not None
    assert call.metadata == {"plan": "gold"}
    assert call.dimensions["session_id"] == "t1"
