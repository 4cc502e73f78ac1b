"""Pydantic AI (2.68.0): the conventions, and parts of the usage under its own names.

Its agents report sums as `gen_ai.aggregated_usage.*`, which are not read.
"""

from __future__ import annotations

from typing import Final

from tokenledger_exporter.dialects.dialect import DETAIL, Dialect, counts
from tokenledger_exporter.dialects.otel_genai import SHARED
from tokenledger_semconv import attributes, emitters

PYDANTIC_AI: Final = Dialect(
    name="Pydantic AI",
    scopes=("pydantic-ai",),
    fields={
        **SHARED,
        **counts(
            cache_write_1h_tokens=emitters.PYDANTIC_CACHE_WRITE_1H,
            reasoning_tokens=(emitters.PYDANTIC_REASONING, emitters.PYDANTIC_THINKING),
            audio_input_tokens=(emitters.PYDANTIC_AUDIO_INPUT, emitters.PYDANTIC_AUDIO_PROMPT),
            audio_output_tokens=(emitters.PYDANTIC_AUDIO_OUTPUT, emitters.PYDANTIC_AUDIO_ANSWER),
            cached_audio_tokens=(emitters.PYDANTIC_CACHED_AUDIO, emitters.PYDANTIC_AUDIO_CACHE),
            image_input_tokens=emitters.PYDANTIC_IMAGE_PROMPT,
            cached_image_tokens=emitters.PYDANTIC_IMAGE_CACHE,
            image_output_tokens=emitters.PYDANTIC_IMAGE_ANSWER,
            text_output_tokens=emitters.PYDANTIC_TEXT_ANSWER,
        ),
        emitters.PYDANTIC_VIDEO_PROMPT: (DETAIL, attributes.VIDEO_INPUT_TOKENS, True),
    },
)
