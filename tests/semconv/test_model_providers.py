"""A model's name tells who sells it, or tells nothing."""

from __future__ import annotations

import pytest

from tokenledger_semconv.model_providers import provider_of


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o", "openai"),
        ("GPT-4o-mini", "openai"),
        ("chatgpt-4o-latest", "openai"),
        ("o1", "openai"),
        ("o3-mini", "openai"),
        ("o4-mini-2025-04-16", "openai"),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", "openai"),
        ("text-embedding-3-small", "openai"),
        ("dall-e-3", "openai"),
        ("whisper-1", "openai"),
        ("tts-1-hd", "openai"),
        ("omni-moderation-latest", "openai"),
        ("babbage-002", "openai"),
        ("claude-sonnet-4-5", "anthropic"),
        ("gemini-2.5-pro", "gcp.gemini"),
        ("codestral-latest", "mistral_ai"),
        ("deepseek-chat", "deepseek"),
        ("grok-4", "x_ai"),
        ("command-r-plus", "cohere"),
        ("sonar-pro", "perplexity"),
        ("kimi-k2", "moonshot_ai"),
    ],
)
def test_a_model_name_identifies_its_provider(model: str, provider: str) -> None:
    assert provider_of(model) == provider


@pytest.mark.parametrize(
    "model",
    [
        "",
        "my-deployment",
        "llama3",
        "openai/gpt-4o",
        "anthropic.claude-3-haiku",
        "text-embedding-5",
    ],
)
def test_an_unknown_model_name_has_no_provider(model: str) -> None:
    """A platform's spelling is none of a provider's own names, so no list price is guessed."""
    assert not provider_of(model)
