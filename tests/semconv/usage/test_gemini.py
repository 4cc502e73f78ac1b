"""Gemini's usage objects become the token vector, with their modalities."""

from __future__ import annotations

from tokenledger_semconv.tokens import TokenVector
from tokenledger_semconv.usage.gemini import (
    generate_content_tokens,
    interaction_tokens,
    modality_entries,
)


def entry(modality: str, count: int) -> dict[str, object]:
    return {"modality": modality, "tokenCount": count}


def test_an_answer_is_split_by_modality_in_either_spelling() -> None:
    camel: dict[str, object] = {
        "promptTokenCount": 1_000,
        "candidatesTokenCount": 1_300,
        "thoughtsTokenCount": 50,
        "toolUsePromptTokenCount": 20,
        "cachedContentTokenCount": 600,
        "totalTokenCount": 1_000 + 20 + 1_300 + 50,
        "promptTokensDetails": [entry("TEXT", 500), entry("AUDIO", 500)],
        "toolUsePromptTokensDetails": [entry("TEXT", 20)],
        "candidatesTokensDetails": [entry("IMAGE", 1_290), entry("TEXT", 10)],
        "cacheTokensDetails": [entry("AUDIO", 300), entry("TEXT", 300)],
    }
    expected = TokenVector(
        input_tokens=1_000 + 20,
        output_tokens=1_300 + 50,
        cached_tokens=600,
        reasoning_tokens=50,
        audio_input_tokens=500,
        audio_output_tokens=0,
        image_input_tokens=0,
        image_output_tokens=1_290,
        cached_audio_tokens=300,
        cached_image_tokens=0,
    )
    snake: dict[str, object] = {
        "prompt_token_count": 1_000,
        "candidates_token_count": 1_300,
        "thoughts_token_count": 50,
        "tool_use_prompt_token_count": 20,
        "cached_content_token_count": 600,
        "prompt_tokens_details": [
            {"modality": "TEXT", "token_count": 500},
            {"modality": "MediaModality.AUDIO", "token_count": 500},
        ],
        "tool_use_prompt_tokens_details": [{"modality": "TEXT", "token_count": 20}],
        "candidates_tokens_details": [{"modality": "IMAGE", "token_count": 1_290}],
        "cache_tokens_details": [{"modality": "AUDIO", "token_count": 300}],
    }
    assert generate_content_tokens(camel) == expected
    assert generate_content_tokens(snake) == expected


def test_a_side_that_is_not_split_has_no_modalities() -> None:
    usage: dict[str, object] = {"promptTokenCount": 10, "candidatesTokenCount": 5}
    assert generate_content_tokens(usage) == TokenVector(10, 5)


def test_a_missing_side_is_the_rest_of_the_total() -> None:
    usage: dict[str, object] = {"candidatesTokenCount": 5, "totalTokenCount": 15}
    assert generate_content_tokens(usage) == TokenVector(10, 5)


def test_an_interaction_counts_thoughts_and_tools_apart() -> None:
    usage: dict[str, object] = {
        "total_input_tokens": 9,
        "total_output_tokens": 779,
        "total_thought_tokens": 912,
        "total_tool_use_tokens": 40,
        "total_cached_tokens": 4,
        "total_tokens": 9 + 779 + 912 + 40,
        "output_tokens_by_modality": [{"modality": "text", "tokens": 779}],
    }
    assert interaction_tokens(usage) == TokenVector(
        input_tokens=9 + 40,
        output_tokens=779 + 912,
        cached_tokens=4,
        reasoning_tokens=912,
        audio_output_tokens=0,
        image_output_tokens=0,
    )


def test_an_entry_holds_a_modality_and_a_count_and_nothing_else() -> None:
    secret = {"modality": "TEXT", "tokenCount": 5, "text": "canary"}
    assert modality_entries([secret]) == [{"modality": "TEXT", "token_count": 5}]
    assert modality_entries([{"modality": "a prompt", "tokenCount": 5}, "x", {}]) == []
    assert modality_entries({"TEXT": 5}) == []
    assert len(modality_entries([secret] * 100)) == 16
