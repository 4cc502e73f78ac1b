"""OpenAI's usage objects, and those of the many emitters that copied their shape.

Source: the usage types of openai 1.x, 2.0.0 and 3.54.0, read 2026-11-22; the spans of LiteLLM and
LangChain, read 2026-11-25; the API references of the hosts named below, read 2026-11-28. Input
already includes cached tokens, and output includes reasoning, as the token vector requires; where a
host counts differently, its total shows it (`totals`).
"""

from typing import Final

from tokenledger_semconv.tokens import TokenVector
from tokenledger_semconv.usage.counts import (
    JsonObject,
    cache_writes,
    count_in,
    largest,
    object_in,
    seconds_in,
    total,
)
from tokenledger_semconv.usage.totals import total_in, with_total

_CHAT_WRITES: Final = ("cache_write_tokens", "cache_creation_tokens")
_APART: Final = ("text_tokens", "audio_tokens", "image_tokens", "video_tokens", "cached_tokens")
# DeepSeek reports what its cache did and did not hold; together they are the prompt.
_HIT, _MISS = "prompt_cache_hit_tokens", "prompt_cache_miss_tokens"
# Cache reads outside the prompt's details: of LiteLLM, DeepSeek, Moonshot and Together, Mistral.
_READS: Final = ("cache_read_input_tokens", _HIT, "cached_tokens", "num_cached_tokens")

# LiteLLM keeps Anthropic's count of hosted tools, and adds Gemini's searches to the prompt.
_TOOLS, _SEARCHES = "server_tool_use", "web_search_requests"


def chat_tokens(usage: JsonObject) -> TokenVector:
    """The usage of the chat, completions and embeddings APIs: `prompt_tokens`, `completion_tokens`.

    LiteLLM brings every provider into this shape. Its cache counts may be fields of Anthropic's at
    the top level, with the lifetimes of cache writes in the prompt's details.
    """
    prompt = object_in(usage, "prompt_tokens_details")
    completion = object_in(usage, "completion_tokens_details")
    cached = object_in(prompt, "cached_tokens_details")
    tools = object_in(usage, _TOOLS)
    lifetimes = {
        **object_in(usage, "cache_creation"),
        **object_in(prompt, "cache_creation_token_details"),
    }
    reads = (count_in(prompt, "cached_tokens"), *(count_in(usage, name) for name in _READS))
    read = count_in(usage, "prompt_tokens")
    audio, image = _inputs_with_cached(read, prompt, cached)
    tokens = TokenVector(
        input_tokens=total(count_in(usage, _HIT), count_in(usage, _MISS)) if read is None else read,
        output_tokens=count_in(usage, "completion_tokens"),
        cached_tokens=largest(*reads),
        cache_write_tokens=largest(
            cache_writes({**lifetimes, **prompt}, *_CHAT_WRITES),
            count_in(usage, "cache_creation_input_tokens"),
        ),
        cache_write_1h_tokens=count_in(lifetimes, "ephemeral_1h_input_tokens"),
        reasoning_tokens=count_in(completion, "reasoning_tokens"),
        audio_input_tokens=audio,
        audio_output_tokens=count_in(completion, "audio_tokens"),
        image_input_tokens=image,
        image_output_tokens=count_in(completion, "image_tokens"),
        cached_audio_tokens=count_in(cached, "audio_tokens"),
        cached_image_tokens=count_in(cached, "image_tokens"),
        web_search_requests=largest(
            count_in(tools, _SEARCHES), count_in(prompt, _SEARCHES), count_in(usage, _SEARCHES)
        ),
        code_execution_requests=count_in(tools, "code_execution_requests"),
        # Mistral's Voxtral bills the audio by its length, and the text by tokens.
        audio_seconds=seconds_in(usage, "prompt_audio_seconds"),
    )
    return with_total(tokens, total_in(usage))


def _inputs_with_cached(
    read: int | None, prompt: JsonObject, cached: JsonObject
) -> tuple[int | None, int | None]:
    """Audio and images of the input, including those that were cached.

    LiteLLM leaves them out of the prompt's modalities, which then add up to what was not cached.
    """
    audio, image = count_in(prompt, "audio_tokens"), count_in(prompt, "image_tokens")
    if not cached:
        return audio, image
    cached_audio, cached_image = count_in(cached, "audio_tokens"), count_in(cached, "image_tokens")
    apart = total(*(count_in(prompt, name) for name in _APART))
    if read is not None and apart == read:
        return total(audio, cached_audio), total(image, cached_image)
    return largest(audio, cached_audio), largest(image, cached_image)


def response_tokens(usage: JsonObject) -> TokenVector:
    """The usage of the responses, images, audio and realtime APIs: `input_tokens`, `output_tokens`.

    LangChain uses this shape with shorter names in the details.
    """
    inputs = object_in(usage, "input_tokens_details", "input_token_details")
    outputs = object_in(usage, "output_tokens_details", "output_token_details")
    cached = object_in(inputs, "cached_tokens_details")
    tools = object_in(usage, _TOOLS)
    tokens = TokenVector(
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
        web_search_requests=largest(
            count_in(tools, _SEARCHES), count_in(inputs, _SEARCHES), count_in(usage, _SEARCHES)
        ),
        code_execution_requests=count_in(tools, "code_execution_requests"),
    )
    return with_total(tokens, total_in(usage))
