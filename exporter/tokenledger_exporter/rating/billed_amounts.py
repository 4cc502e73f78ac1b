"""What a provider bills where it differs from what its answer counts.

Sources, read 2026-11-28: console.groq.com, "Speech to Text" (minimum billed length); Gemini's
"Pricing" (grounding: up to Gemini 2.5 by the prompt, from Gemini 3 on by the search).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from tokenledger_semconv.tokens import TEXT_COUNTS

if TYPE_CHECKING:
    from tokenledger_exporter.dialects import CallFacts

_GROQ, _GOOGLE = "groq", "google"
_GROQ_MIN_SECONDS: Final = 10
_BILLED_BY_PROMPT: Final = ("gemini-1", "gemini-2")
_IMAGES: Final = "image_generation"


def as_billed(call: CallFacts) -> CallFacts:
    """The call with the amounts that its provider bills."""
    tokens = call.tokens
    if call.operation == _IMAGES:
        if tokens.output_tokens and tokens.image_output_tokens is None:
            # The whole output of such a call is images, unless the usage says otherwise.
            tokens = tokens._replace(image_output_tokens=tokens.output_tokens)
    elif not any(tokens[TEXT_COUNTS:]):
        return call
    elif call.provider == _GROQ and tokens.audio_seconds:
        seconds = max(tokens.audio_seconds, _GROQ_MIN_SECONDS)
        tokens = tokens._replace(audio_seconds=seconds)
    elif call.provider == _GOOGLE and (tokens.web_search_requests or 0) > 1:
        name = call.model.lower().rpartition("/")[2]
        if name.startswith(_BILLED_BY_PROMPT):
            tokens = tokens._replace(web_search_requests=1)
    return call if tokens is call.tokens else msgspec.structs.replace(call, tokens=tokens)
