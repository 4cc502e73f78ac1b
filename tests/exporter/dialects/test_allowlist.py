"""Which attributes of other emitters are recorded: counts, names and attribution, never content."""

from __future__ import annotations

import json

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Status, StatusCode

from support.recorded_spans import EMITTERS, calls
from tokenledger_exporter.dialects.allowlist import ALLOWED_ATTRIBUTES, REDUCED
from tokenledger_exporter.recorder.encode import encode_span, is_model_call
from tokenledger_exporter.spool.codec import decode_record
from tokenledger_semconv import attributes, emitters

# Prompt, answers, an agent's instructions and the API key; the recorded traffic contains them all.
CONTENT = (
    *("canary-prompt", "canary-answer", "canary-instructions", "Thank you", "sk-canary"),
    # The text of a provider's refusal.
    *("Rate limit reached", "canary-stack"),
)


def recorded(**span_attributes: str) -> dict[str, object]:
    """The attributes that are recorded of a span."""
    span = ReadableSpan("chat", attributes=span_attributes, resource=Resource({}))
    return {**decode_record(encode_span(span)).attributes}


@pytest.mark.parametrize("emitter", EMITTERS)
def test_no_record_contains_prompts_or_answers(emitter: str) -> None:
    for label, spans in calls(emitter).items():
        for span in spans:
            encoded = encode_span(span)
            assert not [word for word in CONTENT if word.encode() in encoded], (label, span.name)


def test_the_recorded_spans_do_contain_prompts() -> None:
    """Otherwise the test above would prove nothing."""
    silent = {"mistral_sdk-1.12.4", "openai_v2-2.4b0", "openai_v2_opted_in-2.4b0"}
    silent |= {"semantic_kernel-1.45.0", "google_adk-2.13.0", "strands-1.62.0"}
    for emitter in set(EMITTERS) - silent:
        texts = [str(dict(s.attributes or {})) for spans in calls(emitter).values() for s in spans]
        assert "canary-prompt" in "".join(texts), emitter


@pytest.mark.parametrize("attribute", sorted(REDUCED))
def test_words_in_a_reduced_attribute_are_dropped(attribute: str) -> None:
    """Whatever else the emitter puts into the attribute."""
    usage = {
        "content": {"parts": [{"text": "canary"}]},
        "usage": {"input_tokens": 3, "note": "canary", "canary words": 1, "tier": ["canary"]},
    }
    for text in (json.dumps({**usage}), str(usage), "canary", '{"canary', '"canary"'):
        assert "canary" not in str(recorded(**{attribute: text}))


def test_a_reduced_attribute_keeps_counts_and_tiers() -> None:
    usage = {"input_tokens": 3, "service_tier": "flex", "cache_creation": {"ephemeral_1h": 2}}
    attributes_recorded = recorded(
        **{emitters.LOGFIRE_USAGE: json.dumps({**usage, "note": "canary"})}
    )
    assert json.loads(str(attributes_recorded[emitters.LOGFIRE_USAGE])) == usage


def test_a_tier_that_is_a_sentence_is_dropped() -> None:
    usage = json.dumps({"input_tokens": 3, "service_tier": "canary words are here"})
    text = recorded(**{emitters.LOGFIRE_USAGE: usage})[emitters.LOGFIRE_USAGE]
    assert json.loads(str(text)) == {"input_tokens": 3}


@pytest.mark.parametrize(
    "answer",
    [
        '{"id":"canary words","object":"chat.completion"}',
        '{"id":"canary-1"}',
        '{"text":"{\\"id\\":\\"chatcmpl-12345\\"}"}',
        "plain words",
    ],
)
def test_an_answer_that_does_not_start_with_a_providers_id_is_dropped(answer: str) -> None:
    assert recorded(**{emitters.OI_OUTPUT_VALUE: answer}) == {}


def test_only_the_id_of_an_answer_is_recorded() -> None:
    answer = '{"id":"chatcmpl-12345","choices":[{"message":{"content":"canary"}}]}'
    assert recorded(**{emitters.OI_OUTPUT_VALUE: answer}) == {
        emitters.OI_OUTPUT_VALUE: '{"id":"chatcmpl-12345"}'
    }


