"""OpenAI's usage object becomes the token vector, whichever of its APIs sent it."""

from __future__ import annotations

from tokenledger_semconv.tokens import TokenVector
from tokenledger_semconv.usage.openai import chat_tokens, response_tokens


def test_chat_details_are_parts_of_their_side() -> None:
    usage: dict[str, object] = {
        "prompt_tokens": 1_000,
        "completion_tokens": 200,
        "prompt_tokens_details": {"cached_tokens": 300, "audio_tokens": 40, "image_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 150, "audio_tokens": 6},
    }
    assert chat_tokens(usage) == TokenVector(
        input_tokens=1_000,
        output_tokens=200,
        cached_tokens=300,
        reasoning_tokens=150,
        audio_input_tokens=40,
        audio_output_tokens=6,
        image_input_tokens=5,
    )


def test_response_details_split_what_was_cached() -> None:
    usage: dict[str, object] = {
        "input_tokens": 1_000,
        "output_tokens": 200,
        "input_token_details": {
            "cached_tokens": 300,
            "audio_tokens": 400,
            "cached_tokens_details": {"audio_tokens": 250, "image_tokens": 0},
        },
        "output_token_details": {"reasoning_tokens": 10},
    }
    assert response_tokens(usage) == TokenVector(
        input_tokens=1_000,
        output_tokens=200,
        cached_tokens=300,
        reasoning_tokens=10,
        audio_input_tokens=400,
        cached_audio_tokens=250,
        cached_image_tokens=0,
    )


def test_litellm_reports_cache_writes_by_lifetime_in_the_prompts_details() -> None:
    usage: dict[str, object] = {
        "prompt_tokens": 1_000,
        "prompt_tokens_details": {
            "cache_creation_tokens": 700,
            "cache_creation_token_details": {
                "ephemeral_5m_input_tokens": 400,
                "ephemeral_1h_input_tokens": 300,
            },
        },
    }
    tokens = chat_tokens(usage)
    assert (tokens.cache_write_tokens, tokens.cache_write_1h_tokens) == (700, 300)


def test_litellm_reports_anthropics_cache_at_the_top() -> None:
    usage: dict[str, object] = {
        "prompt_tokens": 1_000,
        "cache_read_input_tokens": 600,
        "cache_creation_input_tokens": 100,
    }
    tokens = chat_tokens(usage)
    assert (tokens.cached_tokens, tokens.cache_write_tokens) == (600, 100)


def test_a_missing_count_is_not_zero_and_a_wrong_one_is_missing() -> None:
    assert chat_tokens({}) == TokenVector()
    odd: dict[str, object] = {"prompt_tokens": -1, "completion_tokens": True}
    assert chat_tokens(odd) == TokenVector()
    assert chat_tokens({"prompt_tokens": 3.0, "completion_tokens": 2.5}) == TokenVector(3)
