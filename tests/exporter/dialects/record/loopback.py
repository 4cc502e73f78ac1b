"""Model providers on loopback that give every call the same counts; emitters are recorded on it.

OpenAI and Anthropic are the project's own wire-exact fake. The shapes of Gemini, Mistral, Cohere
and Bedrock are those their SDKs parse (google-genai 3.6.1, mistralai 3.7.0, cohere 7.3.1,
botocore 1.44.8, read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from typing_extensions import override

from tokenledger_exporter.demo.provider import DemoProvider
from tokenledger_exporter.demo.scripts import Recorded, Refuse, Use

if TYPE_CHECKING:
    from tokenledger_exporter.demo.scripts import Script
    from tokenledger_exporter.demo.wire import JsonObject

REFUSED_MODEL: Final = "gpt-4o-mini"
"""A call of this model is refused as one too many."""

_ANSWER: Final = "canary-answer: there are three."

# 1,000 tokens in, of which 600 from a cache; 200 out, of which 50 reasoning. Anthropic also
# writes 300 to a cache, 100 of them for an hour.
_OPENAI: Final = Use({"input": 1_000, "cache_read": 600, "output": 200, "reasoning": 50})
_ANTHROPIC: Final = Use(
    {
        "input": 1_000,
        "cache_read": 600,
        "cache_write": 300,
        "cache_write_1h": 100,
        "output": 200,
    }
)
_GEMINI: Final[JsonObject] = {
    "candidates": [
        {
            "content": {"role": "model", "parts": [{"text": _ANSWER}]},
            "finishReason": "STOP",
            "index": 0,
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 1_000,
        "cachedContentTokenCount": 600,
        "candidatesTokenCount": 150,
        "thoughtsTokenCount": 50,
        "totalTokenCount": 1_200,
    },
    "modelVersion": "gemini-2.5-flash",
    "responseId": "gemini-response-1",
}
_MISTRAL: Final[JsonObject] = {
    "id": "mistral-response-1",
    "object": "chat.completion",
    "created": 1_764_000_000,
    "model": "mistral-large-latest",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": _ANSWER, "tool_calls": None},
        }
    ],
    "usage": {"prompt_tokens": 1_000, "completion_tokens": 200, "total_tokens": 1_200},
}
_COHERE: Final[JsonObject] = {
    "id": "cohere-response-1",
    "finish_reason": "COMPLETE",
    "message": {"role": "assistant", "content": [{"type": "text", "text": _ANSWER}]},
    "usage": {
        "billed_units": {"input_tokens": 1_000, "output_tokens": 200},
        "tokens": {"input_tokens": 1_070, "output_tokens": 203},
    },
}
_BEDROCK: Final[JsonObject] = {
    "output": {"message": {"role": "assistant", "content": [{"text": _ANSWER}]}},
    "stopReason": "end_turn",
    "usage": {
        "inputTokens": 100,
        "outputTokens": 200,
        "totalTokens": 1_200,
        "cacheReadInputTokens": 600,
        "cacheWriteInputTokens": 300,
    },
    "metrics": {"latencyMs": 12},
}
_BY_PATH: Final = (
    ("generateContent", Recorded(_GEMINI)),
    ("/mistral/", Recorded(_MISTRAL)),
    ("/cohere/", Recorded(_COHERE)),
    ("/converse", Recorded(_BEDROCK)),
    ("/messages", _ANTHROPIC),
)


class Loopback(DemoProvider):
    """The fake provider, and the four that it does not know."""

    @override
    def next_script(self) -> Script:
        path, body = self.requests[-1].path, self.requests[-1].body or {}
        if body.get("model") == REFUSED_MODEL:
            return Refuse(429)
        return next((script for part, script in _BY_PATH if part in path), _OPENAI)
