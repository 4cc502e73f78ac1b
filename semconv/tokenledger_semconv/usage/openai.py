"""OpenAI's usage objects, and those of the many emitters that copied their shape.

Source: the usage types of openai 1.x, 2.0.0 and 3.54.0, read 2026-11-22; the spans of LiteLLM and
LangChain, read 2026-11-25. Input already includes cached tokens, and output includes reasoning, as
the token vector requires.
"""

from typing import Final

from tokenledger_semconv.tokens import TokenVector
from tokenledger_semconv.usage.counts import (
    JsonObject,
    cache_writes,
    count_in,
    first,
    object_in,
)

_CHAT_WRITES: Final = ("cache_write_tokens", "cache_creation_tokens")


def chat_tokens(usage: JsonObject) -> TokenVector:
    """The usage of the chat, completions and embeddings APIs: `prompt_tokens`, `completion_tokens`.

    LiteLLM brings every provider into this shape. Its cache counts may be fields of Anthropic's at
    the top level, with the lifetimes of cache writes in the prompt's details.
    """
    prompt = object_in(usage, "prompt_tokens_details")
    completion = object_in(usage, "completion_tokens_details")
    lifetimes = object_in(prompt, "cache_creation_token_details")
    return TokenVector(
        input_tokens=count_in(usage, "prompt_tokens"),
        output_tokens=count_in(usage, "completion_tokens"),
        cached_tokens=first(
            count_in(prompt, "cached_tokens"), count_in(usage, "cache_read_input_tokens")
        ),
        cache_write_tokens=first(
            cache_writes({**lifetimes, **prompt}, *_CHAT_WRITES),
            count_in(usage, "cache_creation_input_tokens"),
        ),
        cache_write_1h_tokens=count_in(lifetimes, "ephemeral_1h_input_tokens"),
        reasoning_tokens=count_in(completion, "reasoning_tokens"),
        audio_input_tokens=count_in(prompt, "audio_tokens"),
        audio_output_tokens=count_in(completion, "audio_tokens"),
        image_input_tokens=count_in(prompt, "image_tokens"),
        image_output_tokens=count_in(completion, "image_tokens"),
    )


def response_tokens(usage: JsonObject) -> TokenVector:
    """The usage of the responses, images, audio and realtime APIs: `input_tokens`, `output_tokens`.

    LangChain uses this shape with shorter names in the details.
    """
    inputs = object_in(usage, "input_tokens_details", "input_token_details")
    outputs = object_in(usage, "output_tokens_details", "output_token_details")
    cached = object_in(inputs, "cached_tokens_details")
    return TokenVector(
        input_tokens=count_in(usage, "input_tokens"),
        output_tokens=count_in(usage, "output_tokens"),
        cached_tokens=count_in(inputs, "cached_tokens", "cache_read"),
        cache_write_tokens=cache_writes(inputs, "cache_write_tokens", "cache_creation"),
        cache_write_1h_tokens=count_in(inputs, "ephemeral_1h_input_tokens"),
        reasoning_tokens=count_in(outputs, "reasoning_tokens", "reasoning", "thinking_tokens"),
        audio_input_tokens=count_in(inputs, "audio_tokens", "audio"),
        audio_output_tokens=count_in(outputs, "audio_tokens", "audio"),
        image_input_tokens=count_in(inputs, "image_tokens"),
        image_output_tokens=count_in(outputs, "image_tokens"),
        cached_audio_tokens=count_in(cached, "audio_tokens"),
        cached_image_tokens=count_in(cached, "image_tokens"),
    )