def test_foreign_metadata_is_cut_to_the_length_of_a_dimension() -> None:
    key = f"{emitters.LANGFUSE_METADATA_PREFIX}plan"
    assert recorded(**{key: "x" * 1_000}) == {key: "x" * 255}


def test_the_number_of_foreign_metadata_keys_is_limited() -> None:
    metadata = {f"{emitters.ASSOCIATION_PREFIX}{number}": "v" for number in range(1_000)}
    assert len(recorded(**metadata)) == 128


def test_metadata_in_json_keeps_its_plain_values() -> None:
    metadata = json.dumps({"plan": "gold", "seats": 3, "prompt": {"text": "canary"}})
    text = recorded(**{emitters.OI_METADATA: metadata})[emitters.OI_METADATA]
    assert json.loads(str(text)) == {"plan": "gold", "seats": "3"}


@pytest.mark.parametrize(
    "attribute",
    [
        *("input.value", "llm.input_messages.0.message.content", "llm.invocation_parameters"),
        *("ai.prompt", "ai.prompt.messages", "ai.response.text", "ai.response.object"),
        *("langfuse.observation.input", "langfuse.observation.output", "hidden_params"),
        *("langfuse.observation.metadata.note", "langfuse.observation.model.parameters"),
        *("gen_ai.prompt", "gen_ai.completion", "gen_ai.prompt.0.content", "request_data"),
        *("gcp.vertex.agent.llm_request", "pydantic_ai.all_messages", "final_result"),
        *("llm.openai.messages", "error.message", "error.stack_trace", "exception.message"),
        *("logfire.msg", "embedding.embeddings.0.embedding.text", "metadata.requester_metadata"),
    ],
)
def test_attributes_with_content_are_not_recorded(attribute: str) -> None:
    assert attribute not in ALLOWED_ATTRIBUTES
    assert recorded(**{attribute: '{"input_tokens": 3, "note": "canary"}'}) == {}


@pytest.mark.parametrize(
    ("name", "recorded_name"),
    [("openai.RateLimitError", "openai.RateLimitError"), ("canary: words", None), (7, None)],
)
def test_the_class_of_an_exception_is_recorded_and_never_its_text(
    name: str | int, recorded_name: str | None
) -> None:
    event = {
        "exception.type": name,
        "exception.message": "canary",
        "exception.stacktrace": "canary",
    }
    span = ReadableSpan(
        "chat",
        attributes={emitters.OI_KIND: "LLM"},
        resource=Resource({}),
        status=Status(StatusCode.ERROR, "canary"),
        events=[Event("exception", event)],
    )
    encoded = encode_span(span)
    assert b"canary" not in encoded
    assert decode_record(encoded).attributes.get(attributes.ERROR_TYPE) == recorded_name


@pytest.mark.parametrize(
    "span_attributes",
    [
        {},
        {"http.request.method": "GET", "url.full": "http://x/", "server.address": "x"},
        {"db.system.name": "postgresql", "db.query.text": "SELECT 1"},
        {"user.id": "u1", "session.id": "s1", "langfuse.trace.tags": ["t"]},
        # LiteLLM's second span of a call has none of the common attributes.
        {"llm.openai.usage": "{'prompt_tokens': 3}", "llm.openai.id": "chatcmpl-1"},
    ],
    ids=["bare", "http", "database", "attribution only", "litellm's raw request"],
)
def test_a_span_that_is_not_a_model_call_is_ignored(span_attributes: dict[str, str]) -> None:
    assert not is_model_call(ReadableSpan("x", attributes=span_attributes, resource=Resource({})))


@pytest.mark.parametrize(
    "mark",
    [
        *(attributes.OPERATION_NAME, attributes.PROVIDER_NAME, attributes.PROVIDER_NAME_UNTIL_1_36),
        *(emitters.OI_KIND, emitters.VERCEL_OPERATION, emitters.LANGFUSE_TYPE),
        emitters.LANGSMITH_KIND,
    ],
)
def test_one_marker_attribute_is_enough_for_a_possible_model_call(mark: str) -> None:
    assert is_model_call(ReadableSpan("x", attributes={mark: "v"}, resource=Resource({})))
