"""The provider of a model by its name: the only rule for calls that do not name their provider.

The beginning of a name is enough, so importing the contract compiles no pattern. Models that a
platform resells (Bedrock, Vertex, Azure) are not recognized here: the emitter names the provider.
"""

from __future__ import annotations

from typing import Final

# Provider, in the convention's spelling, and the beginnings of its models' names. From the model
# lists of the providers and of genai-prices 0.2.3, read 2026-11-22.
_MODEL_PREFIXES: Final = (
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
    """The provider of a model, in the convention's spelling; "" if the name does not identify it.

    Args:
        model: the name as the caller or the provider wrote it; a leading `ft:` of a fine-tuned
            model is ignored.
    """
    name = model.lower().removeprefix(_FINE_TUNED)
    return next((provider for provider, starts in _MODEL_PREFIXES if name.startswith(starts)), "")
