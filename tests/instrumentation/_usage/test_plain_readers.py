"""The fast readers of SDK objects agree with the plain JSON readers of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from tokenledger._usage.anthropic import read_message
from tokenledger._usage.openai import read_chat, read_response
from tokenledger_semconv import attributes as names
from tokenledger_semconv.tokens import TokenVector
from tokenledger_semconv.usage.anthropic import message_tokens
from tokenledger_semconv.usage.openai import chat_tokens, response_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

counts = st.integers(0, 10**9)
ATTRIBUTES = {
    "input_tokens": names.INPUT_TOKENS,
    "output_tokens": names.OUTPUT_TOKENS,
    "cached_tokens": names.CACHE_READ_TOKENS,
    "cache_write_tokens": names.CACHE_WRITE_TOKENS,
    "cache_write_1h_tokens": names.CACHE_WRITE_1H_TOKENS,
    "reasoning_tokens": names.REASONING_TOKENS,
    "audio_input_tokens": names.AUDIO_INPUT_TOKENS,
    "audio_output_tokens": names.AUDIO_OUTPUT_TOKENS,
    "image_input_tokens": names.IMAGE_INPUT_TOKENS,
    "image_output_tokens": names.IMAGE_OUTPUT_TOKENS,
    "cached_audio_tokens": names.CACHED_AUDIO_TOKENS,
    "cached_image_tokens": names.CACHED_IMAGE_TOKENS,
    "web_search_requests": names.WEB_SEARCH_REQUESTS,
    "code_execution_requests": names.CODE_EXECUTION_REQUESTS,
}


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object that has any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


def vector_of(attributes: Mapping[str, Any]) -> TokenVector:
    return TokenVector(**{name: attributes.get(key) for name, key in ATTRIBUTES.items()})


cached = optional(audio_tokens=counts, image_tokens=counts)
input_details = {
    "cached_tokens": counts,
    "cache_write_tokens": counts,
    "audio_tokens": counts,
    "image_tokens": counts,
}
output_details = optional(reasoning_tokens=counts, audio_tokens=counts, image_tokens=counts)
lifetimes = st.fixed_dictionaries(
    {"ephemeral_5m_input_tokens": counts, "ephemeral_1h_input_tokens": counts}
)
# Anthropic reports the lifetimes of cache writes only together with their total.
writes: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"cache_creation_input_tokens": counts, "cache_creation": lifetimes}
)
nothing: dict[str, Any] = {}
no_writes = st.just(nothing)


def turn_of(kind: str, fields: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": kind, **fields, **written}


def with_turns(
    fields: Mapping[str, Any], written: Mapping[str, Any], turns: list[dict[str, Any]]
) -> dict[str, Any]:
    return {**fields, **written, "iterations": turns}


turn = st.builds(
    turn_of,
    st.sampled_from(("message", "compaction", "advisor_message")),
    st.fixed_dictionaries(
        {"input_tokens": counts, "output_tokens": counts},
        optional={"cache_read_input_tokens": counts},
    ),
    no_writes | writes,
)


few = st.integers(0, 3)
lifetimes_of_hosts = optional(ephemeral_5m_input_tokens=counts, ephemeral_1h_input_tokens=counts)


@given(
    optional(
        prompt_tokens=few,
        completion_tokens=few,
        total_tokens=few,
        prompt_tokens_details=optional(
            **input_details,
            cache_creation_tokens=counts,
            cache_creation_token_details=lifetimes_of_hosts,
            cached_tokens_details=cached,
            text_tokens=few,
        ),
        completion_tokens_details=optional(reasoning_tokens=few, audio_tokens=few),
        cached_tokens=counts,
        num_cached_tokens=counts,
        prompt_cache_hit_tokens=counts,
        prompt_cache_miss_tokens=counts,
        cache_read_input_tokens=counts,
        cache_creation_input_tokens=counts,
        cost=st.floats(),
    )
)
def test_what_other_hosts_add_to_chat_usage_is_read_alike(usage: dict[str, Any]) -> None:
    assert vector_of(read_chat({"usage": usage})) == chat_tokens(usage)


@given(
    optional(
        prompt_tokens=counts,
        completion_tokens=counts,
        total_tokens=counts,
        prompt_tokens_details=optional(**input_details),
        completion_tokens_details=output_details,
    )
)
def test_chat_usage_is_read_alike(usage: dict[str, Any]) -> None:
    assert vector_of(read_chat({"usage": usage})) == chat_tokens(usage)


@given(
    optional(
        input_tokens=counts,
        output_tokens=counts,
        total_tokens=counts,
        input_tokens_details=optional(**input_details, cached_tokens_details=cached),
        output_tokens_details=output_details,
    )
)
def test_response_usage_is_read_alike(usage: dict[str, Any]) -> None:
    assert vector_of(read_response({"usage": usage})) == response_tokens(usage)


@given(
    st.builds(
        with_turns,
        st.fixed_dictionaries(
            {"input_tokens": counts, "output_tokens": counts},
            optional={
                "cache_read_input_tokens": counts,
                "output_tokens_details": optional(thinking_tokens=counts),
                "server_tool_use": optional(
                    web_search_requests=counts, code_execution_requests=counts
                ),
            },
        ),
        no_writes | writes,
        st.lists(turn, max_size=4),
    )
)
def test_message_usage_is_read_alike(usage: dict[str, Any]) -> None:
    assert vector_of(read_message({"usage": usage})) == message_tokens(usage)
