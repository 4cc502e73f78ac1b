"""A span becomes one compact record: the contract's attributes, bounded, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tokenledger_exporter.dialects.allowlist import ALLOWED_ATTRIBUTES
from tokenledger_exporter.recorder.encode import encode_span
from tokenledger_exporter.spool.codec import decode_record
from tokenledger_semconv import attributes, dimensions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

    from tokenledger_exporter.domain.span_record import SpanRecord


def encoded(span_attributes: Mapping[str, AttributeValue] | None) -> SpanRecord:
    """The record of a span, read back from its bytes."""
    span = ReadableSpan("chat", attributes=span_attributes, resource=Resource({}))
    return decode_record(encode_span(span))


def test_settings_keep_their_types() -> None:
    span_attributes: dict[str, AttributeValue] = {
        attributes.REQUEST_TEMPERATURE: 0.5,
        attributes.REQUEST_MAX_TOKENS: 64,
        attributes.REQUEST_STREAM: True,
        attributes.SDK_VERSION: "openai 3.54.0",
        attributes.USAGE_ESTIMATED: False,
        attributes.REPORTED_COST: 0.00014,
    }
    assert encoded(span_attributes).attributes == span_attributes


def test_the_sdks_release_is_kept_off_the_scope() -> None:
    scope = InstrumentationScope(
        "tokenledger.openai", attributes={attributes.SDK_VERSION: "openai 3.54.0"}
    )
    span = ReadableSpan("chat", resource=Resource({}), instrumentation_scope=scope)
    for _ in range(2):
        kept = decode_record(encode_span(span)).resource
        assert kept[attributes.SDK_VERSION] == "openai 3.54.0"
    other = ReadableSpan("chat", resource=span.resource)
    assert attributes.SDK_VERSION not in decode_record(encode_span(other)).resource


def test_several_finish_reasons_are_a_list() -> None:
    found = encoded({attributes.FINISH_REASONS: ("stop", "length")}).attributes
    assert found == {attributes.FINISH_REASONS: ["stop", "length"]}


@pytest.mark.parametrize(
    "name",
    [
        "gen_ai.request.stop_sequences",
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.system_instructions",
        "gen_ai.tool.definitions",
        "http.request.header.authorization",
    ],
)
def test_nothing_that_can_hold_a_prompt_or_a_key_is_kept(name: str) -> None:
    assert name not in ALLOWED_ATTRIBUTES
    assert encoded({name: "canary"}).attributes == {}


def test_every_name_of_the_contract_is_kept() -> None:
    new = (attributes.CACHED_AUDIO_TOKENS, attributes.AUDIO_SECONDS, attributes.SDK_VERSION)
    assert set(new) <= ALLOWED_ATTRIBUTES


@pytest.mark.parametrize("name", [attributes.PROVIDER_USAGE, attributes.FURTHER_USAGE])
def test_a_long_usage_object_is_kept_whole(name: str) -> None:
    """Half of one is no JSON, and what further models are billed for stands in it alone."""
    assert encoded({name: "u" * 20_000}).attributes == {name: "u" * 20_000}


@pytest.mark.parametrize("letter", ["a", "\u00fc"], ids=["ascii", "beyond"])
def test_a_long_text_is_cut(letter: str) -> None:
    found = encoded({attributes.USER_ID: letter * 10_000}).attributes
    assert found == {attributes.USER_ID: letter * 8_192}


def test_a_text_in_a_list_is_cut_as_a_dimension_is() -> None:
    found = encoded({attributes.FINISH_REASONS: ["x" * 10_000]}).attributes
    assert found == {attributes.FINISH_REASONS: ["x" * dimensions.MAX_VALUE_LENGTH]}


@pytest.mark.parametrize("count", [2**64, -(2**63) - 1, 10**40])
def test_a_count_beyond_64_bits_is_text(count: int) -> None:
    assert encoded({attributes.INPUT_TOKENS: count}).attributes == {
        attributes.INPUT_TOKENS: str(count)
    }


@pytest.mark.parametrize("count", [0, 2**64 - 1, -(2**63)])
def test_a_64_bit_count_is_unchanged(count: int) -> None:
    assert encoded({attributes.INPUT_TOKENS: count}).attributes == {attributes.INPUT_TOKENS: count}


def test_a_span_without_attributes_is_a_record_without_any() -> None:
    assert encoded(None).attributes == {}


def test_a_span_keeps_a_bounded_number_of_metadata_keys() -> None:
    span_attributes = {f"{attributes.METADATA_PREFIX}k{number}": "v" for number in range(100)}
    assert len(encoded(span_attributes).attributes) == dimensions.MAX_METADATA_KEYS


@given(text=st.text(), key=st.sampled_from([attributes.USER_ID, "tokenledger.metadata.k"]))
def test_any_text_becomes_a_record_that_can_be_read_back(text: str, key: str) -> None:
    found = encoded({key: text, attributes.FINISH_REASONS: [text]}).attributes
    assert found[key] == text.encode("utf-8", "replace").decode()[:8_192]
