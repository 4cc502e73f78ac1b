"""Ended spans of chat calls as our instrumentor makes them, for what comes after the call."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from tokenledger_semconv import attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.util.types import AttributeValue

_MILLISECOND: Final = 1_000_000
_HOUR: Final = 3_600_000 * _MILLISECOND
_USERS, _ORGANIZATIONS, _FEATURES = 1_000, 50, 12


def chat_spans(count: int, seed: int = 1, ago_ns: int = _HOUR) -> Sequence[ReadableSpan]:
    """So many ended spans, one a millisecond, of two seconds each, the first so long ago."""
    drawn = random.Random(seed)  # noqa: S311 - the same spans in every run
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": "bench"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer(f"{attributes.SCOPE_PREFIX}openai")
    began = time.time_ns() - ago_ns
    for number in range(count):
        start = began + number * _MILLISECOND
        call_attributes = _attributes(drawn)
        span = tracer.start_span(
            "chat gpt-4o", kind=SpanKind.CLIENT, attributes=call_attributes, start_time=start
        )
        span.end(start + 2_000 * _MILLISECOND)
    return exporter.get_finished_spans()


def _attributes(drawn: random.Random) -> dict[str, AttributeValue]:
    read, cached, written = (
        drawn.randrange(200, 9_000),
        drawn.randrange(0, 200),
        drawn.randrange(900),
    )
    usage = {
        "completion_tokens": written,
        "prompt_tokens": read,
        "total_tokens": read + written,
        "completion_tokens_details": {"audio_tokens": 0, "reasoning_tokens": 0},
        "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": cached},
    }
    return {
        attributes.OPERATION_NAME: "chat",
        attributes.PROVIDER_NAME: "openai",
        attributes.REQUEST_MODEL: "gpt-4o",
        attributes.SERVER_ADDRESS: "api.openai.com",
        attributes.SERVER_PORT: 443,
        attributes.RESPONSE_MODEL: "gpt-4o-2024-08-06",
        attributes.RESPONSE_ID: f"chatcmpl-{drawn.getrandbits(116):029x}",
        attributes.FINISH_REASONS: ["stop"],
        attributes.OPENAI_API_TYPE: "chat_completions",
        attributes.OPENAI_SERVICE_TIER: "default",
        attributes.OPENAI_SYSTEM_FINGERPRINT: "fp_44709d6fcb",
        attributes.INPUT_TOKENS: read,
        attributes.OUTPUT_TOKENS: written,
        attributes.CACHE_READ_TOKENS: cached,
        attributes.REASONING_TOKENS: 0,
        attributes.AUDIO_INPUT_TOKENS: 0,
        attributes.AUDIO_OUTPUT_TOKENS: 0,
        attributes.PROVIDER_USAGE: json.dumps(usage),
        attributes.USER_ID: f"user_{drawn.randrange(_USERS)}",
        attributes.ORGANIZATION_ID: f"org_{drawn.randrange(_ORGANIZATIONS)}",
        attributes.FEATURE: f"feature_{drawn.randrange(_FEATURES)}",
    }
