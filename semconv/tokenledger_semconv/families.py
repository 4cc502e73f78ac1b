"""Whose model a name is: the one rule for calls that do not say who serves them.

The beginning of a name is enough, so nothing is compiled when the contract is imported. What a
platform resells (Bedrock, Vertex, Azure) is not found here: there the emitter names the provider.
"""

from __future__ import annotations

from typing import Final

# Provider, in the convention's spelling, and how its models' names begin. Model lists of the
# providers and of genai-prices 0.2.3, read 2026-11-22.
_BEGINNINGS: Final = (
    (
        "openai",
        (
            *("gpt-", "gpt4", "chatgpt-", "dall-e-", "whisper-1", "tts-1"),
            *(f"o{digit}" for digit in range(1, 10)),
            *("text-embedding-3-", "text-embedding-ada-", "omni-moderation-", "text-moderation-"),
            *("davinci", "babbage", "text-davinci-", "codex-", "computer-use-", "sora-"),
        ),
    ),
    ("anthropic", ("claude",)),
    ("gcp.gemini", ("gemini", "gemma-", "imagen-", "veo-")),
    (
        "mistral_ai",
        (
            *("mistral", "ministral", "codestral", "magistral", "pixtral", "devstral", "voxtral"),
            *("open-mistral", "open-mixtral"),
        ),
    ),
    ("deepseek", ("deepseek-",)),
    ("x_ai", ("grok-",)),
    ("cohere", ("command-", "embed-english-", "embed-multilingual-", "embed-v", "rerank-")),
    ("perplexity", ("sonar",)),
    ("moonshot_ai", ("kimi-", "moonshot-")),
)
_FINE_TUNED: Final = "ft:"


def provider_of(model: str) -> str:
    """Who sells a model, in the convention's spelling, where its name says so; "" if it does not.

    Args:
        model: name as the caller or the provider wrote it; `ft:` before a fine-tuned one's base
            is passed over.
    """
    name = model.lower().removeprefix(_FINE_TUNED)
    return next((seller for seller, starts in _BEGINNINGS if name.startswith(starts)), "")
