"""What of other emitters' spans enters the spool: counts, names and attribution, never a word."""

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

# The prompt, the answers, an agent's instructions, the API key; `record/` puts them on every wire.
SAID = (
    *("canary-prompt", "canary-answer", "canary-instructions", "Thank you", "sk-canary"),
    # A provider's words of a refusal.
    *("Rate limit reached", "canary-stack"),
)


def kept(**told: str) -> dict[str, object]:
    span = ReadableSpan("chat", attributes=told, resource=Resource({}))
    return {**decode_record(encode_span(span)).attributes}


@pytest.mark.parametrize("emitter", EMITTERS)
def test_nothing_that_was_said_is_in_the_record_of_any_span(emitter: str) -> None:
    for label, spans in calls(emitter).items():
        for span in spans:
            encoded = encode_span(span)
            assert not [word for word in SAID if word.encode() in encoded], (label, span.name)


def test_the_recordings_do_hold_what_was_said() -> None:
    """Else the test above would prove nothing."""
    silent = {"mistral_sdk-1.12.4", "openai_v2-2.4b0", "openai_v2_opted_in-2.4b0"}
    silent |= {"semantic_kernel-1.45.0", "google_adk-2.13.0", "strands-1.62.0"}
    for emitter in set(EMITTERS) - silent:
        told = [str(dict(s.attributes or {})) for spans in calls(emitter).values() for s in spans]
        assert "canary-prompt" in "".join(told), emitter


@pytest.mark.parametrize("attribute", sorted(REDUCED))
def test_words_in_a_reduced_attribute_are_dropped(attribute: str) -> None:
    """Whatever an emitter puts beside the counts, whatever its text is."""
    around = {
        "content": {"parts": [{"text": "canary"}]},
        "usage": {"input_tokens": 3, "note": "canary", "canary words": 1, "tier": ["canary"]},
    }
    for told in (json.dumps({**around}), str(around), "canary", '{"canary', '"canary"'):
        assert "canary" not in str(kept(**{attribute: told}))


def test_a_reduced_attribute_keeps_counts_and_tiers() -> None:
    told = {"input_tokens": 3, "service_tier": "flex", "cache_creation": {"ephemeral_1h": 2}}
    found = kept(**{emitters.LOGFIRE_USAGE: json.dumps({**told, "note": "canary"})})
    assert json.loads(str(found[emitters.LOGFIRE_USAGE])) == told


def test_a_tier_that_is_a_sentence_is_none() -> None:
    told = json.dumps({"input_tokens": 3, "service_tier": "canary words are here"})
    assert json.loads(str(kept(**{emitters.LOGFIRE_USAGE: told})[emitters.LOGFIRE_USAGE])) == {
        "input_tokens": 3
    }


@pytest.mark.parametrize(
    "answer",
    [
        '{"id":"canary words","object":"chat.completion"}',
        '{"id":"canary-1"}',
        '{"text":"{\\"id\\":\\"chatcmpl-12345\\"}"}',
        "plain words",
    ],
)
def test_an_answer_that_begins_with_no_providers_id_is_dropped(answer: str) -> None:
    assert kept(**{emitters.OI_OUTPUT_VALUE: answer}) == {}


def test_of_an_answer_the_id_alone_is_kept() -> None:
    answer = '{"id":"chatcmpl-12345","choices":[{"message":{"content":"canary"}}]}'
    assert kept(**{emitters.OI_OUTPUT_VALUE: answer}) == {
        emitters.OI_OUTPUT_VALUE: '{"id":"chatcmpl-12345"}'
    }


def test_foreign_metadata_is_cut_to_what_a_dimension_holds() -> None:
    key = f"{emitters.LANGFUSE_METADATA_PREFIX}plan"
    assert kept(**{key: "x" * 1_000}) == {key: "x" * 255}


def test_foreign_metadata_is_bounded_in_number() -> None:
    told = {f"{emitters.ASSOCIATION_PREFIX}{number}": "v" for number in range(1_000)}
    assert len(kept(**told)) == 128


def test_metadata_in_json_keeps_its_plain_values() -> None:
    told = json.dumps({"plan": "gold", "seats": 3, "prompt": {"text": "canary"}})
    found = kept(**{emitters.OI_METADATA: told})
    assert json.loads(str(found[emitters.OI_METADATA])) == {"plan": "gold", "seats": "3"}


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
def test_attributes_that_hold_words_are_not_kept(attribute: str) -> None:
    assert attribute not in ALLOWED_ATTRIBUTES
    assert kept(**{attribute: '{"input_tokens": 3, "note": "canary"}'}) == {}


@pytest.mark.parametrize(
    ("name", "kept_name"),
    [("openai.RateLimitError", "openai.RateLimitError"), ("canary: words", None), (7, None)],
)
def test_of_an_exception_its_class_is_kept_and_never_its_text(
    name: str | int, kept_name: str | None
) -> None:
    told = {"exception.type": name, "exception.message": "canary", "exception.stacktrace": "canary"}
    span = ReadableSpan(
        "chat",
        attributes={emitters.OI_KIND: "LLM"},
        resource=Resource({}),
        status=Status(StatusCode.ERROR, "canary"),
        events=[Event("exception", told)],
    )
    encoded = encode_span(span)
    assert b"canary" not in encoded
    assert decode_record(encoded).attributes.get(attributes.ERROR_TYPE) == kept_name


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"http.request.method": "GET", "url.full": "http://x/", "server.address": "x"},
        {"db.system.name": "postgresql", "db.query.text": "SELECT 1"},
        {"user.id": "u1", "session.id": "s1", "langfuse.trace.tags": ["t"]},
        # LiteLLM's second span of a call has no name that all share.
        {"llm.openai.usage": "{'prompt_tokens': 3}", "llm.openai.id": "chatcmpl-1"},
    ],
    ids=["bare", "http", "database", "stamped by another", "litellm's raw request"],
)
def test_a_span_of_no_model_call_is_left_alone(told: dict[str, str]) -> None:
    assert not is_model_call(ReadableSpan("x", attributes=told, resource=Resource({})))


@pytest.mark.parametrize(
    "mark",
    [
        *(attributes.OPERATION_NAME, attributes.PROVIDER_NAME, attributes.PROVIDER_NAME_UNTIL_1_36),
        *(emitters.OI_KIND, emitters.VERCEL_OPERATION, emitters.LANGFUSE_TYPE),
        emitters.LANGSMITH_KIND,
    ],
)
def test_one_of_few_attributes_tells_that_a_span_may_be_a_model_call(mark: str) -> None:
    assert is_model_call(ReadableSpan("x", attributes={mark: "v"}, resource=Resource({})))
